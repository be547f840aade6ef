"""From a radiograph to the readings of its knees, in one call."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Self

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.explanation.cam import SMOOTHING_FACTORS, MapStyle, ensemble_maps
from kellgren.file_names import patient_and_side
from kellgren.grades import Side
from kellgren.grading.bundle import Bundle, default_bundle, fast_bundle, open_bundle
from kellgren.grading.engines.engine_settings import Device, Engine, EngineSettings, Precision
from kellgren.grading.grade_sets import DEFAULT_LEVEL
from kellgren.grading.judgement import Judge
from kellgren.grading.panel import Panel, PanelOutput
from kellgren.imaging.integrity.fine_detail import fine_detail
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.imaging.radiograph_input import RadiographInput
from kellgren.joint_space.measure_knee import measure
from kellgren.knee import KneeCrop
from kellgren.localisation.film import DetectedKnee, find_joints, refused_film
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.laterality import side_statements
from kellgren.localisation.picture_checks import film_warnings
from kellgren.reading import FilmReadings, KneeReading, RefusedJoint


class Ensemble:
    """A bundle that reads radiographs. Threads may share one.

    Args:
        bundle: already checked.
        engine: ``"onnxruntime"``, or ``"openvino"`` where it is installed.
        precision: ``"fp32"``, or ``"bf16"`` with openvino; recorded in every reading.
        device: ``"cpu"``, or ``"cuda"`` with onnxruntime in its build for NVIDIA GPUs.
        threads: of the engine, for one knee; 0 leaves the choice to it.
        workers: threads that read at a time; openvino serves no more of them side by side.
        mirror: average over the knee and its mirror image; ``None``: as the bundle's card has it.
        pair: take the patient's contralateral knee into account, where it is shown and the
            bundle's card has a model for it.
        frame: which one to read, from 1, of DICOM files that hold several.
        smooth_maps: average the maps over six looks at the knee, see `MapStyle`; slower.
        grad_cam_maps: Grad-CAM before the last activation where a network has it so.
        level: of the grade sets: share of labels that they are to hold, one that the bundle's
            card was fitted for.
        always_grade: name a grade whatever the doubts; each reading states them all the same.
        joint_space: measure the width of each graded knee's joint space.

    Attributes:
        bundle: what was opened.
        model: name, checksum, engine, precision, device, mirroring, and the data of a local
            calibration, as every reading records them.
        measures_joint_space: whether its readings have widths of the joint space.

    Raises:
        InvalidOption: an engine, precision, device, number or level that there is not here.
        MissingExtra: openvino or cuda is chosen and not there, or bf16 without openvino.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: Engine = "onnxruntime",
        precision: Precision = "fp32",
        device: Device = "cpu",
        threads: int = 0,
        workers: int = 1,
        mirror: bool | None = None,
        pair: bool = True,
        frame: int | None = None,
        smooth_maps: bool = False,
        grad_cam_maps: bool = False,
        level: float = DEFAULT_LEVEL,
        always_grade: bool = False,
        joint_space: bool = True,
    ) -> None:
        self.bundle = bundle
        self.both_knees = bundle.card.both_knees if pair else None
        self._frame, self.measures_joint_space = frame, joint_space
        self._map_style = MapStyle(smooth_maps, grad_cam_maps)
        self._judge = Judge(bundle.card, level=level, always_grade=always_grade)
        settings = EngineSettings(engine, precision, device, threads, workers)
        self.panel = Panel(bundle, settings, mirror=mirror)
        self.localiser = Localiser()
        self.model = {
            **self.panel.record,
            "software": f"kellgren {version('kellgren')}",
            "other_knee": "off" if self.both_knees is None else "used",
            "level": f"{level:g}",
            "naming": "always" if always_grade else "when sure",
            "scale": "OAI" if "Osteoarthritis Initiative" in bundle.card.scale else "not stated",
        }
        if bundle.card.local_calibration is not None:
            self.model["local_calibration"] = bundle.card.local_calibration.words

    def __repr__(self) -> str:
        return f"Ensemble({self.model['name']} {self.bundle.checksum[:8]})"

    @classmethod
    def default(
        cls,
        *,
        fast: bool = False,
        engine: Engine = "onnxruntime",
        precision: Precision = "fp32",
        device: Device = "cpu",
        threads: int = 0,
        workers: int = 1,
        mirror: bool | None = None,
        pair: bool = True,
        frame: int | None = None,
        smooth_maps: bool = False,
        grad_cam_maps: bool = False,
        level: float = DEFAULT_LEVEL,
        always_grade: bool = False,
        joint_space: bool = True,
    ) -> Self:
        """Open the package's bundle, with ``fast`` the small one for triage; else as `open`."""
        return cls.open(
            fast_bundle() if fast else default_bundle(),
            engine=engine,
            precision=precision,
            device=device,
            threads=threads,
            workers=workers,
            mirror=mirror,
            pair=pair,
            frame=frame,
            smooth_maps=smooth_maps,
            grad_cam_maps=grad_cam_maps,
            level=level,
            always_grade=always_grade,
            joint_space=joint_space,
        )

    @classmethod
    def open(
        cls,
        folder: os.PathLike[str] | str,
        *,
        engine: Engine = "onnxruntime",
        precision: Precision = "fp32",
        device: Device = "cpu",
        threads: int = 0,
        workers: int = 1,
        mirror: bool | None = None,
        pair: bool = True,
        frame: int | None = None,
        smooth_maps: bool = False,
        grad_cam_maps: bool = False,
        level: float = DEFAULT_LEVEL,
        always_grade: bool = False,
        joint_space: bool = True,
    ) -> Self:
        """Open a bundle of your own; `folder` is where it lies, the rest as of `Ensemble`.

        Raises:
            BundleError: it is missing, damaged, incomplete, or in a newer format.
            InvalidOption: an engine, precision, device, number or level that there is not here.
            MissingExtra: openvino or cuda is chosen and not there, or bf16 without openvino.
        """
        return cls(
            open_bundle(Path(folder)),
            engine=engine,
            precision=precision,
            device=device,
            threads=threads,
            workers=workers,
            mirror=mirror,
            pair=pair,
            frame=frame,
            smooth_maps=smooth_maps,
            grad_cam_maps=grad_cam_maps,
            level=level,
            always_grade=always_grade,
            joint_space=joint_space,
        )

    def read(
        self,
        source: RadiographInput,
        side: Side | str | None = None,
        *,
        mm_per_pixel: float | None = None,
        inverted: bool = False,
        frame: int | None = None,
        force: bool = False,
    ) -> FilmReadings:
        """Grade every knee of a radiograph.

        Args:
            source: path of a PNG, JPEG, TIFF or DICOM file of one knee or both; such a file open
                in binary mode, read from its position to its end and left open; the bytes of such
                a file; or a NumPy array ``(H, W)`` of grey values: uint8, uint16, or floating
                point in 0..1.
            side: of the knee: ``Side``, ``"L"``, ``"R"``, ``"left"`` or ``"right"``; ``None``
                where it is not known, or stated by the file.
            mm_per_pixel: pixel spacing in millimetres, 0.01 to 5, in place of the file's.
            inverted: bone is dark in the array or picture.
            frame: which one to read, from 1, of a DICOM file that holds several; ``None``: the
                one that the ensemble was made with.
            force: grade a picture that a check refuses too; the readings' checks state it.

        Returns:
            One reading a knee, from the left of the picture to its right: a list, whose
            ``refused`` holds the joints that were found and are not graded.

        Raises:
            InvalidOption: a side, spacing or frame that cannot be.
            UnreadableRadiograph: the file or array cannot be read.
            NotAKneeFilm: it shows no knee that may be graded.
        """
        film = self.read_film(
            source, side, mm_per_pixel=mm_per_pixel, inverted=inverted, frame=frame, force=force
        )
        if not film:
            raise refused_film(film.refused[0].image, [joint.reason for joint in film.refused])
        return film

    def read_film(
        self,
        source: RadiographInput,
        side: Side | str | None = None,
        *,
        mm_per_pixel: float | None = None,
        inverted: bool = False,
        frame: int | None = None,
        force: bool = False,
    ) -> FilmReadings:
        """The same as `read`, without an error where every joint is refused.

        Returns:
            The readings and the refused joints; at least one of both.

        Raises:
            InvalidOption: a side, spacing or frame that cannot be.
            UnreadableRadiograph: the file or array cannot be read.
        """
        given = Side.of(side)
        shown = self._frame if frame is None else frame
        radiograph = read_radiograph(source, shown, mm_per_pixel=mm_per_pixel, inverted=inverted)
        name = radiograph.source
        statements = side_statements(radiograph.header.sides, patient_and_side(name)[1], given)
        readings, refused = [], []
        for joint in find_joints(radiograph, statements, self.localiser):
            if joint.refusal and not force:
                refused.append(RefusedJoint(name, joint.refusal, joint.crop, joint.checks))
                continue
            readings.append(self._reading(joint, radiograph))
        both = self.together(*readings) if len(readings) == 2 else readings
        return FilmReadings(both, refused)

    def together(self, one: KneeReading, other: KneeReading) -> tuple[KneeReading, KneeReading]:
        """Combine the readings of a patient's two knees, each taking the other into account.

        Args:
            one: reading of one knee, made by this ensemble.
            other: reading of the contralateral knee.

        Returns:
            Both in the order given; unchanged where the bundle has no model for the contralateral
            knee, and where the readings are not of a left and a right knee.
        """
        if self.both_knees is None or {one.side, other.side} != {Side.LEFT, Side.RIGHT}:
            return one, other
        return self._with_other(one, other), self._with_other(other, one)

    def _with_other(self, own: KneeReading, other: KneeReading) -> KneeReading:
        assert self.both_knees is not None
        combined = self.both_knees.combine(np.asarray(own.alone), np.asarray(other.alone))
        judged = self._judge.of(
            combined, own.disagreement, refused=own.forced, paired=True, beyond=own.beyond
        )
        return replace(own, read_with=other.image, **judged.facts)

    def _reading(self, knee: DetectedKnee, radiograph: Radiograph) -> KneeReading:
        panel = self.panel.examine(knee.crop)
        is_measured = self.bundle.card.detail is not None
        beyond = self._judge.beyond(fine_detail(knee.crop.pixels)) if is_measured else ()
        judged = self._judge.of(
            panel.probabilities,
            panel.disagreement,
            refused=bool(knee.refusal),
            beyond=bool(beyond),
        )
        return KneeReading(
            image=radiograph.source,
            side=knee.crop.side,
            **judged.facts,
            disagreement=panel.disagreement,
            warnings=(*film_warnings(radiograph.warnings, knee.checks), *knee.warnings, *beyond),
            beyond=bool(beyond),
            mm_per_pixel=knee.crop.mm_per_pixel,
            model=self.model,
            crop=knee.crop,
            checks=knee.checks,
            side_evidence=knee.side_evidence,
            maps=self._maps(knee.crop, panel),
            mapping=str(self._map_style),
            alone=tuple(float(p) for p in panel.probabilities),
            features=tuple(output.features.mean(axis=(1, 2)) for output in panel.outputs),
            joint_space=measure(knee.crop, radiograph.spacing, mirrored=knee.mirrored)
            if self.measures_joint_space
            else None,
        )

    def _maps(self, crop: KneeCrop, panel: PanelOutput) -> Float32Array:
        """``(5, h, w)`` the maps of the grades, in the style that was asked for."""
        outputs = panel.outputs
        if self._map_style.smooth:
            outputs = self.panel.outputs(crop, mirror=True, factors=SMOOTHING_FACTORS)
        return ensemble_maps(outputs, panel.map_weights, grad_cam=self._map_style.grad_cam)
