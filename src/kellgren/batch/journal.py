"""The journal of a batch: finished rows on disk, so that an interrupted batch can be resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from kellgren.atomic_files import taken_alone, written_whole
from kellgren.errors import InvalidOption
from kellgren.reading_schema import READING_ROW, GradedRow, ModelRecord, ReadingRow


class Journal:
    """Finished rows on disk, so that an interrupted batch can be resumed.

    Args:
        path: of the journal, beside the table it will become; ``None`` keeps rows in memory only.
        resume: take over the rows of an earlier, interrupted batch.
        model: of the readings; rows of another model are not taken over.

    Attributes:
        rows: finished ones.
        left_behind: lines of the earlier batch that were not taken over.

    Raises:
        InvalidOption: another process writes it, or an earlier batch left rows in it that are
            neither taken over nor given up.
    """

    def __init__(self, path: Path | None, *, resume: bool, model: ModelRecord) -> None:
        self.rows: list[ReadingRow] = []
        self.left_behind = 0
        self._path = path
        self._stream: IO[str] | None = None
        self._lock: IO[bytes] | None = None
        if path is None:
            return
        self._lock = _taken(path)
        kept = path.read_bytes().count(b"\n") if path.is_file() else 0
        if kept and not resume:
            self.close()
            raise InvalidOption(
                path,
                f"holds {kept} finished rows of a batch that did not end",
                "Go on from there with --resume, or delete it to begin anew",
            )
        if kept:
            self.rows += _intact_rows(path, model)
            self.left_behind = kept - len(self.rows)
        self._begin(path)

    def _begin(self, path: Path) -> None:
        with written_whole(path) as stream:
            stream.writelines(_line(row) for row in self.rows)
        self._stream = path.open("a", encoding="utf-8")

    @property
    def done(self) -> set[str]:
        """Images whose rows are kept: they need not be graded again."""
        return {row.image for row in self.rows}

    def forget(self, images: set[str]) -> None:
        """Drop the rows of images that will be graded anew, on disk too."""
        if not images & self.done:
            return
        self.rows = [row for row in self.rows if row.image not in images]
        if self._path is not None and self._stream is not None:
            self._stream.close()
            self._begin(self._path)

    def add(self, rows: Sequence[ReadingRow]) -> Sequence[ReadingRow]:
        """Keep a file's rows and return them."""
        self.rows += rows
        if self._stream is not None:
            self._stream.writelines(_line(row) for row in rows)
            self._stream.flush()
        return rows

    def close(self) -> None:
        """Close the file, which stays for a batch that resumes, and leave it to other processes."""
        if self._stream is not None:
            self._stream.close()
        if self._lock is not None:
            Path(self._lock.name).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def discard(self) -> None:
        """Delete the file; to be called once the tables are written."""
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _lock_file(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.lock")


def _taken(journal: Path) -> IO[bytes]:
    lock = taken_alone(_lock_file(journal))
    if lock is None:
        raise InvalidOption(
            journal, "is being written by another batch", "Wait for its end, or name another file"
        )
    return lock


def _line(row: ReadingRow) -> str:
    return json.dumps(row.model_dump(mode="json")) + "\n"


def _intact_rows(path: Path, model: ModelRecord) -> list[ReadingRow]:
    """Rows of files that this model graded, the joints that it refused on them among these.

    A last line cut short may be of the same file as the one before it: then that file is graded
    again, so that no joint of it is lost.
    """
    text = path.read_text("utf-8", errors="replace")
    rows: list[ReadingRow] = []
    for line in text.splitlines():
        with suppress(ValueError):  # no JSON, or no row of the schema: such a file is graded again
            rows.append(READING_ROW.validate_python(json.loads(line)))
    cut = {row.image for row in rows[-1:] if _begins_row_of(row.image, text.rpartition("\n")[2])}
    graded = {row.image for row in rows if isinstance(row, GradedRow) and row.model == model} - cut
    return [
        row
        for row in rows
        if row.image in graded
        and (row.model == model if isinstance(row, GradedRow) else bool(row.checks))
    ]


def _begins_row_of(image: str, line: str) -> bool:
    """Whether a line without its end is, as far as it goes, another row of the same file."""
    begin = json.dumps({"image": image})[:-1]
    return line != "" and (line.startswith(begin) or begin.startswith(line))
