"""What the rows of a journal were made from: options beside the model, and files as they were."""

from __future__ import annotations

import os
from pathlib import Path

from kellgren.atomic_files import written_whole


def asked_before(journal: Path) -> str:
    """What was asked for when the journal was written; empty where that is not kept."""
    try:
        return _beside(journal).read_text("utf-8")
    except (OSError, UnicodeError):
        return ""


def keep_asked(journal: Path, asked: str) -> None:
    """Keep beside a journal what its rows depend on.

    Raises:
        CannotWrite: the disk is full, or nothing may be written there.
    """
    if asked:
        with written_whole(_beside(journal)) as stream:
            stream.write(asked)


def forget_asked(journal: Path) -> None:
    """Delete what was kept."""
    _beside(journal).unlink(missing_ok=True)


def is_changed(image: str, since: int) -> bool:
    """Whether another file came to lie at a path since a moment, in nanoseconds of the clock."""
    try:
        status = os.stat(image)
    except (OSError, ValueError):  # it is elsewhere, or gone: nobody can tell
        return False
    # The second tells of a file that was copied there with the time that it had.
    return max(status.st_mtime_ns, status.st_ctime_ns) > since


def _beside(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.options")
