"""The whole way in one call: a file in, a reading of each knee in it out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from kellgren import __version__
from kellgren.bundle import Bundle, default_bundle, open_bundle
from kellgren.calibration import certainty, likely_grades
from kellgren.checks import Check
from kellgren.explain import Map, ensemble_maps, heat
from kellgren.films import FoundKnee, find_knees
from kellgren.grades import Grade, Side
from kellgren.knee import KneeCrop
from kellgren.localiser import Localiser
from kellgren.naming import patient_and_side
from kellgren.overlay import Caption, draw_overlay, png_bytes
from kellgren.panel import Opinion, Panel
from kellgren.radiograph import read_radiograph
from kellgren.runtime import Engine, Precision
from kellgren.sides import claims


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
    maps: Map
    alone: tuple[float, ...]
    features: tuple[npt.NDArray[np.float32], ...]
    read_with: str | None = None
    checks: tuple[Check, ...] = ()

    @property
    def activation(self) -> Map:
        """Where the grade's evidence lies, ``(h, w)``: the map of the grade."""
        return np.asarray(self.maps[self.grade])

    def to_dict(self) -> dict[str, Any]:
        """The reading as plain values for JSON, without pictures."""
        return {
            "image": self.image,
            "side": self.side.value,
            "grade": int(self.grade),
            "name": self.grade.label,
            "probabilities": [round(p, 6) for p in self.probabilities],
            "certainty": self.certainty,
            "likely": [int(grade) for grade in self.likely],
            "warnings": list(self.warnings),
            "mm_per_pixel": self.mm_per_pixel,
            "region": None if self.crop.region is None else self.crop.region.to_dict(),
            "read_with": self.read_with,
            "checks": [check.to_dict() for check in self.checks],
            "model": self.model,
        }

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


class Ensemble:
    """A bundle that reads files.

    Args:
        bundle: already checked.
        engine: ``onnxruntime``, or ``openvino`` where it is installed.
        precision: ``fp32``, or ``bf16`` with openvino; recorded in every reading.
        threads: of the engine; 0 leaves the choice to it.
        mirror: average each look with the look at the mirror image.
        pair: let the patient's other knee have a say, where it is there and the bundle's card
            knows what to make of it.
        frame: which one to read, from 1, of DICOM files that hold several.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: Engine = "onnxruntime",
        precision: Precision = "fp32",
        threads: int = 0,
        mirror: bool = True,
        pair: bool = True,
        frame: int | None = None,
    ) -> None:
        self.bundle = bundle
        self.both_knees = bundle.card.both_knees if pair else None
        self._frame = frame
        self.panel = Panel(
            bundle, engine=engine, precision=precision, threads=threads, mirror=mirror
        )
        self.localiser = Localiser()
        self.model = {
            "name": bundle.card.name,
            "software": f"kellgren {__version__}",
            "checksum": bundle.checksum,
            "engine": engine,
            "precision": precision,
            "mirror": "averaged" if mirror else "off",
            "other_knee": "off" if self.both_knees is None else "used",
        }

    @classmethod
    def default(cls, **options: Any) -> Self:
        """The bundle that comes with the package.

        Raises:
            BundleError: it is damaged or missing.
        """
        return cls(open_bundle(default_bundle()), **options)

    @classmethod
    def open(cls, folder: Path | str, **options: Any) -> Self:
        """A bundle of one's own.

        Raises:
            BundleError: it is missing, damaged, incomplete, or in a newer format.
        """
        return cls(open_bundle(Path(folder)), **options)

    def read(
        self, path: Path | str, side: Side = Side.UNKNOWN, *, force: bool = False
    ) -> list[KneeReading]:
        """Grade every knee in a file.

        Args:
            path: PNG, JPEG, TIFF or DICOM of one knee or both.
            side: of the knee, if the caller knows it.
            force: grade what is no knee film by its looks too; its checks say so.

        Raises:
            UnreadableRadiograph: the file cannot be read.
            NotAKneeFilm: it shows no knee that may be graded.
        """
        radiograph = read_radiograph(path, self._frame)
        said = claims(radiograph.side, patient_and_side(path)[1], side)
        readings = [
            self._reading(str(path), knee, self.panel.examine(knee.crop), radiograph.warnings)
            for knee in find_knees(radiograph, said, self.localiser, force=force)
        ]
        return list(self.together(*readings)) if len(readings) == 2 else readings

    def together(self, one: KneeReading, other: KneeReading) -> tuple[KneeReading, KneeReading]:
        """The readings of a patient's two knees, each with the other's say.

        Unchanged where the bundle makes nothing of the other knee, and where the readings are not
        of a left and a right knee.
        """
        if self.both_knees is None or {one.side, other.side} != {Side.LEFT, Side.RIGHT}:
            return one, other
        return self._with_other(one, other), self._with_other(other, one)

    def _with_other(self, own: KneeReading, other: KneeReading) -> KneeReading:
        assert self.both_knees is not None
        found = self.both_knees.combine(np.asarray(own.alone), np.asarray(other.alone))
        return replace(own, read_with=other.image, **_verdict(found))

    def _reading(
        self, image: str, knee: FoundKnee, opinion: Opinion, warnings: tuple[str, ...]
    ) -> KneeReading:
        return KneeReading(
            image=image,
            side=knee.crop.side,
            **_verdict(opinion.probabilities),
            warnings=(*warnings, *knee.warnings),
            mm_per_pixel=knee.crop.mm_per_pixel,
            model=self.model,
            crop=knee.crop,
            checks=knee.checks,
            maps=ensemble_maps(opinion.outputs, opinion.says),
            alone=tuple(float(p) for p in opinion.probabilities),
            features=tuple(output.features.mean(axis=(1, 2)) for output in opinion.outputs),
        )


def _verdict(probabilities: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The fields of a reading that follow from its ``(5,)`` probabilities."""
    low, high = likely_grades(probabilities)
    return {
        "grade": Grade(int(probabilities.argmax())),
        "probabilities": tuple(float(p) for p in probabilities),
        "certainty": certainty(probabilities),
        "likely": (Grade(low), Grade(high)),
    }
