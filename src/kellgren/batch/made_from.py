"""What the rows of a journal were made from: options beside the model, and files as they were."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from kellgren.atomic_files import written_whole
from kellgren.reading_schema import READING_ROW, GradedRow, ModelRecord


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


def made_otherwise(journal: Path, model: ModelRecord, asked: str) -> str:
    """What the graded rows of an interrupted batch were made with and this one would not.

    Args:
        journal: of that batch.
        model: of this one.
        asked: what else its rows depend on; of the lines the first counts, the options.

    Returns:
        In words; empty where there is no such thing, or no graded row.
    """
    first = _first_graded(journal)
    if first is None:
        return ""
    before, now = first.model.model_dump(), model.model_dump()
    names = [name for name in now if before[name] != now[name]]
    parts = [
        f"{name.replace('_', ' ')} {before[name]}, not {now[name]}"
        for name in names
        if name != "checksum" or "name" not in names
    ]
    options, wanted = (text.partition("\n")[0] for text in (asked_before(journal), asked))
    if options not in ("", wanted):
        parts.append("another --side, --frame or --force")
    return "; ".join(parts)


def _first_graded(journal: Path) -> GradedRow | None:
    """A journal's first graded row: all others are of the same batch."""
    if not journal.is_file():
        return None
    with journal.open("rb") as stream:
        for line in stream:
            with suppress(ValueError):
                row = READING_ROW.validate_python(json.loads(line))
                if isinstance(row, GradedRow):
                    return row
    return None


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
