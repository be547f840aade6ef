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
from kellgren.localisation.border import Offset, without_border, without_margins
from kellgren.localisation.candidates import ShownJoints, is_knee, is_uncut, shown_joints
from kellgren.localisation.check import Check
from kellgren.localisation.crop import cut_knee, whole_knee
from kellgren.localisation.knee_detector import Detection, Localiser, is_whole
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
    check_joints,
    check_knee,
    check_view,
    is_turned,
    missing,
)

FORCED = "refused, and graded only because that was forced"
"""Begins the warnings of a reading that a check refused."""


@dataclass(frozen=True, slots=True)
class DetectedKnee:
    """One knee of a radiograph, ready to be graded.

    Attributes:
        crop: as the members expect it.
        checks: of the radiograph and of this knee.
        confidence: of the knee detector that a joint is there, 0..1.
        side_evidence: all that tells, or might tell, its side.
        mirrored: the film's left is the patient's left; ``None``: not known.
    """

    crop: KneeCrop
    checks: tuple[Check, ...]
    confidence: float
    side_evidence: tuple[SideStatement, ...] = ()
    mirrored: bool | None = False

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
    shown = shown_joints(film, localiser)
    if offset is None:
        film, offset, shown = _within_margins(film, shown, localiser)
    joints = _joints_shown(film, shown, statements, localiser)
    if offset is None:
        return joints
    whole = Region((film.pixels.shape[1] / 2, film.pixels.shape[0] / 2), max(film.pixels.shape))
    return [
        replace(j, crop=replace(j.crop, region=offset.moved(j.crop.region or whole)))
        for j in joints
    ]


def _within_margins(
    film: Radiograph, shown: ShownJoints, localiser: Localiser
) -> tuple[Radiograph, Offset | None, ShownJoints]:
    """The crop inside a padded one, found before anything is judged; else what was given."""
    unpadded = film, None, shown
    if not shown.detections or any(is_uncut(d, film.pixels.shape) for d in shown.detections):
        return unpadded
    bare, margin = without_margins(film)
    if margin is None:
        return unpadded
    inner = shown_joints(bare, localiser)
    if len(inner.detections) != 1 or not is_uncut(inner.detections[0], bare.pixels.shape):
        return unpadded
    return (bare, margin, inner) if is_knee(inner.detections[0], localiser) else unpadded


def _joints_shown(
    radiograph: Radiograph,
    shown: ShownJoints,
    statements: Sequence[SideStatement],
    localiser: Localiser,
) -> list[DetectedKnee]:
    """The joints of a picture without a border, each judged once."""
    header = check_header(radiograph.header)
    inversion = shown.inversion
    if not shown.detections:
        checks = (check_knee(None, localiser), inversion)
        whole = DetectedKnee(whole_knee(radiograph, Side.UNKNOWN), checks, 0.0)
        (knee,) = _sided(radiograph, [(whole, None)], statements, inversion)
        return [replace(knee, checks=(*header, *knee.checks))]
    examined = [
        (_examine(radiograph, shown.pixels, detection, localiser, inversion), detection)
        for detection in shown.detections
    ]
    sided = _sided(radiograph, examined, statements, inversion)
    return _together([replace(joint, checks=(*header, *joint.checks)) for joint in sided])


def _sided(
    radiograph: Radiograph,
    examined: Sequence[tuple[DetectedKnee, Detection | None]],
    statements: Sequence[SideStatement],
    inversion: Check,
) -> list[DetectedKnee]:
    """The knees with their sides; only those that passed their checks tell each other's."""
    accepted = [d.region for knee, d in examined if d is not None and not knee.refusal]
    # Letters are read on the film as it shows them.
    is_turned_over = inversion.verdict == "warning"
    letters = letters_beside(radiograph.pixels, accepted, negative=is_turned_over)
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
        knee = replace(knee, crop=crop, checks=checks, mirrored=shown.mirrored)
        knees.append(replace(knee, side_evidence=evidence))
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
    damaged = check_damage(pixels, crop.region)
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
