"""The places of the knees in a file, without grading them: rows, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Literal

from kellgren.errors import KellgrenError
from kellgren.exchange.csv_text import table_text
from kellgren.explanation.film_picture import draw_film
from kellgren.explanation.overlay import png_bytes
from kellgren.file_names import patient_and_side
from kellgren.grades import Side
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane, Region
from kellgren.localisation.film import DetectedKnee, find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.laterality import side_statements
from kellgren.reading_schema import (
    CheckRecord,
    ImageName,
    Probability,
    Record,
    RegionRecord,
    SideLetter,
)

COLUMNS = (
    *("image", "knee", "side", "centre_x", "centre_y", "width", "angle"),
    *("confidence", "warnings", "note"),
)


class KneeLocation(Record):
    """Where one knee lies in a file."""

    image: ImageName
    """Path of the file as it was given."""
    knee: int
    """Number in the file, from 1, from the film's left to its right."""
    side: SideLetter
    """Of the patient; empty: unknown."""
    region: RegionRecord
    """Square around the knee, in pixels of the file."""
    confidence: Probability
    """Of the localiser that a joint is there, four decimal places."""
    checks: tuple[CheckRecord, ...]
    """All checks of the radiograph, in their order."""
    warnings: tuple[str, ...]
    """The evidence of every check that did not pass."""
    note: Literal[""] = ""
    """Always empty: for a file without a knee, the reason stands here."""


class UnlocatedFile(Record):
    """A file in which no knee was located."""

    image: ImageName
    """Path of the file as it was given."""
    knee: None
    """Always null."""
    note: str
    """Why there is no knee: what was found, and the remedy."""


LocationRow = KneeLocation | UnlocatedFile


class LocationsDocument(Record):
    """What `kellgren locate --json` writes."""

    knees: tuple[LocationRow, ...]
    """One entry a knee, and one for each file without a knee, in the order of the files."""


@dataclass(frozen=True, slots=True, eq=False)
class Location:
    """The knees of one file.

    Attributes:
        image: the path as given.
        knees: from the film's left to its right; none where the file was refused.
        pixels: ``(H, W)`` of the film; ``None`` where there is none.
        note: why it was refused.
    """

    image: str
    knees: tuple[DetectedKnee, ...] = ()
    pixels: Plane | None = None
    note: str = ""

    def rows(self) -> list[LocationRow]:
        """One row a knee, or one with the reason; places and widths in pixels of the file."""
        if not self.knees or self.pixels is None:
            return [UnlocatedFile(image=self.image, knee=None, note=self.note)]
        return [
            KneeLocation.model_validate(
                {
                    "image": self.image,
                    "knee": number,
                    "side": knee.crop.side.value,
                    "region": (knee.crop.region or _whole(self.pixels)).to_dict(),
                    "confidence": round(knee.confidence, 4),
                    "checks": [check.to_dict() for check in knee.checks],
                    "warnings": knee.warnings,
                }
            )
            for number, knee in enumerate(self.knees, start=1)
        ]

    def picture(self) -> bytes:
        """The film with its knees' squares, as a PNG file's bytes.

        Raises:
            ValueError: the file was refused.
        """
        if self.pixels is None:
            raise ValueError(f"{self.image} has no picture")
        return png_bytes(draw_film(self.pixels, [knee.crop for knee in self.knees]))


def locate_file(image: str, side: Side, localiser: Localiser, *, force: bool = False) -> Location:
    """Find the knees of one file; an error becomes the note."""
    try:
        radiograph = read_radiograph(image)
        statements = side_statements(radiograph.side, patient_and_side(image)[1], side)
        knees = find_knees(radiograph, statements, localiser, force=force)
    except KellgrenError as error:
        return Location(image, note=error.reason)
    return Location(image, tuple(knees), radiograph.pixels)


def write_csv(locations: Sequence[Location], stream: IO[str]) -> None:
    """One row a knee."""
    rows = (_cells(row) for location in locations for row in location.rows())
    stream.write(table_text(COLUMNS, rows))


def write_json(locations: Sequence[Location], stream: IO[str]) -> None:
    """One document with all knees."""
    rows = tuple(row for location in locations for row in location.rows())
    stream.write(json.dumps(LocationsDocument(knees=rows).model_dump(mode="json"), indent=2) + "\n")


def _cells(row: LocationRow) -> dict[str, str | float | None]:
    """The cells of a row by column; a column that is missing or `None` stays empty."""
    cells: dict[str, str | float | None] = {"image": row.image, "knee": row.knee, "note": row.note}
    if isinstance(row, KneeLocation):
        x, y = row.region.centre
        cells |= {"side": row.side, "centre_x": x, "centre_y": y}
        cells |= {"width": row.region.width, "angle": row.region.angle}
        cells |= {"confidence": row.confidence, "warnings": "; ".join(row.warnings)}
    return cells


def _whole(pixels: Plane) -> Region:
    height, width = pixels.shape
    return Region((width / 2, height / 2), float(max(height, width)))
