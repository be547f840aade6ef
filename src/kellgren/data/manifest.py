"""One row per knee: which image, whose, which side, which grade, which split, from where."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kellgren.atomic_files import written_whole
from kellgren.data.knee_folders import SPLITS, OnSkipped, knees_in, looks_like_auto_test
from kellgren.errors import InvalidManifest
from kellgren.exchange.csv_text import (
    cell_text,
    decoded,
    numbered_rows,
    rounded_by_spreadsheet,
    table_reader,
    table_text,
    whole_number,
)
from kellgren.file_names import named_path, patient_and_side
from kellgren.grades import Grade, Side

COLUMNS = ("image", "patient", "side", "grade", "split", "source")

_SIDES = {"L": Side.LEFT, "LEFT": Side.LEFT, "R": Side.RIGHT, "RIGHT": Side.RIGHT}


@dataclass(frozen=True, slots=True)
class Knee:
    """One graded knee of a data set.

    Attributes:
        image: the file, as it can be opened from the working directory.
        patient: identifier of the patient, the same for both knees.
        side: of the patient.
        grade: ``None`` where the label is missing.
        split: ``train``, ``val``, ``test``, ``auto_test``, or empty where the set has none.
        source: the data set it comes from.
    """

    image: Path
    patient: str
    side: Side
    grade: Grade | None
    split: str
    source: str


def index(source: Path, on_skipped: OnSkipped = lambda skipped: None) -> list[Knee]:
    """List the knees of a data set, whatever its layout; files in folders by their content.

    Args:
        source: a folder in the published layout (``{train,val,test}/{0..4}/``, either
            resolution), a folder with one folder per grade, or a CSV with at least the columns
            ``image`` and ``grade``, whose paths are relative to the CSV.
        on_skipped: called with what is passed over: files that are no radiographs, and folders
            that are named after no grade or split.

    Raises:
        InvalidManifest: the folder or table is none of these.
    """
    if source.is_file():
        return read_manifest(source)
    if not source.is_dir():
        raise InvalidManifest(source, "does not exist", "Name a folder of knees or a CSV table")
    resolutions = sorted(
        p.name for p in source.iterdir() if p.is_dir() and p.name.lower().startswith("kneekl")
    )
    if len(resolutions) > 1:
        raise InvalidManifest(
            source,
            f"holds the same knees at several resolutions ({', '.join(resolutions)})",
            "Name one of these folders, else every knee would count twice",
        )
    root = source / resolutions[0] if resolutions else source
    knees = [Knee(*row) for row in knees_in(root, on_skipped)]
    if not knees:
        raise InvalidManifest(
            source,
            "has neither {train,val,test}/{0..4}/ nor one folder per grade with images",
            "docs/how-to/prepare-data.md shows the layouts",
        )
    return sorted(knees, key=lambda knee: knee.image.as_posix())


def read_manifest(path: Path, *, graded: bool = True) -> list[Knee]:
    """Read a manifest, or any CSV with the columns ``image`` and ``grade``.

    Args:
        path: of the table; image paths in it are relative to it.
        graded: without, the column ``grade`` may be missing, as in a table of knees to be graded.

    Raises:
        InvalidManifest: not a table, a column missing, no rows, or a row with an unknown grade,
            side or split, or two rows of one knee; the message gives the lines (of a row over
            several lines, the last).
    """
    try:
        text = decoded(path.read_bytes())
        reader = table_reader(text)
        found = reader.fieldnames or ()
        missing = [name for name in ("image", "grade")[: 1 + graded] if name not in found]
        if missing:
            raise InvalidManifest(
                path,
                f"has no column {' and no column '.join(missing)}; the columns are "
                f"{', '.join(found[:12])}",
                f"The first line must name the columns; these are known: {', '.join(COLUMNS)}",
            )
        numbered = [(line, _knee(path, line, row)) for line, row in numbered_rows(reader)]
    except csv.Error as error:
        raise InvalidManifest(path, str(error), "Save it as UTF-8 CSV again") from None
    except (OSError, UnicodeError) as error:
        raise InvalidManifest(
            path, f"cannot be read as a table ({type(error).__name__})", "Save it as UTF-8 CSV"
        ) from None
    if not numbered:
        raise InvalidManifest(path, "lists no knee", "Add one line for each knee")
    _check_repeated(path, numbered, graded=graded)
    return [knee for _, knee in numbered]


def write_manifest(knees: Iterable[Knee], path: Path) -> None:
    """Write a manifest whose image paths are relative to it; whole or not at all."""
    with written_whole(path) as stream:
        stream.write(manifest_text(knees, path))


def manifest_text(knees: Iterable[Knee], path: Path) -> str:
    """What `write_manifest` writes."""
    rows = (
        {
            "image": Path(os.path.relpath(knee.image, path.parent)).as_posix(),
            "patient": knee.patient,
            "side": knee.side.value,
            "grade": None if knee.grade is None else int(knee.grade),
            "split": knee.split,
            "source": knee.source,
        }
        for knee in knees
    )
    return table_text(COLUMNS, rows)


def for_training(knees: Iterable[Knee], subject: Path, splits: Collection[str] = ()) -> list[Knee]:
    """The knees one may train on: train, val and those without a split, all of them graded.

    The test split stays shut, and auto_test holds re-crops of test knees.

    Args:
        knees: of the data set.
        subject: which data set, for messages.
        splits: only these of ``train`` and ``val``; empty: all that one may train on.

    Raises:
        InvalidManifest: nothing is left, a grade is missing, re-cropped test knees pose as another
            split, or a split is asked for that one may not train on.
    """
    forbidden = sorted(set(splits) - {"train", "val"})
    if forbidden:
        raise InvalidManifest(
            subject, f"is not trained on its split {forbidden[0]}", "Name train, val or both"
        )
    kept = [knee for knee in knees if knee.split in (splits or ("train", "val", ""))]
    disguised = [knee for knee in kept if looks_like_auto_test(knee.image)]
    if disguised:
        raise InvalidManifest(
            subject,
            f"{len(disguised)} of the images are re-crops of test knees (auto_test), "
            f"such as {disguised[0].image.name}",
            "Leave them out: training on them would leak the test set",
        )
    if not kept:
        raise InvalidManifest(
            subject,
            f"holds no knee of {' or '.join(splits or ('train', 'val'))}",
            "The test and auto_test splits are refused",
        )
    ungraded = [knee for knee in kept if knee.grade is None]
    if ungraded:
        raise InvalidManifest(
            subject,
            f"{len(ungraded)} knees have no grade, such as {ungraded[0].image.name}",
            "Grade them or leave them out",
        )
    return kept


def _knee(path: Path, line: int, row: Mapping[str, str | None]) -> Knee:
    def cell(name: str) -> str:
        text = cell_text(row.get(name))
        return whole_number(text) if name in ("grade", "patient") else text

    def refuse(column: str, expected: str) -> InvalidManifest:
        return InvalidManifest(
            path, f"line {line}: {column} is {cell(column)!r}", f"Expected {expected}"
        )

    if not cell("image"):
        raise refuse("image", "the path of a picture")
    if cell("grade") not in ("", "0", "1", "2", "3", "4"):
        raise refuse("grade", "a grade 0, 1, 2, 3 or 4, or nothing")
    if cell("split") not in ("", *SPLITS):
        raise refuse("split", f"one of {', '.join(SPLITS)}, or nothing")
    if rounded_by_spreadsheet(cell("patient")):
        raise InvalidManifest(
            path,
            f"line {line}: patient is {cell('patient')!r}, a number that a spreadsheet has rounded",
            "Take the column from its source again, and format it as text in the spreadsheet",
        )
    patient, side = patient_and_side(cell("image"))
    if cell("side"):
        try:
            side = _SIDES[cell("side").upper()]
        except KeyError:
            raise refuse("side", "L, R or nothing") from None
    grade = Grade(int(cell("grade"))) if cell("grade") else None
    return Knee(
        named_path(path.parent, cell("image")),
        cell("patient") or patient,
        side,
        grade,
        cell("split"),
        cell("source") or path.stem,
    )


def _check_repeated(path: Path, numbered: Sequence[tuple[int, Knee]], *, graded: bool) -> None:
    """Refuse two rows of one knee, and of one file that cannot both be true.

    A film of both knees has a row for each, with its side and grade.
    """
    rows_of: dict[Path, list[tuple[int, Knee]]] = {}
    for line, knee in numbered:
        for other_line, other in rows_of.setdefault(knee.image, []):
            both_knees = {knee.side, other.side} == {Side.LEFT, Side.RIGHT}
            lines = f"lines {other_line} and {line}"
            alike = [name for name in COLUMNS if not (both_knees and name in ("side", "grade"))]
            differing = [name for name in alike if getattr(knee, name) != getattr(other, name)]
            if differing:
                name = differing[0]
                said = f"{_shown(getattr(other, name))} and {_shown(getattr(knee, name))}"
                raise InvalidManifest(
                    path,
                    f"{lines} contradict each other: {name} of {knee.image.name} is {said}",
                    "Keep the row that is true; a film of both knees has two rows, L and R",
                )
            if graded and not both_knees:
                raise InvalidManifest(
                    path, f"{lines} are the same knee, {knee.image.name}", "Keep one of them"
                )
        rows_of[knee.image].append((line, knee))


def _shown(value: Side | Grade | str | None) -> str:
    """A cell as it would be written."""
    if isinstance(value, Side):
        return value.value or "unknown"
    return "missing" if value is None else str(int(value) if isinstance(value, Grade) else value)


def without_patient(knees: Iterable[Knee]) -> list[Knee]:
    """Knees whose patient neither the table nor the file's name states: each is taken for one."""
    return [
        knee
        for knee in knees
        if (knee.patient, Side.UNKNOWN) == patient_and_side(knee.image)
        and not looks_like_auto_test(knee.image)
    ]
