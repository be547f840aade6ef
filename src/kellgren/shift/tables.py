"""The knees that are watched, from rows of readings, tables and documents of ``kellgren grade``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from kellgren.arrays import Float64Array
from kellgren.data.predictions import in_short, read_predictions
from kellgren.errors import InvalidPredictions
from kellgren.file_names import patient_and_side
from kellgren.grades import Side
from kellgren.reading_schema import KneeRecord, ModelRecord, ReadingsDocument, UngradedRow
from kellgren.shift.quantities import QUANTITIES, Key, values_of
from kellgren.shift.sample import WatchedKnees

_MEASURED: tuple[Key, ...] = ("gate_distance", "exposure")
_REMEDY = "Correct these rows, or write the table again with kellgren grade --csv."


def read_watched(path: Path) -> tuple[WatchedKnees, ModelRecord | None]:
    """The knees of a table or document, and the model that a document names.

    Args:
        path: ending in ``.json`` what ``kellgren grade --json`` wrote, else what ``--csv`` wrote,
            plain or ending in ``.gz``.

    Raises:
        InvalidPredictions: it cannot be read, is none of these, or has no probabilities.
    """
    if path.suffix.lower() == ".json":
        return _of_document(path)
    return _of_table(path), None


def watched(rows: Iterable[object]) -> WatchedKnees:
    """The graded knees among rows of readings; the others are counted."""
    rows = list(rows)
    graded = [row for row in rows if isinstance(row, KneeRecord)]
    told = [values_of(row) for row in graded]
    columns: dict[Key, Float64Array] = {
        it.key: np.array([math.nan if v[it.key] is None else v[it.key] for v in told], np.float64)
        for it in QUANTITIES
    }
    stated = [str(getattr(row, "patient", None) or "") for row in graded]
    images = [row.image for row in graded]
    return _watched(images, stated, columns, sum(isinstance(r, UngradedRow) for r in rows))


def _of_document(path: Path) -> tuple[WatchedKnees, ModelRecord | None]:
    try:
        read = ReadingsDocument.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InvalidPredictions(
            path,
            f"is no document of kellgren grade --json ({type(error).__name__})",
            "Name a table or document that kellgren grade wrote",
        ) from None
    return watched(read.readings), read.model if isinstance(read.model, ModelRecord) else None


def _of_table(path: Path) -> WatchedKnees:
    table = read_predictions(path, keep=("patient", *_MEASURED))
    if table.probabilities is None:
        raise InvalidPredictions(
            path, "has no probabilities p0 to p4", "Name a table that kellgren grade --csv wrote"
        )
    columns: dict[Key, Float64Array] = {
        "grade": table.probabilities.argmax(axis=1).astype(np.float64),
        "certainty": table.probabilities.max(axis=1),
    }
    for place, key in enumerate(_MEASURED, start=1):
        columns[key] = _numbers(path, key, [cells[place] for cells in table.kept], table.rows)
    stated = [cells[0] for cells in table.kept]
    return _watched(table.images, stated, columns, len(table.refused))


def _numbers(path: Path, key: str, cells: Sequence[str], rows: Sequence[int]) -> Float64Array:
    """A column of numbers, NaN where a cell is empty."""
    numbers, problems = [], []
    for cell, row in zip(cells, rows, strict=True):
        try:
            number = float(cell.replace(",", ".")) if cell else math.nan
            if cell and not math.isfinite(number):
                raise ValueError
        except ValueError:
            problems.append(f"row {row}: {key} is {cell!r}, expected a number")
            number = math.nan
        numbers.append(number)
    if problems:
        raise InvalidPredictions(path, in_short(problems), _REMEDY)
    return np.array(numbers, dtype=np.float64)


def _watched(
    images: Sequence[str],
    stated: Sequence[str],
    columns: dict[Key, Float64Array],
    refused: int,
) -> WatchedKnees:
    """With the patient of each knee: as stated, as the file's name tells, or the file itself."""
    patients, nameless = [], 0
    for image, patient in zip(images, stated, strict=True):
        named, side = patient_and_side(image)
        is_told = bool(patient) or side is not Side.UNKNOWN
        nameless += not is_told
        # Two folders may hold other patients' pictures of the same names, such as IMG_0001.png.
        patients.append(patient or (named if is_told else image))
    return WatchedKnees(tuple(patients), columns, refused, nameless)
