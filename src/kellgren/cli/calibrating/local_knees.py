"""The local knees of a calibration: the bundle's grades beside those of the local readers."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kellgren.data.manifest import Knee
    from kellgren.data.matching import Labels
    from kellgren.data.predictions import Predictions
    from kellgren.ensemble import Ensemble
    from kellgren.evaluation import MatchedKnees
    from kellgren.grades import Side
    from kellgren.reading_schema import ReadingRow


@dataclass(frozen=True)
class LabelTable:
    """The local grades: the table's knees, those that have a grade as labels."""

    source: Path
    knees: Sequence[Knee]
    labels: Labels


def read_labels(source: Path) -> LabelTable:
    """The local grades; warns where nothing tells which knees are of one patient."""
    from kellgren.cli import terminal
    from kellgren.cli.inputs import nameless_warning, own_grades_warning
    from kellgren.data.manifest import index
    from kellgren.data.matching import Label, Labels

    knees = [knee for knee in index(source) if knee.grade is not None]
    consequence = "both knees of a patient may stand on both sides of the estimate"
    terminal.warn(own_grades_warning(source))
    terminal.warn(nameless_warning(knees, consequence) if knees else "")
    labels = [
        Label(str(knee.image), knee.patient, int(knee.grade or 0), knee.side) for knee in knees
    ]
    return LabelTable(source, knees, Labels(labels))


def graded_knees(
    paths: list[str], table: LabelTable, ensemble: Ensemble, workers: int
) -> MatchedKnees:
    """The labelled knees with the bundle's distributions.

    Films of two knees whose label names no side are left out, with a warning.

    Args:
        paths: pictures, folders, a manifest, or one JSON document of `kellgren grade`.
        table: of labels.
        ensemble: that grades the pictures, or graded those of the document.
        workers: files at a time.

    Raises:
        InvalidPredictions: no picture fits a label, or one fits several.
        typer.BadParameter: the document is none, or was graded by another bundle; a table of
            grades stands in the pictures' place.
    """
    from kellgren.data.matching import match

    _refuse_tables_of_grades(paths)
    document = Path(paths[0])
    if len(paths) == 1 and document.suffix.lower() == ".json":
        rows = _rows_of(document, ensemble)
    else:
        rows = _graded(paths, table, ensemble, workers)
    return match(_predictions(_told_apart(rows, table.labels), str(paths[0])), table.labels)


def _refuse_tables_of_grades(paths: Sequence[str]) -> None:
    """A table that `grade --csv` wrote reads like a manifest, and its rows like contradictions."""
    from kellgren.data.predictions import read_predictions
    from kellgren.errors import InvalidPredictions

    for path in map(Path, paths):
        if path.suffix.lower() != ".csv" or not path.is_file():
            continue
        with suppress(InvalidPredictions):
            if read_predictions(path).probabilities is not None:
                raise typer.BadParameter(
                    f"{path} is a table of grades; name the pictures themselves, or the document "
                    "that kellgren grade --json FILE writes of them"
                )


def _told_apart(rows: Sequence[ReadingRow], labels: Labels) -> list[ReadingRow]:
    """Rows but those of films of two knees with one label that names no side."""
    from kellgren.cli import terminal
    from kellgren.cli.manners.alike import told_once

    knees = Counter(row.image for row in rows if row.grade is not None)
    shared = {image for image, count in knees.items() if count > 1 and labels.sideless(image)}
    why = "shows two knees and its label names no side: left out; give each knee a line, with side"
    for line in told_once((image, why) for image in sorted(shared)):
        terminal.warn(f"warning: {line}")
    return [row for row in rows if row.image not in shared]


def _rows_of(document: Path, ensemble: Ensemble) -> Sequence[ReadingRow]:
    from pydantic import ValidationError

    from kellgren.reading_schema import GradedRow, ModelRecord, ReadingsDocument

    try:
        read = ReadingsDocument.model_validate_json(document.read_bytes())
    except (OSError, ValidationError) as error:
        raise typer.BadParameter(
            f"{document} is no document of kellgren grade --json ({type(error).__name__})"
        ) from None
    if read.model != ModelRecord.model_validate(ensemble.model):
        raise typer.BadParameter(
            f"{document} was graded by another bundle or with other options than those that are to "
            "be calibrated; grade the pictures again, or name that bundle with --model"
        )
    return [
        row if row.grade is None else GradedRow.model_construct(**dict(row), model=read.model)
        for row in read.readings
    ]


def _graded(
    paths: list[str], table: LabelTable, ensemble: Ensemble, workers: int
) -> list[ReadingRow]:
    """The rows of the pictures that some label may fit; others are not graded."""
    from kellgren.cli.inputs import expanded, files_of, graded_rows

    images, known, _ = expanded(paths)
    collected = files_of(images, None, None)
    wanted = [image for image in collected.images if table.labels.may_fit(image)]
    if not wanted:
        raise typer.BadParameter(
            f"none of {len(collected.images)} pictures has the name of one in {table.source}"
        )
    return graded_rows(ensemble, wanted, workers, _stated(table.knees) | dict(known))


def _stated(knees: Sequence[Knee]) -> dict[str, tuple[str, Side]]:
    """Patient and side of files with one label; a film of both knees has two, and two sides."""
    stated: dict[str, list[tuple[str, Side]]] = {}
    for knee in knees:
        stated.setdefault(str(knee.image), []).append((knee.patient, knee.side))
    return {image: said[0] for image, said in stated.items() if len(said) == 1}


def _predictions(rows: Sequence[ReadingRow], source: str) -> Predictions:
    import numpy as np

    from kellgren.data.predictions import Predictions, Refusal
    from kellgren.grades import Side
    from kellgren.reading_schema import GradedRow

    numbered = list(enumerate(rows, start=1))
    graded = [(number, row) for number, row in numbered if isinstance(row, GradedRow)]
    return Predictions(
        source=source,
        images=tuple(row.image for _, row in graded),
        sides=tuple(Side(row.side) for _, row in graded),
        grades=np.array([row.grade for _, row in graded], dtype=np.int64),
        named=(True,) * len(graded),
        probabilities=np.array([row.probabilities for _, row in graded], dtype=np.float64),
        rows=tuple(number for number, _ in graded),
        refused=tuple(
            Refusal(row.image, Side(row.side), row.note, number)
            for number, row in numbered
            if row.grade is None
        ),
    )
