"""Reading a table of predictions: ``image,side,grade,p0,p1,p2,p3,p4`` and possibly more columns.

``side`` and the five probabilities may be missing. A row without a grade is a knee that was
refused or failed: it is kept with its ``note``, and never scored. Where a grade is not named, but
the column ``most_probable`` has one, that is what is scored, and the row counts as not named.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kellgren.arrays import Float64Array, IntArray
from kellgren.errors import InvalidPredictions
from kellgren.exchange.csv_text import cell_text, decoded, delimiter, whole_number
from kellgren.grades import GRADE_COUNT, Side

_PROBABILITIES = tuple(f"p{grade}" for grade in range(GRADE_COUNT))
_MOST_PROBABLE = "most_probable"
_GRADE = re.compile(r"[0-4]", re.ASCII)
_SIDES = {name: side for side in Side for name in (side.value.lower(), side.label)}
# One million knees take about 100 MB; more than this is a damaged or hostile file.
_MAX_BYTES = 256 * 2**20
_SHOWN = 5
_ROUNDED = 0.026
"""Five shares with two decimals each add up to 1 within 0.025; the rest is binary."""
_REMEDY = "Correct these rows, or write the table again with kellgren."


@dataclass(frozen=True, slots=True)
class Refusal:
    """A knee without a grade, and why."""

    image: str
    side: Side
    note: str
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The rows of one table; rows are counted as a spreadsheet does, the header being row 1."""

    source: str
    images: tuple[str, ...]  # N graded rows
    sides: tuple[Side, ...]
    grades: IntArray  # (N,) 0..4
    probabilities: Float64Array | None  # (N, 5), 0..1, each row sums to 1 within 0.03
    rows: tuple[int, ...]
    refused: tuple[Refusal, ...]
    named: tuple[bool, ...]  # N: whether the row names its grade, or it is the most probable one
    kept: tuple[tuple[str, ...], ...] = ()  # N: cells of the columns that were asked for
    words: tuple[str, ...] = ()  # N words for the certainty; empty where a row has none


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    image: str
    side: Side
    grade: int | None
    probabilities: tuple[float, ...] | None
    note: str
    named: bool
    word: str
    kept: tuple[str, ...]


def read_predictions(path: Path | str, keep: Sequence[str] = ()) -> Predictions:
    """Read a predictions table, CSV in UTF-8, plain or ending in ``.gz``.

    Args:
        path: of the table.
        keep: columns whose cells are kept as text, empty where the table lacks them.

    Raises:
        InvalidPredictions: unreadable, not such a table, or rows with an invalid side, grade or
            probability; the message names the rows.
    """
    header, records = _read_table(Path(path))
    rows, problems = [], []
    for number, fields in records:
        try:
            rows.append(_parse(number, fields, header, keep))
        except ValueError as problem:
            problems.append(f"row {number}: {problem}")
    if problems:
        raise InvalidPredictions(path, in_short(problems), _REMEDY)
    if not rows:
        raise InvalidPredictions(
            path, "the table has a header but no rows", "Predict at least one knee."
        )
    return _collect(str(path), rows)


