"""Rows of a batch kept on disk as they come, so that an interrupted one goes on where it was."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import IO

from kellgren.atomic_files import written_whole
from kellgren.reading_tables import Row


class Journal:
    """Rows kept on disk as they come, so that an interrupted batch goes on where it was.

    Args:
        path: of the journal, beside the table it will become; ``None`` keeps rows in memory only.
        resume: take over the rows of an earlier, interrupted batch.
        model: of the readings; rows of another model are not taken over.
    """

    def __init__(self, path: Path | None, *, resume: bool, model: dict[str, str]) -> None:
        self.rows: list[Row] = []
        self._path = path
        self._stream: IO[str] | None = None
        if path is None:
            return
        if resume and path.is_file():
            self.rows = _intact_rows(path, model)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._begin(path)

    def _begin(self, path: Path) -> None:
        with written_whole(path) as stream:
            stream.writelines(_line(row) for row in self.rows)
        self._stream = path.open("a", encoding="utf-8")

    @property
    def done(self) -> set[str]:
        """Images that need no second look."""
        return {row["image"] for row in self.rows}

    def forget(self, images: set[str]) -> None:
        """Drop the rows of images that will be graded anew, on disk too."""
        if not images & self.done:
            return
        self.rows = [row for row in self.rows if row["image"] not in images]
        if self._path is not None:
            self.close()
            self._begin(self._path)

    def add(self, rows: list[Row]) -> list[Row]:
        """Keep a file's rows and return them."""
        self.rows += rows
        if self._stream is not None:
            self._stream.writelines(_line(row) for row in rows)
            self._stream.flush()
        return rows

    def close(self) -> None:
        """Let go of the file, and leave it to whoever resumes."""
        if self._stream is not None:
            self._stream.close()

    def discard(self) -> None:
        """Delete the file: not before the tables it stands in for are written."""
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def _intact_rows(path: Path, model: dict[str, str]) -> list[Row]:
    """Rows of an interrupted batch: without a last line cut short, and graded by this model."""
    rows: list[Row] = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        with suppress(json.JSONDecodeError, TypeError, KeyError):
            row = json.loads(line)
            if row["grade"] is not None and row["model"] == model:
                rows.append(row)
    return rows
