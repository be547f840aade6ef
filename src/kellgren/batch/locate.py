"""Where the knees of a file lie, without grading them: rows for people, tables and programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from kellgren.errors import KellgrenError
from kellgren.explanation.film_picture import draw_film
from kellgren.explanation.overlay import png_bytes
from kellgren.file_names import patient_and_side
from kellgren.grades import Side
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane, Region
from kellgren.localisation.film import DetectedKnee, find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.laterality import side_statements

COLUMNS = (
    *("image", "knee", "side", "centre_x", "centre_y", "width", "angle"),
    *("confidence", "warnings", "note"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Location:
    """What was found in one file.

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

    def rows(self) -> list[dict[str, Any]]:
        """One row a knee, or one with the reason; places and widths in pixels of the file."""
        if not self.knees or self.pixels is None:
            return [{"image": self.image, "knee": None, "note": self.note}]
        return [
            {
                "image": self.image,
                "knee": number,
                "side": knee.crop.side.value,
                "region": (knee.crop.region or _whole(self.pixels)).to_dict(),
                "confidence": round(knee.confidence, 4),
                "checks": [check.to_dict() for check in knee.checks],
                "warnings": list(knee.warnings),
                "note": "",
            }
            for number, knee in enumerate(self.knees, start=1)
        ]

    def picture(self) -> bytes:
        """The film with its knees' squares, as a PNG file's bytes.

        Raises:
            ValueError: nothing was found.
        """
        if self.pixels is None:
            raise ValueError(f"{self.image} has no picture")
        return png_bytes(draw_film(self.pixels, [knee.crop for knee in self.knees]))


def locate_file(image: str, side: Side, localiser: Localiser, *, force: bool = False) -> Location:
    """Find the knees of one file; what is wrong with it becomes the note."""
    try:
        radiograph = read_radiograph(image)
        statements = side_statements(radiograph.side, patient_and_side(image)[1], side)
        knees = find_knees(radiograph, statements, localiser, force=force)
    except KellgrenError as error:
        return Location(image, note=error.reason)
    return Location(image, tuple(knees), radiograph.pixels)


def write_csv(locations: Sequence[Location], stream: IO[str]) -> None:
    """One row a knee."""
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for location in locations:
        for row in location.rows():
            flat = dict(row)
            if row["knee"] is not None:
                region = row["region"]
                flat["centre_x"], flat["centre_y"] = region["centre"]
                flat["width"], flat["angle"] = region["width"], region["angle"]
                flat["warnings"] = "; ".join(row["warnings"])
            writer.writerow(flat)


def write_json(locations: Sequence[Location], stream: IO[str]) -> None:
    """One document with all knees."""
    rows = [row for location in locations for row in location.rows()]
    stream.write(json.dumps({"knees": rows}, indent=2) + "\n")


def _whole(pixels: Plane) -> Region:
    height, width = pixels.shape
    return Region((width / 2, height / 2), float(max(height, width)))
