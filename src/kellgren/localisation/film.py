"""Find and orient the knees of a radiograph that may be graded, each with its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kellgren.errors import NotAKneeFilm
from kellgren.grades import Side
from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import KneeCrop, Plane
from kellgren.localisation.check import Check
from kellgren.localisation.crop import cut_knee, whole_knee
from kellgren.localisation.knee_detector import Detection, Localiser, is_whole
from kellgren.localisation.laterality import PLACE, agree, check_side, places
from kellgren.localisation.picture_checks import check_certainty, check_colour, gate_checks
from kellgren.localisation.quality import (
    check_exposure,
    check_inversion,
    check_knee,
    check_view,
    is_turned,
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


def find_knees(
    radiograph: Radiograph,
    statements: Mapping[str, Side],
    localiser: Localiser,
    *,
    force: bool = False,
) -> list[DetectedKnee]:
    """Find, orient and check every knee.

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
    pixels, detections, inversion = upright_grey(radiograph.pixels, localiser)
    if not detections:
        refused = check_knee(None, localiser)
        if not force:
            raise _refusal(radiograph, [(refused,)])
        side = check_side(statements, None)
        return [
            DetectedKnee(whole_knee(radiograph, agree(statements)), (refused, side, inversion), 0.0)
        ]
    detections.sort(key=lambda detection: detection.region.centre[0])
    sides = places([detection.region for detection in detections])
    located = [
        _examine(radiograph, pixels, detection, {**statements, PLACE: side}, localiser, inversion)
        for detection, side in zip(detections, sides, strict=True)
    ]
    passed = [knee for knee in located if all(c.verdict != "refused" for c in knee.checks)]
    if passed or force:
        return passed or located
    raise _refusal(radiograph, [knee.checks for knee in located])


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
    """The confident detections; all of them where none is confident."""
    least = localiser.card.least_confidence
    return [detection for detection in detections if detection.confidence >= least] or detections


def _inverted(detections: list[Detection]) -> float:
    """Probability that bone is dark, each detection counting by its confidence."""
    weights = [detection.confidence for detection in detections]
    if not sum(weights):
        return 0.0
    return float(np.average([detection.inverted for detection in detections], weights=weights))


def _shows_knee(detections: list[Detection], localiser: Localiser) -> bool:
    """Whether one of them passes the checks of knee and view, with bright bone."""
    return any(
        detection.confidence >= localiser.card.least_confidence
        and localiser.distance(detection) <= localiser.card.most_distance
        and detection.inverted <= 1 - _SURELY_INVERTED
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
    corrected = inversion.verdict == "warning" or is_turned(detection.region)
    view = check_view(detection, localiser, share_outside=outside)
    checks = (
        check_knee(detection, localiser),
        side,
        check_certainty(view, detection.confidence) if corrected else view,
        inversion,
        check_exposure(crop.pixels),
        check_colour(radiograph.colours),
        *gate_checks(crop.pixels, corrected=corrected),
    )
    return DetectedKnee(crop, checks, detection.confidence)


def _crop(radiograph: Radiograph, pixels: Plane, detection: Detection, side: Side) -> KneeCrop:
    """A crop unchanged but for quarter turns; any other picture is cut."""
    if not is_whole(detection.region, pixels.shape):
        return cut_knee(radiograph, pixels, detection.region, side)
    whole = whole_knee(radiograph, side)
    quarters = round(detection.region.angle / 90) % 4
    turned = np.ascontiguousarray(np.rot90(pixels, quarters))
    return KneeCrop(turned, side, whole.mm_per_pixel, detection.region if quarters else None)


def _refusal(radiograph: Radiograph, knees: Sequence[Sequence[Check]]) -> NotAKneeFilm:
    """Each knee's first reason; later ones follow from it."""
    refused = [[c.evidence for c in checks if c.verdict == "refused"] for checks in knees]
    reasons = dict.fromkeys(evidence[0] for evidence in refused if evidence)
    return NotAKneeFilm(
        radiograph.source,
        f"is refused: {'; '.join(reasons)}",
        "Name a frontal film of the knee, or grade it anyway with --force",
    )
