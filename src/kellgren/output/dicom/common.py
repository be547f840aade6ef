"""What all objects of an answer share: equipment, patient, study and identifiers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import highdicom
import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from kellgren.exchange.own_output import MANUFACTURER as MANUFACTURER
from kellgren.grades import Side
from kellgren.grading.judgement import set_name
from kellgren.knee import KneeCrop
from kellgren.output.dicom.source import Source
from kellgren.output.dicom.vocabulary import unique_id
from kellgren.reading import KneeReading

MODEL_NAME = "kellgren (research software)"
SIDE_LETTERS = {Side.LEFT: "L", Side.RIGHT: "R", Side.UNKNOWN: ""}
# Series numbers are for people: far above those of the examination itself.
SERIES_NUMBERS = {"report": 9001, "picture": 9011, "map": 9002, "presentation": 9003}
_CONTRAST = (
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
)
Polygon = npt.NDArray[np.float32]


class SeriesAttributes(TypedDict):
    """Arguments of highdicom's constructors that name an object and its series."""

    series_instance_uid: highdicom.UID
    series_number: int
    sop_instance_uid: highdicom.UID
    instance_number: int
    series_description: str
    content_qualification: str
    manufacturer: str


class EquipmentAttributes(TypedDict):
    """Arguments of highdicom's constructors that name the software that graded."""

    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str


@dataclass(frozen=True, slots=True)
class UidScope:
    """What the identifiers of an answer follow from: source picture, sides and model.

    A picture that is sent twice, or graded again after a crash, yields the same objects and no
    duplicates. Another model, engine or version of the software, or another side, yields others.
    """

    parts: tuple[str, ...]

    def uid(self, kind: str, number: int = 1) -> highdicom.UID:
        """Of one object, or of its series."""
        return unique_id(kind, str(number), *self.parts)


def uid_scope(readings: Sequence[KneeReading], source: Source) -> UidScope:
    """What the identifiers of the answer to one picture follow from."""
    sides = ",".join(SIDE_LETTERS[reading.side] for reading in readings)
    model = json.dumps(readings[0].model, sort_keys=True)
    return UidScope((*_picture(source), sides, model, *_joint_spaces(readings)))


def _joint_spaces(readings: Sequence[KneeReading]) -> list[str]:
    """Whether joint spaces were measured, and the margins that a person corrected.

    Not the numbers: another processor may round them otherwise.
    """
    spaces = [reading.joint_space for reading in readings]
    if not any(spaces):
        return []
    corrected = [
        [*margin.to_dict()["points"]]
        for space in spaces
        for compartment in ([] if space is None else space.compartments)
        for margin in (compartment.femur, compartment.tibia)
        if margin.corrected
    ]
    return ["joint space", *([json.dumps(corrected)] if corrected else [])]


def uid_scope_of_refusal(model: Mapping[str, str], source: Source) -> UidScope:
    """What the identifiers of a refusal follow from: it has no knees."""
    described = json.dumps(model, sort_keys=True)
    return UidScope((*_picture(source), "refused", described))


def _picture(source: Source) -> tuple[str, ...]:
    return str(source.reference.SOPInstanceUID), str(source.frame or 1), source.content


def without_patient(source: Source) -> Dataset:
    """The source's header for highdicom, without the patient: no message can name one."""
    header = Dataset()
    header.update(source.reference)
    for element in source.identity:
        if element.keyword not in ("StudyInstanceUID", "SpecificCharacterSet"):
            header.add_new(element.tag, element.VR, "")
    header.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _CONTRAST:  # copied by `presentation.py` instead
        header.pop(keyword, None)
    header.SamplesPerPixel = 1
    header.StudyInstanceUID = source.identity.StudyInstanceUID
    header.setdefault("Modality", "DX")
    return header


def series_attributes(scope: UidScope, kind: str, number: int = 1) -> SeriesAttributes:
    """Identifiers of one object and its series, as arguments of highdicom's constructors."""
    return {
        "series_instance_uid": scope.uid(f"{kind} series", number),
        "series_number": SERIES_NUMBERS[kind] + number - 1,
        "sop_instance_uid": scope.uid(kind, number),
        "instance_number": 1,
        "series_description": f"kellgren {kind}: research, not for diagnosis",
        "content_qualification": "RESEARCH",
        "manufacturer": MANUFACTURER,
    }


def equipment_attributes(reading: KneeReading) -> EquipmentAttributes:
    """The software that graded, as arguments of highdicom's constructors."""
    return software_attributes(reading.model)


def software_attributes(model: Mapping[str, str]) -> EquipmentAttributes:
    """The software with the model that it opened, likewise."""
    return {
        "manufacturer_model_name": MODEL_NAME,
        "software_versions": model["software"],
        "device_serial_number": model["checksum"],
    }


def with_patient(made: Dataset, source: Source, readings: Sequence[KneeReading]) -> Dataset:
    """Copy the elements of patient, study and knees into an object of an anonymised source."""
    made.update(source.identity)
    sides = {SIDE_LETTERS[reading.side] for reading in readings}
    if made.Modality in ("OT", "PR"):  # reports and segments have it for each knee
        made.BodyPartExamined = "KNEE"
        # Of the whole series: empty where it shows both knees, or one whose side is unknown.
        made.Laterality = sides.pop() if len(sides) == 1 else ""
    return made


def outline(crop: KneeCrop, source: Source) -> Polygon:
    """A knee's box in the file's picture, ``(N, 2)`` of column and row, closed, cut at the borders.

    The origin is the outer corner of the first pixel, as in DICOM's spatial coordinates.
    """
    width, height = float(source.columns), float(source.rows)
    whole = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    (across, down), read = crop.stretch, () if crop.region is None else crop.region.corners()
    corners = [(x / across, y / down) for x, y in read] or list(whole)
    for axis, limit, sign in ((0, 0.0, 1), (0, width, -1), (1, 0.0, 1), (1, height, -1)):
        corners = list(_clipped(corners, axis, limit, sign))
    corners = corners or list(whole)
    return np.asarray([*corners, corners[0]], dtype=np.float32)


def _clipped(
    corners: Sequence[tuple[float, float]], axis: int, limit: float, sign: int
) -> Iterator[tuple[float, float]]:
    """The part of a convex polygon on one side of a border, by Sutherland and Hodgman 1974."""
    for before, corner in zip([*corners[-1:], *corners[:-1]], corners, strict=True):
        was, now = (sign * (point[axis] - limit) for point in (before, corner))
        if was * now < 0:
            share = was / (was - now)
            x, y = (a + share * (b - a) for a, b in zip(before, corner, strict=True))
            yield (limit, y) if axis == 0 else (x, limit)
        if now >= 0:
            yield corner


def summary_line(reading: KneeReading) -> str:
    """The reading in one line, for text on pictures."""
    held = f"{set_name(reading.grade_set.level)} {reading.grade_set.grades}"
    share = reading.probabilities[reading.grade]
    side = SIDE_LETTERS[reading.side] or "side unknown"
    grade = f"KL {int(reading.grade)} {reading.grade.label} ({share:.0%})"
    grade = grade if reading.named else f"no grade named, most probable {grade}"
    return f"{side}: {grade}, {held}"
