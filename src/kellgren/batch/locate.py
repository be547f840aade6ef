"""The places of the knees in a file, without grading them: rows, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from kellgren.errors import KellgrenError
from kellgren.exchange.csv_text import table_text
from kellgren.exchange.record import Record
from kellgren.explanation.film_picture import draw_film
from kellgren.explanation.overlay import png_bytes
from kellgren.file_names import patient_and_side
from kellgren.grades import Side
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane, Region
from kellgren.localisation.film import DetectedKnee, find_joints, refused_film
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.laterality import side_statements
from kellgren.reading_schema import (
    CheckRecord,
    ImageName,
    Probability,
    RegionRecord,
    SideLetter,
)

COLUMNS = (
    *("image", "knee", "side", "centre_x", "centre_y", "width", "angle"),
    *("confidence", "warnings", "note"),
)


class KneeLocation(Record):
    """Where one joint lies in a file: a knee, or one that is refused."""

    image: ImageName
    """Path of the file as it was given."""
    knee: int
    """Number in the file, from 1, from the film's left to its right."""
    side: SideLetter
    """Of the patient; empty: unknown."""
    region: RegionRecord
    """Square around the joint, in pixels of the film as it was read."""
    confidence: Probability
    """Of the localiser that a joint is there, four decimal places."""
    checks: tuple[CheckRecord, ...]
    """All checks of the radiograph, in their order."""
    warnings: tuple[str, ...]
    """The evidence of every check that did not pass."""
    note: str = ""
    """Why the joint would not be graded: what was found, and the remedy; empty: it would be."""


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
    """One entry a joint, and one for each file without any, in the order of the files."""


@dataclass(frozen=True, slots=True, eq=False)
class Location:
    """The joints of one file.

    Attributes:
        image: the path as given.
        knees: from the film's left to its right, refused ones too; none where the file shows none.
        pixels: ``(H, W)`` of the film; ``None`` where there is none.
        note: why the file was refused.
        force: refused joints would be graded too.
    """

    image: str
    knees: tuple[DetectedKnee, ...] = ()
    pixels: Plane | None = None
    note: str = ""
    force: bool = False

    def rows(self) -> list[LocationRow]:
        """One row a joint, or one with the reason; places and widths in pixels of the film."""
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
                    "note": self._note(knee),
                }
            )
            for number, knee in enumerate(self.knees, start=1)
        ]

    def _note(self, knee: DetectedKnee) -> str:
        is_refused = knee.refusal and not self.force
        return refused_film(self.image, [knee.refusal]).reason if is_refused else ""

    def picture(self) -> bytes:
        """The film with its joints' squares, as a PNG file's bytes.

        Raises:
            ValueError: the file was refused.
        """
        if self.pixels is None:
            raise ValueError(f"{self.image} has no picture")
        refused = [knee.crop for knee in self.knees if self._note(knee)]
        graded = [knee.crop for knee in self.knees if not self._note(knee)]
        return png_bytes(draw_film(self.pixels, graded, refused))


def locate_file(image: str, side: Side, localiser: Localiser, *, force: bool = False) -> Location:
    """Find the knees of one file; an error becomes the note."""
    try:
        radiograph = read_radiograph(image)
        statements = side_statements(radiograph.header.sides, patient_and_side(image)[1], side)
    except KellgrenError as error:
        return Location(image, note=error.reason)
    joints = find_joints(radiograph, statements, localiser)
    if len(joints) == 1 and joints[0].refusal and not force:
        return Location(image, note=refused_film(image, [joints[0].refusal]).reason)
    return Location(image, tuple(joints), radiograph.pixels, force=force)


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
