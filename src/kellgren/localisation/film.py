"""Find and orient the knees of a radiograph that may be graded, each with its checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kellgren.errors import NotAKneeFilm
from kellgren.grades import Side
from kellgren.imaging.evidence import SideStatement
from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import KneeCrop, Plane, Region
from kellgren.localisation.border import without_border, without_margins
from kellgren.localisation.candidates import candidates, is_knee
from kellgren.localisation.check import Check
from kellgren.localisation.crop import cut_knee, whole_knee
from kellgren.localisation.knee_detector import Detection, Localiser, is_whole
from kellgren.localisation.labels import without_labels
from kellgren.localisation.laterality import (
    both_for_one,
    check_side,
    decided,
    doubted,
    evidence_of,
    facing,
    places,
)
from kellgren.localisation.letters import letters_beside
from kellgren.localisation.picture_checks import check_certainty, check_colour, gate_checks
from kellgren.localisation.quality import (
    Missing,
    check_damage,
    check_exposure,
    check_header,
    check_inversion,
    check_joints,
    check_knee,
    check_view,
    is_turned,
    missing,
)

FORCED = "refused, and graded only because that was forced"
"""Begins the warnings of a reading that a check refused."""
_SURELY_INVERTED = 0.8


@dataclass(frozen=True, slots=True)
class DetectedKnee:
    """One knee of a radiograph, ready to be graded.

    Attributes:
        crop: as the members expect it.
        checks: of the radiograph and of this knee.
        confidence: of the knee detector that a joint is there, 0..1.
        side_evidence: all that tells, or might tell, its side.
    """

    crop: KneeCrop
    checks: tuple[Check, ...]
    confidence: float
    side_evidence: tuple[SideStatement, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The evidence of every check that did not pass, for the reader; what was forced first."""
        refused = [c.evidence for c in self.checks if c.verdict == "refused"]
        warned = [c.evidence for c in self.checks if c.verdict == "warning"]
        return (*(f"{FORCED}: {evidence}" for evidence in refused), *warned)

    @property
    def refusal(self) -> str:
        """Why not to grade it: all that the header says, else the first check's reason, from which
        later ones follow; empty: nothing.
        """
        refused = [check for check in self.checks if check.verdict == "refused"]
        header = [check.evidence for check in refused if check.name == "header"]
        return "; ".join(header or [check.evidence for check in refused[:1]])


def find_knees(
    radiograph: Radiograph,
    statements: Sequence[SideStatement],
    localiser: Localiser,
    *,
    force: bool = False,
) -> list[DetectedKnee]:
    """Find, orient and check every knee that may be graded.

    Args:
        radiograph: of one or two knees, or one that is a knee's crop already.
        statements: of the side, by header, name and caller.
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
        "Give a frontal film of the knee",
    )


def find_joints(
    radiograph: Radiograph, statements: Sequence[SideStatement], localiser: Localiser
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
    radiograph: Radiograph, statements: Sequence[SideStatement], localiser: Localiser
) -> list[DetectedKnee]:
    """The joints of a picture without a border."""
    header = check_header(radiograph.header)
    bare = without_labels(radiograph)
    graded, detections, inversion = upright_grey(bare, localiser)
    pixels = graded  # as the film shows it, labels included: letters are read
    if bare is not radiograph.pixels:
        is_turned_over = inversion.verdict == "warning"
        pixels = np.float32(1) - radiograph.pixels if is_turned_over else radiograph.pixels
    if not detections:
        checks = (check_knee(None, localiser), inversion)
        whole = DetectedKnee(whole_knee(radiograph, Side.UNKNOWN), checks, 0.0)
        (knee,) = _sided(radiograph, pixels, [(whole, None)], statements)
        return [replace(knee, checks=(*header, *knee.checks))]
    detections = sorted(candidates(detections, localiser), key=lambda d: d.region.centre[0])
    examined = [
        (_examine(radiograph, graded, detection, localiser, inversion), detection)
        for detection in detections
    ]
    sided = _sided(radiograph, pixels, examined, statements)
    return _together([replace(joint, checks=(*header, *joint.checks)) for joint in sided])


def _sided(
    radiograph: Radiograph,
    pixels: Plane,
    examined: Sequence[tuple[DetectedKnee, Detection | None]],
    statements: Sequence[SideStatement],
) -> list[DetectedKnee]:
    """The knees with their sides; only those that passed their checks tell each other's."""
    accepted = [d.region for knee, d in examined if d is not None and not knee.refusal]
    letters = letters_beside(pixels, accepted)
    shown = doubted(facing(radiograph.header.orientation, accepted), accepted, letters)
    doubt = "; ".join(filter(None, (shown.doubt, both_for_one(statements, len(accepted)))))
    told = iter(zip(places(accepted, mirrored=shown.mirrored), letters, strict=True))
    knees = []
    for knee, detection in examined:
        left = None if detection is None else detection.left
        is_accepted = detection is not None and not knee.refusal
        place, beside = next(told) if is_accepted else (Side.UNKNOWN, ())
        evidence = evidence_of(statements, place, shown, left, beside)
        at = 1 + [check.name for check in knee.checks].index("knee")
        checks = (*knee.checks[:at], check_side(evidence, doubt), *knee.checks[at:])
        crop = replace(knee.crop, side=decided(evidence))
        knees.append(replace(knee, crop=crop, checks=checks, side_evidence=evidence))
    return knees


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
    localiser: Localiser,
    inversion: Check,
) -> DetectedKnee:
    """One knee with all checks but that of its side, to which the other knees belong."""
    crop = _crop(radiograph, pixels, detection, Side.UNKNOWN)
    beyond = Missing() if crop.region is None else missing(detection.region, pixels.shape)
    corrected = inversion.verdict == "warning" or is_turned(detection.region)
    view = check_view(detection, localiser, beyond)
    damaged = check_damage(radiograph.pixels, crop.region)
    checks = (
        check_knee(detection, localiser),
        check_certainty(view, detection.confidence) if corrected else view,
        inversion,
        check_exposure(crop.pixels),
        check_colour(radiograph.colours),
        *gate_checks(crop.pixels, corrected=corrected),
        *(() if damaged is None else (damaged,)),  # an implant is named as such
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
