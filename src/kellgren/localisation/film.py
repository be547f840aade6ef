"""Find and orient the knees of a radiograph that may be graded, each with its checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from kellgren.errors import NotAKneeFilm
from kellgren.grades import Side
from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import KneeCrop, Plane, Region
from kellgren.localisation.border import without_border, without_margins
from kellgren.localisation.candidates import candidates, is_knee
from kellgren.localisation.check import Check
from kellgren.localisation.crop import cut_knee, whole_knee
from kellgren.localisation.knee_detector import Detection, Localiser, is_whole
from kellgren.localisation.laterality import PLACE, agree, check_side, places
from kellgren.localisation.quality import (
    check_exposure,
    check_implant,
    check_inversion,
    check_joints,
    check_knee,
    check_view,
    share_outside,
)

_SURELY_INVERTED = 0.8


@dataclass(frozen=True, slots=True)
class DetectedKnee:
    """One knee of a radiograph, ready to be graded.

    Attributes:
        crop: as the members expect it.
        checks: of the radiograph and of this knee.
        confidence: of the knee detector that a joint is there, 0..1.
    """

    crop: KneeCrop
    checks: tuple[Check, ...]
    confidence: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """The evidence of every check that did not pass, for the reader."""
        return tuple(c.evidence for c in self.checks if c.verdict in ("warning", "refused"))

    @property
    def refusal(self) -> str:
        """The first reason not to grade it, from which later ones follow; empty: there is none."""
        return next((c.evidence for c in self.checks if c.verdict == "refused"), "")


def find_knees(
    radiograph: Radiograph,
    statements: Mapping[str, Side],
    localiser: Localiser,
    *,
    force: bool = False,
) -> list[DetectedKnee]:
    """Find, orient and check every knee that may be graded.

    Args:
        radiograph: of one or two knees, or one that is a knee's crop already.
        statements: the side that each source states.
        localiser: the knee detector.
        force: return what a check refuses too, marked as refused.

    Returns:
        At least one knee, from the film's left to its right. A crop is returned pixel by pixel.

    Raises:
        NotAKneeFilm: a check refuses every knee, and ``force`` is off.
    """
    joints = find_joints(radiograph, statements, localiser)
    knees = [joint for joint in joints if force or not joint.refusal]
    if not knees:
        raise refused_film(radiograph.source, [joint.refusal for joint in joints])
    return knees


def refused_film(source: str, reasons: Iterable[str]) -> NotAKneeFilm:
    """The error of a picture, or of a joint of it, that is not graded; each reason once."""
    return NotAKneeFilm(
        source,
        f"is refused: {'; '.join(dict.fromkeys(reasons))}",
        "Name a frontal film of the knee, or grade it anyway with --force",
    )


def find_joints(
    radiograph: Radiograph, statements: Mapping[str, Side], localiser: Localiser
) -> list[DetectedKnee]:
    """Find, orient and check every joint that may be a knee's, those that are refused too.

    Returns:
        From the film's left to its right; a picture without a joint gives itself, refused.
    """
    film, offset = without_border(radiograph)
    joints = _joints_within(film, statements, localiser)
    if offset is None and all(joint.crop.region is not None for joint in joints):
        bare, margin = without_margins(radiograph)
        again = [] if margin is None else _joints_within(bare, statements, localiser)
        if len(again) == 1 and again[0].crop.region is None and not again[0].refusal:
            film, offset, joints = bare, margin, again
    if offset is None:
        return joints
    whole = Region((film.pixels.shape[1] / 2, film.pixels.shape[0] / 2), max(film.pixels.shape))
    return [
        replace(j, crop=replace(j.crop, region=offset.moved(j.crop.region or whole)))
        for j in joints
    ]


def _joints_within(
    radiograph: Radiograph, statements: Mapping[str, Side], localiser: Localiser
) -> list[DetectedKnee]:
    """The joints of a picture without a border."""
    pixels, detections, inversion = upright_grey(radiograph.pixels, localiser)
    if not detections:
        refused = check_knee(None, localiser)
        side = check_side(statements, None)
        return [
            DetectedKnee(whole_knee(radiograph, agree(statements)), (refused, side, inversion), 0.0)
        ]
    detections = sorted(candidates(detections, localiser), key=lambda d: d.region.centre[0])
    accepted = [d for d in detections if is_knee(d, localiser)]
    sides = dict(zip(map(id, accepted), places([d.region for d in accepted]), strict=True))
    return _together(
        [
            _examine(
                radiograph,
                pixels,
                detection,
                {**statements, PLACE: sides.get(id(detection), Side.UNKNOWN)},
                localiser,
                inversion,
            )
            for detection in detections
        ]
    )


def _together(joints: list[DetectedKnee]) -> list[DetectedKnee]:
    """What each joint means for the others of its picture."""
    accepted = [joint for joint in joints if not joint.refusal]
    check = check_joints(len(accepted), [joint.refusal for joint in joints if joint.refusal])
    sides = Counter(joint.crop.side for joint in accepted)
    twice = {side for side, knees in sides.items() if side is not Side.UNKNOWN and knees > 1}
    together = []
    for joint in joints:
        if not joint.refusal and joint.crop.side in twice:
            joint = _without_side(joint)
        if not joint.refusal and check is not None:
            joint = replace(joint, checks=(*joint.checks, check))
        together.append(joint)
    return together


def _without_side(joint: DetectedKnee) -> DetectedKnee:
    """A knee of which another on the same picture is said to be of the same side."""
    evidence = f"side unknown: two joints of the picture would both be {joint.crop.side.label} ones"
    check = Check("side", "warning", evidence)
    checks = tuple(check if own.name == "side" else own for own in joint.checks)
    return replace(joint, crop=replace(joint.crop, side=Side.UNKNOWN), checks=checks)


def upright_grey(pixels: Plane, localiser: Localiser) -> tuple[Plane, list[Detection], Check]:
    """Grey values with bright bone, the knees detected in them, and the check of inversion.

    Detection runs on the negative too where a knee's bone seems dark, and where no knee is
    detected: on a dark inverted film of low contrast, only the negative shows a knee.
    """
    detections = localiser.find(pixels)
    trusted = _trusted(detections, localiser)
    probability = _inverted(trusted)
    if detections and all(detection.inverted < _SURELY_INVERTED for detection in trusted):
        return pixels, detections, check_inversion(was_inverted=False, probability=probability)
    turned = np.float32(1) - pixels
    again = localiser.find(turned)
    still = _inverted(_trusted(again, localiser))
    if again and still <= _SURELY_INVERTED <= probability:
        return turned, again, check_inversion(was_inverted=True, probability=probability)
    if _shows_knee(again, localiser) and not _shows_knee(detections, localiser):
        return turned, again, check_inversion(was_inverted=True, probability=1 - still)
    if detections and probability < _SURELY_INVERTED:
        return pixels, detections, check_inversion(was_inverted=False, probability=probability)
    return pixels, detections, Check("inversion", "unknown", "bone may be dark or bright")


def _trusted(detections: list[Detection], localiser: Localiser) -> list[Detection]:
    """The confident detections; the two likeliest where none is confident."""
    least = localiser.card.least_confidence
    trusted = [detection for detection in detections if detection.confidence >= least]
    return trusted or detections[:2]


def _inverted(detections: list[Detection]) -> float:
    """Probability that bone is dark, each detection counting by its confidence."""
    weights = [detection.confidence for detection in detections]
    if not sum(weights):
        return 0.0
    return float(np.average([detection.inverted for detection in detections], weights=weights))


def _shows_knee(detections: list[Detection], localiser: Localiser) -> bool:
    """Whether one of them passes the checks of knee and view, with bright bone."""
    return any(
        is_knee(detection, localiser) and detection.inverted <= 1 - _SURELY_INVERTED
        for detection in detections
    )


def _examine(
    radiograph: Radiograph,
    pixels: Plane,
    detection: Detection,
    statements: Mapping[str, Side],
    localiser: Localiser,
    inversion: Check,
) -> DetectedKnee:
    side = check_side(statements, detection.left)
    crop = _crop(radiograph, pixels, detection, agree(statements))
    outside = 0.0 if crop.region is None else share_outside(detection.region, pixels.shape)
    checks = (
        check_knee(detection, localiser),
        side,
        check_view(detection, localiser, share_outside=outside),
        inversion,
        check_exposure(crop.pixels),
        check_implant(crop.pixels),
    )
    return DetectedKnee(crop, checks, detection.confidence)


def _crop(radiograph: Radiograph, pixels: Plane, detection: Detection, side: Side) -> KneeCrop:
    """A crop unchanged but for quarter turns; any other picture is cut."""
    if not is_whole(detection.region, pixels.shape):
        return cut_knee(radiograph, pixels, detection.region, side)
    whole = whole_knee(radiograph, side)
    quarters = round(detection.region.angle / 90) % 4
    turned = np.ascontiguousarray(np.rot90(pixels, quarters))
    region = detection.region if quarters else None
    return KneeCrop(turned, side, whole.mm_per_pixel, region, radiograph.stretch)
