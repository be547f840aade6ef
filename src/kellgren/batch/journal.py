"""The journal of a batch: finished rows on disk, so that an interrupted batch can be resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from kellgren.atomic_files import written_whole
from kellgren.reading_schema import READING_ROW, GradedRow, ModelRecord, ReadingRow


class Journal:
    """Finished rows on disk, so that an interrupted batch can be resumed.

    Args:
        path: of the journal, beside the table it will become; ``None`` keeps rows in memory only.
        resume: take over the rows of an earlier, interrupted batch.
        model: of the readings; rows of another model are not taken over.
    """

    def __init__(self, path: Path | None, *, resume: bool, model: ModelRecord) -> None:
        self.rows: list[ReadingRow] = []
        self._path = path
        self._stream: IO[str] | None = None
        if path is None:
            return
        if resume and path.is_file():
            self.rows += _intact_rows(path, model)
        path.parent.mkdir(parents=True, exist_ok=True)
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
        if self._path is not None:
            self.close()
            self._begin(self._path)

    def add(self, rows: Sequence[ReadingRow]) -> Sequence[ReadingRow]:
        """Keep a file's rows and return them."""
        self.rows += rows
        if self._stream is not None:
            self._stream.writelines(_line(row) for row in rows)
            self._stream.flush()
        return rows

    def close(self) -> None:
        """Close the file; it stays for a batch that resumes."""
        if self._stream is not None:
            self._stream.close()

    def discard(self) -> None:
        """Delete the file; to be called once the tables are written."""
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


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
