"""The reading of one knee: the record that every interface shows."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

import numpy as np
from pydantic import JsonValue

from kellgren.arrays import Float32Array
from kellgren.atomic_files import replaced_whole, written_whole
from kellgren.errors import InvalidOption
from kellgren.explanation.cam import heat
from kellgren.explanation.overlay import Caption, draw_overlay, draw_refusal, png_bytes
from kellgren.grades import NOT_NAMED, NOTICE, Grade, Side
from kellgren.grading.judgement import GradeSet, right_in, set_name
from kellgren.imaging.evidence import SideStatement
from kellgren.joint_space.measurement import JointSpace
from kellgren.joint_space.telling.placing import corners_of
from kellgren.joint_space.telling.space_record import JointSpaceRecord
from kellgren.joint_space.telling.space_words import space_words
from kellgren.knee import KneeCrop
from kellgren.localisation.check import Check
from kellgren.localisation.film import refused_film
from kellgren.reading_schema import GradedRow, ReadingRecord, UngradedRow
from kellgren.reading_tables import csv_text, json_text

_SAVED = (".png", ".json", ".csv")


@dataclass(frozen=True, eq=False, repr=False)
class KneeReading:
    """The reading of one knee. Readings are compared and hashed by identity.

    A notebook shows the picture and the table of a reading that is the last line of a cell.

    Attributes:
        image: the path as it was given; of another input the file object's name, or ``array``.
        side: of the patient.
        grade: the most probable Kellgren-Lawrence grade.
        probabilities: of the grades 0 to 4: five values in 0..1 that sum to 1, calibrated.
        certainty: ``high``, ``moderate`` or ``low``, from the largest probability; the next lower
            one where `beyond`.
        right_share: share of right grades among the out-of-fold knees of that certainty, 0..1;
            ``None``: not measured.
        grade_set: neighbouring grades that hold the label at the ensemble's level.
        named: whether it is sure enough to name the grade; if not, `grade` is only a candidate.
        doubts: why the grade should not be named; empty where nothing speaks against it.
        warnings: what a reader should know of the file or the side.
        mm_per_pixel: pixel spacing of the crop in millimetres; ``None``: not known.
        model: name, software, checksum, engine, precision, mirror and other_knee of the
            ensemble, as text; local_calibration where the bundle is calibrated to local readers.
        crop: the knee that was graded.
        maps: class-activation map of each grade, ``(5, h, w)`` float32, on the grid of the
            finest member, in the orientation of the crop.
        alone: the five probabilities without the contralateral knee and any local calibration.
        features: each network's last features, averaged over the crop: ``(C,)`` float32 each, in
            the bundle's order; similar knees lie close together in them.
        read_with: image of the contralateral knee, if that was taken into account, or ``None``.
        checks: of the radiograph and the knee, each with its evidence.
        disagreement: of the bundle's members, in nats: mutual information of grade and member;
            ``None``: one member.
        mapping: how the maps were made, as the picture says it.
        side_evidence: all that tells, or might tell, the side: source, value and side of each.
        joint_space: margins and widths of the joint space; ``None``: not asked for.
        beyond: whether its fine detail lies beyond that of the knees that the model was measured
            on, which lowered the word for certainty and widened the set.
    """

    image: str
    side: Side
    grade: Grade
    probabilities: tuple[float, ...]
    certainty: str
    right_share: float | None
    grade_set: GradeSet
    named: bool
    doubts: tuple[str, ...]
    warnings: tuple[str, ...]
    mm_per_pixel: float | None
    model: dict[str, str]
    crop: KneeCrop
    maps: Float32Array
    alone: tuple[float, ...]
    features: tuple[Float32Array, ...]
    read_with: str | None = None
    checks: tuple[Check, ...] = ()
    disagreement: float | None = None
    mapping: str = "class-activation mapping"
    side_evidence: tuple[SideStatement, ...] = ()
    joint_space: JointSpace | None = None
    beyond: bool = False

    @property
    def forced(self) -> bool:
        """Whether a check refused the picture or the knee, and it was graded all the same."""
        return any(check.verdict == "refused" for check in self.checks)

    @property
    def activation(self) -> Float32Array:
        """Class-activation map of the reading's grade, ``(h, w)`` float32."""
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
                "right_share": self.right_share,
                "grade_set": asdict(self.grade_set),
                "named": self.named,
                "doubts": self.doubts,
                "disagreement": None if self.disagreement is None else round(self.disagreement, 6),
                "warnings": self.warnings,
                "mm_per_pixel": self.mm_per_pixel,
                "region": None if self.crop.region is None else self.crop.region.to_dict(),
                "read_with": self.read_with,
                "checks": [check.to_dict() for check in self.checks],
                "side_evidence": [statement.to_dict() for statement in self.side_evidence],
                "joint_space": self._joint_space_record(),
                "model": self.model,
            }
        )

    def _joint_space_record(self) -> JointSpaceRecord | None:
        space = self.joint_space
        return None if space is None else JointSpaceRecord.of(space, self.crop)

    def to_dict(self) -> dict[str, JsonValue]:
        """The reading as plain values for JSON, without pictures."""
        return self.record().model_dump(mode="json")

    def overlay(self, mapped: Grade | None = None, *, joint_space: bool = False) -> bytes:
        """The knee, its class-activation map, grade and probabilities, as a PNG file's bytes.

        Args:
            mapped: the grade whose map is shown, 0..4; ``None``: the grade of the reading.
            joint_space: draw its margins and its narrowest places, where it was measured.
        """
        caption = Caption(
            grade=self.grade,
            side=self.side,
            probabilities=self.probabilities,
            certainty=self.certainty,
            right_share=self.right_share,
            grade_set=self.grade_set,
            named=self.named,
            model=f"{self.model['name']} {self.model['checksum'][:8]}",
            calibrated_to=self.model.get("local_calibration", ""),
            mapped=mapped,
            with_other=self.read_with is not None,
            mapping=self.mapping,
            forced=self.forced,
            doubts=self.doubts,
            beyond=self.beyond,
        )
        pixels = self.crop.pixels
        shape = (int(pixels.shape[0]), int(pixels.shape[1]))
        shown = self.maps[self.grade if mapped is None else mapped]
        space = self.joint_space if joint_space else None
        drawn = None if space is None else (space, corners_of(self.crop))
        return png_bytes(draw_overlay(pixels, heat(shown, shape), caption, drawn))

    def save(self, path: os.PathLike[str] | str, *, overwrite: bool = False) -> None:
        """Write the reading to a file, which appears whole or not at all.

        Args:
            path: its suffix decides: ``.png``, the picture of `overlay`; ``.json``, a document
                with the reading and the model; ``.csv``, a table with one row.
            overwrite: replace a file that exists; never the radiograph itself.

        Raises:
            InvalidOption: another suffix, a file that exists, or the radiograph itself.
            OSError: the file cannot be written there.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in _SAVED:
            raise InvalidOption(
                path, f"has the suffix {suffix!r}", f"Choose one of {', '.join(_SAVED)}"
            )
        if path.exists():
            self._check_replaceable(path, overwrite)
        if suffix == ".png":
            with replaced_whole(path) as temporary:
                temporary.write_bytes(self.overlay())
            return
        row = GradedRow.of(self.record())
        with written_whole(path) as stream:
            stream.write(csv_text([row]) if suffix == ".csv" else json_text([row], row.model))

    def _check_replaceable(self, path: Path, overwrite: bool) -> None:
        if not overwrite:
            raise InvalidOption(
                path, "exists already", "Name a new file, or replace it with overwrite=True"
            )
        if os.path.exists(self.image) and path.samefile(self.image):
            raise InvalidOption(path, "is the radiograph itself", "Name another file")

    def __repr__(self) -> str:
        name = PurePath(self.image).name or self.image
        side = self.side.label if self.side is not Side.UNKNOWN else "side unknown"
        grade = f"grade {int(self.grade)} {self.grade.label}"
        grade = grade if self.named else f"{NOT_NAMED}, most probable {grade}"
        return f"KneeReading({name}, {side}, {grade}, {self.certainty} certainty)"

    def _repr_png_(self) -> bytes:
        return self.overlay()

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.overlay()).decode("ascii")
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self._facts()
        )
        return (
            f'<img src="data:image/png;base64,{picture}" alt="{html.escape(repr(self))}">'
            f"<table>{rows}</table><p>{html.escape(NOTICE)}</p>"
        )

    def _facts(self) -> list[tuple[str, str]]:
        """Names and values of the table in a notebook."""
        sure = f"{self.certainty}{right_in(self.right_share)}"
        facts = [
            ("image", self.image),
            ("side", self.side.label),
            ("grade" if self.named else "most probable", f"{int(self.grade)} {self.grade.label}"),
            *((f"p({g})", f"{p:.3f}") for g, p in enumerate(self.probabilities)),
            ("certainty", sure),
            (set_name(self.grade_set.level), self.grade_set.grades),
        ]
        facts += [(NOT_NAMED if not self.named else "doubt", doubt) for doubt in self.doubts]
        facts += [("warning", warning) for warning in self.warnings]
        if self.joint_space is not None:
            facts += [("joint space", line) for line in space_words(self.joint_space)]
        if self.read_with is not None:
            facts.append(("contralateral knee", self.read_with))
        if "local_calibration" in self.model:
            facts.append(("calibrated to", self.model["local_calibration"]))
        return [*facts, ("model", f"{self.model['name']} {self.model['checksum'][:8]}")]


@dataclass(frozen=True, eq=False, slots=True)
class RefusedJoint:
    """A joint of a radiograph that was found and is not graded.

    Attributes:
        image: as in `KneeReading`.
        reason: the first reason not to grade it.
        crop: the joint with its side, as far as that is known, and its place.
        checks: of the radiograph and the joint, each with its evidence.
    """

    image: str
    reason: str
    crop: KneeCrop
    checks: tuple[Check, ...]

    def record(self) -> UngradedRow:
        """The row that stands for it in tables and documents."""
        return UngradedRow.model_validate(
            {
                "image": self.image,
                "side": self.crop.side.value,
                "grade": None,
                "note": refused_film(self.image, [self.reason]).reason,
                "region": None if self.crop.region is None else self.crop.region.to_dict(),
                "checks": [check.to_dict() for check in self.checks],
            }
        )

    def overlay(self) -> bytes:
        """The joint and the reason, as a PNG file's bytes."""
        return png_bytes(draw_refusal(self.crop.pixels, self.crop.side, self.reason))


class FilmReadings(list[KneeReading]):
    """The readings of one radiograph, from its left to its right, and what was refused on it.

    Attributes:
        refused: joints that were found and are not graded, from the left to the right.
    """

    def __init__(
        self, readings: Iterable[KneeReading] = (), refused: Iterable[RefusedJoint] = ()
    ) -> None:
        super().__init__(readings)
        self.refused = tuple(refused)

    def __repr__(self) -> str:
        refused = "".join(f", refused: {joint.reason}" for joint in self.refused)
        return super().__repr__() + refused
