"""What was read on one knee: the one record that every interface shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from kellgren.arrays import Float32Array
from kellgren.explanation.cam import heat
from kellgren.explanation.overlay import Caption, draw_overlay, png_bytes
from kellgren.grades import Grade, Side
from kellgren.knee import KneeCrop
from kellgren.localisation.check import Check
from kellgren.reading_schema import ReadingRecord


@dataclass(frozen=True)
class KneeReading:
    """What was read on one knee; every interface shows this record.

    Attributes:
        image: the path as it was given.
        side: of the patient.
        grade: the most probable one.
        probabilities: of the five grades, 0..1, summing to 1.
        certainty: ``high``, ``moderate`` or ``low``, from the largest probability.
        likely: lowest and highest of the neighbouring grades that hold 90 % of the probability.
        warnings: what a reader should know of the file or the side.
        mm_per_pixel: of the file; ``None`` where it gave no spacing.
        model: name, checksum, engine, precision and mirroring of what read it.
        checks: the gates it passed, each with its evidence.
        crop: the knee that was looked at.
        maps: where each grade's evidence lies, ``(5, h, w)``, on the finest member's grid.
        alone: the probabilities before the other knee had a say.
        features: each network's last features, averaged over the picture: ``(C,)`` each, in the
            bundle's order; knees that look alike to the networks lie close together in them.
        read_with: path of the file that showed the other knee, if that had a say.
    """

    image: str
    side: Side
    grade: Grade
    probabilities: tuple[float, ...]
    certainty: str
    likely: tuple[Grade, Grade]
    warnings: tuple[str, ...]
    mm_per_pixel: float | None
    model: dict[str, str]
    crop: KneeCrop
    maps: Float32Array
    alone: tuple[float, ...]
    features: tuple[Float32Array, ...]
    read_with: str | None = None
    checks: tuple[Check, ...] = ()

    @property
    def activation(self) -> Float32Array:
        """Where the grade's evidence lies, ``(h, w)``: the map of the grade."""
        return np.asarray(self.maps[self.grade])

    def record(self) -> ReadingRecord:
        """The reading as a checked record without pictures, the form in which it is kept and sent.

        Raises:
            pydantic.ValidationError: a field is not what the schema of readings allows.
        """
        return ReadingRecord.model_validate(
            {
                "image": self.image,
                "side": self.side.value,
                "grade": int(self.grade),
                "name": self.grade.label,
                "probabilities": [round(p, 6) for p in self.probabilities],
                "certainty": self.certainty,
                "likely": [int(grade) for grade in self.likely],
                "warnings": self.warnings,
                "mm_per_pixel": self.mm_per_pixel,
                "region": None if self.crop.region is None else self.crop.region.to_dict(),
                "read_with": self.read_with,
                "checks": [check.to_dict() for check in self.checks],
                "model": self.model,
            }
        )

    def to_dict(self) -> dict[str, JsonValue]:
        """The reading as plain values for JSON, without pictures."""
        return self.record().model_dump(mode="json")

    def overlay(self, mapped: Grade | None = None) -> bytes:
        """The knee, its class-activation map, grade and probabilities, as a PNG file's bytes.

        Args:
            mapped: the grade whose map is shown; without it, the grade of the reading.
        """
        caption = Caption(
            grade=self.grade,
            side=self.side,
            probabilities=self.probabilities,
            certainty=self.certainty,
            likely=self.likely,
            model=f"{self.model['name']} {self.model['checksum'][:8]}",
            mapped=mapped,
            with_other=self.read_with is not None,
        )
        pixels = self.crop.pixels
        shape = (int(pixels.shape[0]), int(pixels.shape[1]))
        shown = self.maps[self.grade if mapped is None else mapped]
        return png_bytes(draw_overlay(pixels, heat(shown, shape), caption))

    def _repr_png_(self) -> bytes:
        return self.overlay()
