"""The joint space in the structured report: coded measurements and their margins, a group a knee.

Groups of TID 1501: measurements inside a region's group (TID 1410) may not have coordinates of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from highdicom import UID, sr
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from kellgren.grades import Side
from kellgren.joint_space.measurement import Compartment, JointSpace, Margin, Measure, Point
from kellgren.knee import Stretch
from kellgren.output.dicom import vocabulary
from kellgren.output.dicom.common import Polygon, UidScope
from kellgren.output.dicom.source import Source
from kellgren.reading import KneeReading

LATERALITY = {Side.LEFT: codes.SCT.Left, Side.RIGHT: codes.SCT.Right, Side.UNKNOWN: None}
_PLACES = {
    "medial": codes.SCT.Medial,
    "lateral": codes.SCT.Lateral,
    "left": vocabulary.PICTURE_LEFT,
    "right": vocabulary.PICTURE_RIGHT,
}
_DIGITS = {"mm": 3, "{ratio}": 5, "deg": 2}


@dataclass(frozen=True, slots=True)
class MeasuredKnee:
    """What the group of one knee is made of.

    Attributes:
        space: that was measured.
        side: of the knee.
        stretch: of the pixels that the points count in, against the file's.
        software: that measured: its name and version.
        uid: of the group, for tracking.
        number: of the knee in the report, from 1.
        picture: that the points lie in.
        least: column and row of the upper left corner of what the points may lie in.
        most: likewise, of the lower right one.
    """

    space: JointSpace
    side: Side
    stretch: Stretch
    software: str
    uid: UID
    number: int
    picture: sr.SourceImageForRegion
    least: Point
    most: Point


def measured_knee(
    reading: KneeReading, source: Source, scope: UidScope, number: int
) -> MeasuredKnee | None:
    """What the group of a reading is made of; ``None``: its joint space was not measured.

    Args:
        reading: of the knee.
        source: the picture.
        scope: of the report's identifiers.
        number: of the knee in the report, from 1.
    """
    if reading.joint_space is None:
        return None
    picture = sr.SourceImageForRegion(
        referenced_sop_class_uid=source.reference.SOPClassUID,
        referenced_sop_instance_uid=source.reference.SOPInstanceUID,
        referenced_frame_numbers=None if source.frame is None else [source.frame],
    )
    return MeasuredKnee(
        *(reading.joint_space, reading.side, reading.crop.stretch, reading.model["software"]),
        *(scope.uid("joint space", number), number, picture),
        *((0.0, 0.0), (float(source.columns), float(source.rows))),
    )


def group_name(number: int) -> str:
    """The tracking identifier of a knee's group."""
    return f"Knee {number} joint space"


def joint_space_group(knee: MeasuredKnee) -> sr.MeasurementsAndQualitativeEvaluations:
    """TID 1501: widths with their uncertainty, margins and the narrowest place."""
    site = sr.FindingSite(codes.SCT.KneeJoint, laterality=LATERALITY[knee.side])
    name, _, version = knee.software.partition(" ")
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=knee.uid, identifier=group_name(knee.number)),
        finding_type=codes.SCT.KneeJoint,
        finding_sites=[site],
        algorithm_id=sr.AlgorithmIdentification(
            name=f"{name} joint space", version=version, family=codes.DCM.EdgeDetection
        ),
        measurements=list(_measurements(knee)),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(vocabulary.STATUS, vocabulary.RESEARCH),
            sr.QualitativeEvaluation(
                vocabulary.MARGINS,
                vocabulary.CORRECTED if knee.space.corrected else vocabulary.FOUND,
            ),
        ],
    )
    for words in _remarks(knee.space):
        remark = sr.TextContentItem(codes.DCM.Comment, words, sr.RelationshipTypeValues.CONTAINS)
        group[0].ContentSequence.append(remark)
    return group


def _remarks(space: JointSpace) -> Iterator[str]:
    """Why something was not measured, and where the millimetres come from or why there are none."""
    for compartment in space.compartments:
        if compartment.note:
            yield f"{compartment.name}: {compartment.note}"
    yield space.spacing


