"""The journal of a batch: finished rows on disk, so that an interrupted batch can be resumed."""

from __future__ import annotations

import json
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import groupby
from pathlib import Path
from typing import IO

from kellgren.atomic_files import remove_left_behind, taken_alone, written_whole
from kellgren.batch.made_from import asked_before, forget_asked, is_changed, keep_asked
from kellgren.errors import InvalidOption
from kellgren.reading_schema import READING_ROW, GradedRow, ModelRecord, ReadingRow
from kellgren.scratch import scratch_database

_ENTRY = """
CREATE TABLE entry (offset INTEGER PRIMARY KEY, line BLOB, image TEXT, graded, read_with TEXT)
"""


class Journal:
    """Finished rows on disk, so that an interrupted batch can be resumed.

    Memory does not grow with the rows: which line holds which is kept in a scratch database.

    Args:
        path: of the journal, beside the table it will become; ``None`` keeps rows on disk only
            as long as this process runs.
        resume: take over the rows of an earlier, interrupted batch.
        model: of the readings; rows of another model are not taken over.
        joint_space: whether graded rows must have a measured joint space, or must have none;
            others are not taken over.
        asked: what else the rows depend on, such as a side that was given, as one text; rows that
            were made with another one are not taken over. It lies in a file beside the journal.

    Rows of a file that was changed since the batch ended are not taken over either.

    Attributes:
        left_behind: lines of the earlier batch that were not taken over.

    Raises:
        InvalidOption: another process writes it, or an earlier batch left rows in it that are
            neither taken over nor given up.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        resume: bool,
        model: ModelRecord,
        joint_space: bool | None = None,
        asked: str = "",
    ) -> None:
        self.left_behind = 0
        self._path = path
        self._stream: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._end = 0
        self._index = scratch_database(_ENTRY, "CREATE INDEX of_image ON entry (image)")
        weakref.finalize(self, self._index.close)
        if path is None:
            return
        self._lock = _taken(path)
        remove_left_behind(path)
        kept = _line_count(path) if path.is_file() else 0
        if kept and not resume:
            self.close()
            raise InvalidOption(
                path,
                f"holds {kept} finished rows of a batch that did not end",
                "Go on from there with --resume, or delete it to begin anew",
            )
        as_before = kept and asked_before(path) in ("", asked)
        try:
            self._begin(path, _intact_rows(path, model, joint_space) if as_before else ())
            keep_asked(path, asked)  # from here on no row was asked for otherwise
        except OSError:
            self.close()
            raise
        self.left_behind = kept - self._count("*")

    def _begin(self, path: Path, rows: Iterable[ReadingRow]) -> None:
        """Write the file anew, with these rows."""
        self._index.execute("DELETE FROM entry")
        self._end = 0
        with written_whole(path) as stream:
            for row in rows:
                line = _line(row)
                stream.write(line)
                self._note(row, line.encode())
        self._stream = path.open("ab")

    def _note(self, row: ReadingRow, line: bytes) -> None:
        graded = isinstance(row, GradedRow)
        read_with = row.read_with if isinstance(row, GradedRow) else None
        kept = line if self._path is None else None
        entry = (self._end, kept, row.image, graded, read_with)
        self._index.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", entry)
        self._end += len(line)

    def _count(self, of: str) -> int:
        return int(self._index.execute(f"SELECT count({of}) FROM entry").fetchone()[0])

    @property
    def files(self) -> int:
        """How many files have rows."""
        return self._count("DISTINCT image")

    @property
    def done(self) -> set[str]:
        """Images whose rows are kept: they need not be graded again; all of them, in memory."""
        return {image for (image,) in self._index.execute("SELECT DISTINCT image FROM entry")}

    @property
    def rows(self) -> list[ReadingRow]:
        """Finished rows in the order in which they came; all of them, in memory."""
        return list(self._rows())

    def by_file(self, images: Iterable[str]) -> Iterator[list[ReadingRow]]:
        """The rows of files, one file after the other; an empty list where it has none."""
        asked = "SELECT offset, line FROM entry WHERE image = ? ORDER BY offset"
        with self._reader() as read:
            for image in images:
                yield [read(*found) for found in self._index.execute(asked, (image,))]

    def _rows(self) -> Iterator[ReadingRow]:
        if not self._count("*"):
            return
        with self._reader() as read:
            for found in self._index.execute("SELECT offset, line FROM entry ORDER BY offset"):
                yield read(*found)

    @contextmanager
    def _reader(self) -> Iterator[Callable[[int, bytes | None], ReadingRow]]:
        """What gives the row of an entry by its offset and, where there is no file, its line."""
        opened: AbstractContextManager[IO[bytes] | None] = (
            nullcontext() if self._path is None else self._path.open("rb")
        )
        with opened as stream:

            def read(offset: int, line: bytes | None) -> ReadingRow:
                if stream is not None:
                    stream.seek(offset)
                    line = stream.readline()
                return _row(line or b"")

            yield read

    def counts(self, image: str) -> tuple[int, int]:
        """How many rows a file has, and how many of these are graded."""
        asked = "SELECT count(*), total(graded) FROM entry WHERE image = ?"
        rows, graded = self._index.execute(asked, (image,)).fetchone()
        return int(rows), int(graded)

    def is_done(self, images: Sequence[str]) -> bool:
        """Whether every file of a unit was graded, and with no other contralateral knee than now.

        Args:
            images: as rows name them.
        """
        marks = ", ".join("?" * len(images))
        asked = f"SELECT image, read_with FROM entry WHERE graded AND image IN ({marks})"
        found = self._index.execute(asked, tuple(images)).fetchall()
        return {image for image, _ in found} == set(images) and all(
            read_with in (None, *images) for _, read_with in found
        )

    def read_with_another(self) -> set[str]:
        """Images of knees that were read with the knee of another file."""
        asked = "SELECT DISTINCT image FROM entry WHERE graded AND read_with <> image"
        return {image for (image,) in self._index.execute(asked)}

    def forget(self, images: Iterable[str]) -> None:
        """Drop the rows of images that will be graded anew, on disk too."""
        asked = "SELECT 1 FROM entry WHERE image = ? LIMIT 1"
        held = [image for image in images if self._index.execute(asked, (image,)).fetchone()]
        if not held:
            return
        if self._path is None or self._stream is None:
            self._index.executemany("DELETE FROM entry WHERE image = ?", ((it,) for it in held))
            return
        self._stream.close()
        self._begin(self._path, _rows_without(self._path, set(held)))

    def add(self, rows: Sequence[ReadingRow]) -> Sequence[ReadingRow]:
        """Keep a file's rows and return them."""
        lines = [_line(row).encode() for row in rows]
        if self._stream is not None:
            self._stream.write(b"".join(lines))
            self._stream.flush()
        for row, line in zip(rows, lines, strict=True):
            self._note(row, line)
        return rows

    def close(self) -> None:
        """Close the file, which stays for a batch that resumes, and leave it to other processes."""
        try:
            if self._stream is not None:
                self._stream.close()  # on a full disk, what it could not write fails once more
        finally:
            if self._lock is not None:
                Path(self._lock.name).unlink(missing_ok=True)
                self._lock.close()
                self._lock = None

    def discard(self) -> None:
        """Delete the file; to be called once the tables are written."""
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            forget_asked(self._path)


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