def in_short(problems: Sequence[str]) -> str:
    """The first few problems as one phrase, and how many more there are."""
    rest = len(problems) - _SHOWN
    return "; ".join(problems[:_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The column names, and every non-empty row with its number."""
    try:
        text = _read_text(path)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text), strict=True)
        records = list(enumerate(reader, start=1))
    except csv.Error as error:
        raise InvalidPredictions(
            path, f"not a CSV table ({error})", "Give a table of comma-separated values."
        ) from error
    records = [(number, fields) for number, fields in records if any(map(str.strip, fields))]
    if not records:
        raise InvalidPredictions(path, "the file is empty", "Give a table with a header row.")
    header = [name.strip().lower() for name in records[0][1]]
    _check_header(path, header)
    return header, records[1:]


def _read_text(path: Path) -> str:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise InvalidPredictions(
            path, f"cannot be read ({problem})", "Check the path and that the file is complete."
        ) from error
    if len(content) > _MAX_BYTES:
        raise InvalidPredictions(
            path, f"larger than {_MAX_BYTES // 2**20} MiB", "Split the table into smaller ones."
        )
    try:
        return decoded(content)
    except UnicodeError as error:
        raise InvalidPredictions(
            path, "not UTF-8 text", "Save the table as CSV in UTF-8."
        ) from error


def _check_header(path: Path, header: list[str]) -> None:
    columns = f"the columns are {', '.join(header[:12])}"
    missing = [name for name in ("image", "grade") if name not in header]
    if missing:
        raise InvalidPredictions(
            path,
            f"no column {' or '.join(missing)}; {columns}",
            "Give the comma-separated columns image, side, grade and, if known, p0 to p4.",
        )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InvalidPredictions(
            path, f"column {', '.join(twice)} occurs more than once", "Keep one of each."
        )
    absent = [name for name in _PROBABILITIES if name not in header]
    if 0 < len(absent) < GRADE_COUNT:
        raise InvalidPredictions(
            path, f"no column {', '.join(absent)}; {columns}", "Give all of p0 to p4, or none."
        )


def _parse(number: int, fields: list[str], header: list[str], keep: Sequence[str]) -> _Row:
    """One row.

    Raises:
        ValueError: what is wrong with it, as a phrase.
    """
    if len(fields) < len(header) or any(map(str.strip, fields[len(header) :])):
        raise ValueError(f"{len(fields)} fields for {len(header)} columns")
    cells = {name: cell_text(field) for name, field in zip(header, fields, strict=False)}
    image, side, grade = cells["image"], cells.get("side", ""), whole_number(cells["grade"])
    if not image or "\0" in image:
        raise ValueError("no image" if not image else "NUL in the image's name")
    if side.lower() not in _SIDES:
        raise ValueError(f"side is {side!r}, expected L, R or nothing")
    if grade and not _GRADE.fullmatch(grade):
        raise ValueError(f"grade is {grade!r}, expected 0 to 4, or nothing for a refused knee")
    named, grade = bool(grade), grade or whole_number(cells.get(_MOST_PROBABLE, ""))
    if grade and not _GRADE.fullmatch(grade):
        raise ValueError(f"{_MOST_PROBABLE} is {grade!r}, expected 0 to 4, or nothing")
    return _Row(
        number=number,
        image=image,
        side=_SIDES[side.lower()],
        grade=int(grade) if grade else None,
        probabilities=_parse_probabilities(cells) if grade else None,
        note=cells.get("note", ""),
        named=named,
        word=cells.get("certainty", ""),
        kept=tuple(cells.get(name, "") for name in keep),
    )


def _parse_probabilities(cells: dict[str, str]) -> tuple[float, ...] | None:
    # Where semicolons separate the columns, commas stand for the decimal point.
    texts = [cells.get(name, "").replace(",", ".") for name in _PROBABILITIES]
    if not any(texts):
        return None
    for name, text in zip(_PROBABILITIES, texts, strict=True):
        if not _is_probability(text):
            raise ValueError(f"{name} is {text!r}, expected a number from 0 to 1")
    probabilities = tuple(map(float, texts))
    total = math.fsum(probabilities)
    if abs(total - 1) > _ROUNDED:
        raise ValueError(f"p0 to p4 add up to {total:.3f}, expected 1")
    return probabilities


def _is_probability(text: str) -> bool:
    try:
        return 0.0 <= float(text) <= 1.0
    except ValueError:
        return False


def _collect(source: str, rows: list[_Row]) -> Predictions:
    graded = [(row, row.grade) for row in rows if row.grade is not None]
    known = [row.probabilities for row, _ in graded if row.probabilities is not None]
    if 0 < len(known) < len(graded):
        without = [f"row {row.number}" for row, _ in graded if row.probabilities is None]
        raise InvalidPredictions(
            source,
            f"a grade without probabilities in {in_short(without)}",
            "Give p0 to p4 in every row with a grade, or in none.",
        )
    words = tuple(row.word for row, _ in graded)
    return Predictions(
        source=source,
        images=tuple(row.image for row, _ in graded),
        sides=tuple(row.side for row, _ in graded),
        grades=np.array([grade for _, grade in graded], dtype=np.int64),
        probabilities=np.array(known, dtype=np.float64) if known else None,
        rows=tuple(row.number for row, _ in graded),
        refused=tuple(
            Refusal(row.image, row.side, row.note, row.number) for row in rows if row.grade is None
        ),
        named=tuple(row.named for row, _ in graded),
        words=words if all(words) else (),
        kept=tuple(row.kept for row, _ in graded),
    )