def _measurements(knee: MeasuredKnee) -> Iterator[sr.Measurement]:
    space = knee.space
    for compartment in space.compartments:
        yield from _widths(knee, compartment)
    if space.difference is not None:
        is_sided = space.medial is not None
        name = vocabulary.LATERAL_LESS_MEDIAL if is_sided else vocabulary.RIGHT_LESS_LEFT
        for value, spread, unit in _values(space.difference):
            yield _measurement(name, value, spread, unit)
    if space.convergence_angle is not None:
        yield _measurement(
            vocabulary.CONVERGENCE_ANGLE,
            *(space.convergence_angle, space.convergence_uncertainty, codes.UCUM.Degree),
        )
    if space.condylar_width_mm is not None:
        relative, width = space.condylar_uncertainty, space.condylar_width_mm
        spread = None if relative is None else relative * width
        yield _measurement(vocabulary.CONDYLAR_WIDTH, width, spread, codes.UCUM.Millimeter)


def _widths(knee: MeasuredKnee, compartment: Compartment) -> Iterator[sr.Measurement]:
    """Minimum and mean of a compartment: the one with its ends, the other with the margins."""
    site = sr.FindingSite(
        codes.SCT.KneeJoint,
        laterality=LATERALITY[knee.side],
        topographical_modifier=_PLACES[compartment.name],
    )
    margins = (
        (vocabulary.FEMUR_MARGIN, compartment.femur),
        (vocabulary.TIBIA_MARGIN, compartment.tibia),
    )
    ends = compartment.narrowest
    drawn = [_line(name, part, knee) for name, margin in margins for part in _shown(margin)]
    shortest = [] if ends is None else [_line(vocabulary.NARROWEST, ends, knee)]
    for measure, derivation, places in (
        (compartment.minimum, codes.SCT.Minimum, shortest),
        (compartment.mean, codes.SCT.Mean, drawn),
    ):
        if measure is not None:
            for value, spread, unit in _values(measure):
                yield _measurement(
                    *(vocabulary.JOINT_SPACE_WIDTH, value, spread, unit),
                    derivation=derivation,
                    sites=[site],
                    coordinates=places,
                )


def _values(measure: Measure) -> Iterator[tuple[float, float | None, Code]]:
    """The length as ratio, and in millimetres where these are trusted, each with its unit."""
    yield measure.ratio, measure.ratio_uncertainty, codes.UCUM.Ratio
    if measure.mm is not None:
        yield measure.mm, measure.mm_uncertainty, codes.UCUM.Millimeter


def _measurement(
    name: sr.CodedConcept,
    value: float,
    spread: float | None,
    unit: Code,
    *,
    derivation: Code | None = None,
    sites: Sequence[sr.FindingSite] | None = None,
    coordinates: Sequence[sr.CoordinatesForMeasurement] = (),
) -> sr.Measurement:
    """TID 300; the uncertainty, of TID 310, has the unit of the value."""
    digits = _DIGITS[unit.value]
    made = sr.Measurement(
        name=name,
        value=round(value, digits),
        unit=unit,
        derivation=derivation,
        finding_sites=sites,
        referenced_coordinates=coordinates,
    )
    if spread is not None:
        uncertainty = sr.NumContentItem(
            name=vocabulary.UNCERTAINTY,
            value=round(spread, digits),
            unit=unit,
            relationship_type=sr.RelationshipTypeValues.HAS_PROPERTIES,
        )
        item = made[0]
        content = list(item.get("ContentSequence", []))
        first = next(
            (n for n, one in enumerate(content) if one.ValueType == "SCOORD"), len(content)
        )
        item.ContentSequence = sr.ContentSequence([*content[:first], uncertainty, *content[first:]])
    return made


def _shown(margin: Margin) -> Iterator[Sequence[Point]]:
    """The stretches of a margin that the picture shows, each of two points at least."""
    pairs = zip(margin.points, margin.told, strict=True)
    for is_told, run in groupby(pairs, key=lambda pair: pair[1]):
        points = [point for point, _ in run]
        if is_told and len(points) > 1:
            yield points


def _line(
    purpose: sr.CodedConcept, points: Sequence[Point], knee: MeasuredKnee
) -> sr.CoordinatesForMeasurement:
    """A polyline in columns and rows of the file's picture, kept within its borders."""
    placed = np.asarray(points, dtype=np.float64) / (knee.stretch.x, knee.stretch.y)
    within: Polygon = placed.clip(knee.least, knee.most).astype(np.float32)
    return sr.CoordinatesForMeasurement("POLYLINE", within, deepcopy(knee.picture), purpose)
