"""Readings as a CSV table, written row by row."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from kellgren.atomic_files import written_whole
from kellgren.exchange.csv_text import TableLines, table_text
from kellgren.grades import NOT_NAMED
from kellgren.joint_space.telling import space_words
from kellgren.reading_schema import GradedRow, ReadingRow

COLUMNS = (
    *("image", "side", "grade", "p0", "p1", "p2", "p3", "p4"),
    *("name", "certainty", "right_share", "set_low", "set_high", "set_level", "most_probable"),
    *("disagreement", "gate_distance", "exposure"),
    *("doubts", "warnings", "note", "read_with", "patient"),
    *space_words.COLUMNS,
)
"""Of a table of readings. ``grade`` is empty where it is not named; ``most_probable`` never is."""
OVERLAY = "overlay"
"""One more column, of a table of readings whose pictures were drawn."""
LOCAL_CALIBRATION = "local_calibration"
"""One more column, of a table by a bundle that is calibrated to local readers."""


class CsvTable:
    """A table of readings that is written row by row; it appears whole or not at all.

    Args:
        stream: text that takes the lines.
        more: further columns: `LOCAL_CALIBRATION` and `OVERLAY`, whichever some row has.
    """

    def __init__(self, stream: IO[str], more: Sequence[str] = ()) -> None:
        self._stream, self._lines = stream, TableLines((*COLUMNS, *more))
        stream.write(self._lines.header)

    @classmethod
    @contextmanager
    def at(cls, path: Path, more: Sequence[str] = ()) -> Iterator[Self]:
        """Open one in a file, where it appears when the block ends well; ``-``: standard output."""
        with text_stream(path) as stream:
            yield cls(stream, more)

    def add(self, row: ReadingRow) -> None:
        """Write one row."""
        self._stream.write(self._lines.of(_cells(row)))


def csv_text(rows: Iterable[ReadingRow]) -> str:
    """The table of readings; it names pictures and a local calibration where there are any."""
    cells = [_cells(row) for row in rows]
    more = [name for name in (LOCAL_CALIBRATION, OVERLAY) if any(name in it for it in cells)]
    return table_text((*COLUMNS, *more), cells)


@contextmanager
def text_stream(path: Path) -> Iterator[IO[str]]:
    """Text that goes to a file, whole or not at all; ``-`` is standard output."""
    if str(path) == "-":
        yield sys.stdout
        return
    with written_whole(path) as stream:
        yield stream


def _cells(row: ReadingRow) -> dict[str, str | int | None]:
    """The cells of a row by column; a column that is missing or `None` stays empty."""
    cells: dict[str, str | int | None] = {
        "image": row.image,
        "side": row.side,
        "grade": row.grade,
        "note": row.note,
        "patient": row.patient,
    }
    if row.overlay is not None:
        cells[OVERLAY] = row.overlay
    if isinstance(row, GradedRow):
        cells |= _graded_cells(row)
        if row.joint_space is not None:
            cells |= space_words.table_cells(row.joint_space.space)
        if row.model.local_calibration is not None:
            cells[LOCAL_CALIBRATION] = row.model.local_calibration
    return cells


def _graded_cells(row: GradedRow) -> dict[str, str | int | None]:
    """What a row has more where a knee was graded; the grade and its name only where named."""
    held = row.grade_set
    cells: dict[str, str | int | None] = {
        **{f"p{grade}": f"{share:.6f}" for grade, share in enumerate(row.probabilities)},
        "grade": row.grade if row.named else None,
        "name": row.name if row.named else None,
        "note": "" if row.named else NOT_NAMED,
        "certainty": row.certainty,
        "set_low": held.lowest,
        "set_high": held.highest,
        "set_level": f"{held.level:g}",
        "most_probable": row.grade,
        "doubts": "; ".join(row.doubts),
        "warnings": "; ".join(row.warnings),
        "read_with": row.read_with,
    }
    measured = {check.name: check.value for check in row.checks}
    numbers = {
        "right_share": row.right_share,
        "disagreement": row.disagreement,
        "gate_distance": measured.get("picture"),
        "exposure": measured.get("exposure"),
    }
    for column, number in numbers.items():
        cells[column] = None if number is None else f"{number:.4f}"
    return cells
