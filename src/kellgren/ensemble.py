"""The whole way in one call: a file in, a reading of each knee in it out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from kellgren import __version__
from kellgren.explanation.cam import ensemble_maps
from kellgren.file_names import patient_and_side
from kellgren.grades import Grade, Side
from kellgren.grading.bundle import Bundle, default_bundle, open_bundle
from kellgren.grading.calibration import certainty, likely_grades
from kellgren.grading.panel import Panel, PanelOutput
from kellgren.grading.runtime import Engine, Precision
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.film import FoundKnee, find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.laterality import claims
from kellgren.reading import KneeReading


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
        self, image: str, knee: FoundKnee, opinion: PanelOutput, warnings: tuple[str, ...]
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
            maps=ensemble_maps(opinion.outputs, opinion.map_weights),
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
