"""Which detections on a picture are joints that have to be accounted for."""

from __future__ import annotations

from kellgren.localisation.knee_detector import CANDIDATE, Detection, Localiser

_ALIKE = 2.0  # ratio of widths up to which an uncertain joint may be the other knee of a film


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
