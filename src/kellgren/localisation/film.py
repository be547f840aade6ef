"""From a radiograph to the knees that may be graded: found, oriented, each with its checks."""

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
from kellgren.localisation.knee_detector import Finding, Localiser, is_whole
from kellgren.localisation.laterality import PLACE, agree, check_side, places
from kellgren.localisation.quality import (
    check_exposure,
    check_implant,
    check_inversion,
    check_knee,
    check_view,
    share_outside,
)

_SURELY_INVERTED = 0.8


@dataclass(frozen=True, slots=True)
class FoundKnee:
    """One knee of a radiograph, ready to be graded.

    Attributes:
        crop: as the members expect it.
        checks: what was asked of it.
        confidence: of the localiser that a joint is there, 0..1.
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
    said: Mapping[str, Side],
    localiser: Localiser,
    *,
    force: bool = False,
) -> list[FoundKnee]:
    """Find, orient and check every knee.

    Args:
        radiograph: of one or two knees, or one that is a knee's crop already.
        said: what is known of the side, by source.
        localiser: finds.
        force: let through what a gate refuses, marked as refused.

    Returns:
        At least one knee, from the film's left to its right. A crop comes back pixel by pixel.

    Raises:
        NotAKneeFilm: a gate refuses all there is, and ``force`` is off.
    """
    pixels, findings, inversion = upright_grey(radiograph.pixels, localiser)
    if not findings:
        refused = check_knee(None, localiser)
        if not force:
            raise _refusal(radiograph, [(refused,)])
        side = check_side(said, None)
        return [FoundKnee(whole_knee(radiograph, agree(said)), (refused, side, inversion), 0.0)]
    findings.sort(key=lambda finding: finding.region.centre[0])
    sides = places([finding.region for finding in findings])
    found = [
        _examine(radiograph, pixels, finding, {**said, PLACE: side}, localiser, inversion)
        for finding, side in zip(findings, sides, strict=True)
    ]
    passed = [knee for knee in found if all(c.verdict != "refused" for c in knee.checks)]
    if passed or force:
        return passed or found
    raise _refusal(radiograph, [knee.checks for knee in found])


def upright_grey(pixels: Plane, localiser: Localiser) -> tuple[Plane, list[Finding], Check]:
    """Grey values with bright bone, the knees found in them, and what was done for it.

    The negative is looked at where a knee's bone seems dark, and where nothing is found: on a dark
    film of little contrast, inverted, only the negative shows a knee.
    """
    findings = localiser.find(pixels)
    trusted = _trusted(findings, localiser)
    probability = _inverted(trusted)
    if findings and all(finding.inverted < _SURELY_INVERTED for finding in trusted):
        return pixels, findings, check_inversion(was_inverted=False, probability=probability)
    turned = np.float32(1) - pixels
    again = localiser.find(turned)
    still = _inverted(_trusted(again, localiser))
    if again and still <= _SURELY_INVERTED <= probability:
        return turned, again, check_inversion(was_inverted=True, probability=probability)
    if _shows_knee(again, localiser) and not _shows_knee(findings, localiser):
        return turned, again, check_inversion(was_inverted=True, probability=1 - still)
    if findings and probability < _SURELY_INVERTED:
        return pixels, findings, check_inversion(was_inverted=False, probability=probability)
    return pixels, findings, Check("inversion", "unknown", "bone may be dark or bright")


def _trusted(findings: list[Finding], localiser: Localiser) -> list[Finding]:
    """Doubtful knees have a say only where all are doubtful."""
    least = localiser.card.least_confidence
    return [finding for finding in findings if finding.confidence >= least] or findings


def _inverted(findings: list[Finding]) -> float:
    """Probability that bone is dark, each finding counting by its confidence."""
    weights = [finding.confidence for finding in findings]
    if not sum(weights):
        return 0.0
    return float(np.average([finding.inverted for finding in findings], weights=weights))


def _shows_knee(findings: list[Finding], localiser: Localiser) -> bool:
    """Whether one of them is a knee with bright bone, by what the gates ask."""
    return any(
        finding.confidence >= localiser.card.least_confidence
        and localiser.distance(finding) <= localiser.card.most_distance
        and finding.inverted <= 1 - _SURELY_INVERTED
        for finding in findings
    )


def _examine(
    radiograph: Radiograph,
    pixels: Plane,
    finding: Finding,
    said: Mapping[str, Side],
    localiser: Localiser,
    inversion: Check,
) -> FoundKnee:
    side = check_side(said, finding.left)
    crop = _crop(radiograph, pixels, finding, agree(said))
    outside = 0.0 if crop.region is None else share_outside(finding.region, pixels.shape)
    checks = (
        check_knee(finding, localiser),
        side,
        check_view(finding, localiser, share_outside=outside),
        inversion,
        check_exposure(crop.pixels),
        check_implant(crop.pixels),
    )
    return FoundKnee(crop, checks, finding.confidence)


def _crop(radiograph: Radiograph, pixels: Plane, finding: Finding, side: Side) -> KneeCrop:
    """A crop as it is, turned by quarters without touching a pixel; any other picture is cut."""
    if not is_whole(finding.region, pixels.shape):
        return cut_knee(radiograph, pixels, finding.region, side)
    whole = whole_knee(radiograph, side)
    quarters = round(finding.region.angle / 90) % 4
    turned = np.ascontiguousarray(np.rot90(pixels, quarters))
    return KneeCrop(turned, side, whole.mm_per_pixel, finding.region if quarters else None)


def _refusal(radiograph: Radiograph, knees: Sequence[Sequence[Check]]) -> NotAKneeFilm:
    """Each knee's first reason; what comes after it only says the same again."""
    refused = [[c.evidence for c in checks if c.verdict == "refused"] for checks in knees]
    reasons = dict.fromkeys(evidence[0] for evidence in refused if evidence)
    return NotAKneeFilm(
        radiograph.source,
        f"is refused: {'; '.join(reasons)}",
        "Name a frontal film of the knee, or grade it anyway with --force",
    )
