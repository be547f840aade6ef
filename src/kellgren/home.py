"""Where the program keeps its files: KELLGREN_HOME, or this system's places for users' files."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_folder(name: str) -> Path:
    """Folder of what must not be lost, such as the films of a server.

    Args:
        name: of the folder, below KELLGREN_HOME or the system's place for programs' data.
    """
    support = "Library/Application Support"
    home = _chosen_home() or _users_folder("XDG_DATA_HOME", ".local/share", support)
    return home / name


def cache_folder() -> Path:
    """Folder of what can be made again at any time."""
    home = _chosen_home()
    return home / "cache" if home else _users_folder("XDG_CACHE_HOME", ".cache", "Library/Caches")


def _chosen_home() -> Path | None:
    home = os.environ.get("KELLGREN_HOME")
    return Path(home) if home else None


def _users_folder(xdg: str, linux: str, mac: str) -> Path:
    """The place for users' files of a kind; on Windows caches lie with data."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / mac
    else:
        base = Path(os.environ.get(xdg, Path.home() / linux))
    return base / "kellgren"
