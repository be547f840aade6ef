"""A picture with bright bone, and the joints detected on it that have to be accounted for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import Plane
from kellgren.localisation.check import Check
from kellgren.localisation.knee_detector import CANDIDATE, Detection, Localiser, is_whole
from kellgren.localisation.labels import without_labels
from kellgren.localisation.quality import check_inversion, is_turned

_ALIKE = 2.0  # ratio of widths up to which an uncertain joint may be the other knee of a film
_SURELY_INVERTED = 0.8


class ShownJoints(NamedTuple):
    """What a picture shows, before any of it is judged.

    Attributes:
        pixels: ``(H, W)`` 0..1 of the picture, bone bright, labels filled.
        detections: joints to account for, from the picture's left to its right; may be none.
        inversion: the check of it.
    """

    pixels: Plane
    detections: list[Detection]
    inversion: Check


def shown_joints(radiograph: Radiograph, localiser: Localiser) -> ShownJoints:
    """Detect the joints of a picture, as it is or as its negative."""
    pixels, detections, inversion = upright_grey(without_labels(radiograph), localiser)
    if detections:
        detections = candidates(detections, localiser)
    return ShownJoints(pixels, sorted(detections, key=lambda d: d.region.centre[0]), inversion)


def is_uncut(detection: Detection, shape: tuple[int, ...]) -> bool:
    """Whether the picture is this knee's crop already, upright, and is graded as it is."""
    return is_whole(detection.region, shape) and not is_turned(detection.region)


def candidates(detections: list[Detection], localiser: Localiser) -> list[Detection]:
    """The detections to account for: knees, and what may be the other knee of a film with one.

    A picture on which nothing is a knee is refused as a whole: its most certain detection stands
    for it.

    Args:
        detections: at least one, the most certain first.
        localiser: that made them.
    """
    first, least = detections[0], localiser.card.least_confidence
    if first.confidence < least:
        return [first]
    return [
        detection
        for detection in detections
        if detection.confidence >= least
        or (
            detection.confidence >= CANDIDATE
            and 1 / _ALIKE <= detection.region.width / first.region.width <= _ALIKE
        )
    ]


def is_knee(detection: Detection, localiser: Localiser) -> bool:
    """Whether it passes the checks of knee and view."""
    return (
        detection.confidence >= localiser.card.least_confidence
        and localiser.distance(detection) <= localiser.card.most_distance
    )


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