def _row(line: bytes) -> ReadingRow:
    return READING_ROW.validate_python(json.loads(line))


def _line_count(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(line.endswith(b"\n") for line in stream)


def _whole_rows(path: Path) -> Iterator[ReadingRow]:
    with path.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                # no JSON, or no row of the schema: such a file is graded again
                with suppress(ValueError):
                    yield _row(line)


def _rows_without(path: Path, images: set[str]) -> Iterator[ReadingRow]:
    return (row for row in _whole_rows(path) if row.image not in images)


def _intact_rows(path: Path, model: ModelRecord, joint_space: bool | None) -> Iterator[ReadingRow]:
    """Rows of files that this model graded, the joints that it refused on them among these.

    The rows of a file follow each other. A last line cut short may be of the same file as the one
    before it: then that file is graded again, so that no joint of it is lost.
    """
    cut, ended = _cut_line(path), path.stat().st_mtime_ns
    files = ((image, list(rows)) for image, rows in groupby(_whole_rows(path), lambda r: r.image))
    before: list[ReadingRow] = []
    last = ""
    for image, rows in files:
        yield from before
        of_model = [] if is_changed(image, ended) else _of_model(rows, model)
        before, last = of_model if _is_measured(of_model, joint_space) else [], image
    if not _begins_row_of(last, cut):
        yield from before


def _is_measured(rows: list[ReadingRow], joint_space: bool | None) -> bool:
    """Whether a file's graded rows have a joint space, or have none, as it is asked for."""
    spaces = [row.joint_space is not None for row in rows if isinstance(row, GradedRow)]
    return joint_space is None or all(measured == joint_space for measured in spaces)


def _of_model(rows: list[ReadingRow], model: ModelRecord) -> list[ReadingRow]:
    """A file's rows where this model graded it, else none."""
    if not any(isinstance(row, GradedRow) and row.model == model for row in rows):
        return []
    return [
        row
        for row in rows
        if (row.model == model if isinstance(row, GradedRow) else bool(row.checks))
    ]


def _cut_line(path: Path) -> str:
    """What stands behind the last line end."""
    with path.open("rb") as stream:
        line = next(iter(deque(stream, maxlen=1)), b"\n")
    return "" if line.endswith(b"\n") else line.decode("utf-8", errors="replace")


def _begins_row_of(image: str, line: str) -> bool:
    """Whether a line without its end is, as far as it goes, another row of the same file."""
    begin = json.dumps({"image": image})[:-1]
    return line != "" and (line.startswith(begin) or begin.startswith(line))
