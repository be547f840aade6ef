"""Where files are kept, by the variable and by the system."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kellgren.home import cache_folder, data_folder


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KELLGREN_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path("me"))


def test_the_variable_names_one_home_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELLGREN_HOME", "chosen")
    assert data_folder("reading-room") == Path("chosen/reading-room")
    assert cache_folder() == Path("chosen/cache")


@pytest.mark.parametrize(
    ("system", "data", "cache"),
    [
        ("linux", "me/.local/share/kellgren/spool", "me/.cache/kellgren"),
        ("darwin", "me/Library/Application Support/kellgren/spool", "me/Library/Caches/kellgren"),
        ("win32", "me/AppData/Local/kellgren/spool", "me/AppData/Local/kellgren"),
    ],
)
def test_each_system_has_its_places(
    monkeypatch: pytest.MonkeyPatch, system: str, data: str, cache: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert data_folder("spool") == Path(data)
    assert cache_folder() == Path(cache)


def test_the_systems_own_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert (data_folder("x"), cache_folder()) == (Path("data/kellgren/x"), Path("cache/kellgren"))
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "local")
    assert (data_folder("x"), cache_folder()) == (Path("local/kellgren/x"), Path("local/kellgren"))
