"""Checks that a picture must pass before it is graded, each with what it measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from kellgren.arrays import Mask
from kellgren.imaging.evidence import HeaderEvidence
from kellgren.imaging.integrity.damage import Traces, damage, doubt, traces
from kellgren.knee import Plane, Region
from kellgren.localisation.check import Check
from kellgren.localisation.knee_detector import Detection, Localiser

_FLAT = 0.02  # standard deviation of grey values below which no structure is visible
_CLIPPED = 0.75  # share of a knee's pixels at the darkest or brightest value
_LINES = 80  # of a knee's square, each way, that are looked at


def check_header(header: HeaderEvidence) -> tuple[Check, ...]:
    """What the file's header says against grading the picture, one check each.

    Without an objection one check says what the header calls it; none where there is no header.
    """
    if header.described is None:
        return ()
    if not header.objections:
        return (Check("header", "passed", f"nothing speaks against it: {header.described}"),)
    return tuple(
        Check("header", "refused" if objection.refused else "warning", objection.evidence)
        for objection in header.objections
    )


def check_knee(detection: Detection | None, localiser: Localiser) -> Check:
    """Whether there is a knee joint at all."""
    least = localiser.card.least_confidence
    if detection is None:
        return Check("knee", "refused", "no knee joint is to be seen")
    measured = f"confidence {detection.confidence:.2f}, at least {least:.2f} is asked for"
    if detection.confidence < least:
        return Check("knee", "refused", f"no knee joint is to be seen ({measured})")
    return Check("knee", "passed", f"a knee joint was found ({measured})")


def check_joints(accepted: int, refused: Sequence[str]) -> Check | None:
    """Whether the joints of a picture can be one patient's two knees; ``None``: nothing to say.

    Args:
        accepted: joints that pass all other checks.
        refused: why, of each joint that does not.
    """
    if accepted > _A_PATIENTS:
        number = f"{accepted} knee joints on one picture"
        return Check("joints", "refused", f"{number}: no film of one patient shows more than two")
    if refused and accepted:
        others = "; ".join(refused)
        return Check("joints", "warning", f"not graded, on the same picture: {others}")
    return None


_A_PATIENTS = 2  # knees


def check_view(detection: Detection, localiser: Localiser, beyond: Missing) -> Check:
    """Whether it resembles the frontal knees of the training data, and is upright."""
    most = localiser.card.most_distance
    distance = localiser.distance(detection)
    far = f"distance from frontal knees {distance:.2f}, at most {most:.2f} is allowed"
    if distance > most:
        return Check("view", "refused", f"unlike the frontal knees of the training ({far})")
    turned = _turned(detection.region.angle)
    if turned:
        return Check("view", "warning", f"the picture is {turned} and was turned upright ({far})")
    ends = _ends(beyond)
    if ends:
        return Check("view", "warning", f"the film ends within the knee: {ends} ({far})")
    return Check("view", "passed", f"looks like a frontal knee ({far})")


def _ends(beyond: Missing) -> str:
    """What of a knee's square is missing, if it is so much that grades change; else nothing."""
    places = ("above the joint", "below the joint", "at a side")
    told = [
        f"{share:.0%} of its square are missing {place}"
        for share, most, place in zip(beyond, MOST_MISSING, places, strict=True)
        if share > most
    ]
    return ", ".join(told)


def check_inversion(*, was_inverted: bool, probability: float) -> Check:
    """Whether bone was bright."""
    if was_inverted:
        return Check(
            "inversion", "warning", f"bone was dark; grey values were inverted ({probability:.2f})"
        )
    return Check("inversion", "passed", f"bone is bright (probability {1 - probability:.2f})")


def check_exposure(knee: Plane) -> Check:
    """Whether the knee's grey values vary and are not clipped."""
    spread = float(knee.std())
    dark, bright = (np.count_nonzero(far) / knee.size for far in (knee <= 0.004, knee >= 0.996))
    grey = round(float(knee.mean()), 4)
    measured = f"{dark:.0%} of the knee are black, {bright:.0%} white"
    if spread < _FLAT:
        return Check("exposure", "refused", f"nearly one grey value all over ({measured})", grey)
    if dark + bright > _CLIPPED:
        return Check("exposure", "refused", f"clipped: {measured}", grey)
    if max(dark, bright) > _CLIPPED / 2:
        return Check("exposure", "warning", f"strongly clipped: {measured}", grey)
    return Check("exposure", "passed", measured, grey)


def check_damage(pixels: Plane, region: Region | None) -> Check | None:
    """Whether a knee shows traces of broken data, such as blocks of one grey value; ``None``: no.

    What lies around the joint may be another picture's edge or a margin, and is warned of. Where
    the knee takes most of its picture all of it is searched: parts that were moved move the knee.

    Args:
        pixels: of the radiograph, as they were decoded, without labels: letters have sharp edges.
        region: of the knee on it; ``None``: it is the whole picture.
    """
    box = _upright_box(region, pixels.shape)
    is_most = pixels[box].size >= _MOST_OF_PICTURE * pixels.size
    found = _traces_within(pixels, None if is_most else region)
    around = damage(found)
    if not around:
        perhaps = doubt(found)
        return Check("damage", "warning", f"perhaps damaged: {perhaps}") if perhaps else None
    joint = None if region is None else replace(region, width=_JOINT * region.width)
    inside = damage(_traces_within(pixels, joint))
    if inside:
        return Check("damage", "refused", f"the picture's data seems to be damaged: {inside}")
    return Check("damage", "warning", f"perhaps damaged, or composed, beside the joint: {around}")


_JOINT = 0.6  # of the width of a knee's square, around its centre
_MOST_OF_PICTURE = 0.6  # taken by a knee's square: the rest belongs to the same picture


def _traces_within(pixels: Plane, region: Region | None) -> Traces:
    rows, columns = _upright_box(region, pixels.shape)
    return traces(pixels[rows, columns], pixels[rows])


def _upright_box(region: Region | None, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The picture's rows and columns that a square lies in."""
    if region is None:
        return slice(None), slice(None)
    corners = np.array(region.corners())
    left, top = np.maximum(corners.min(axis=0), 0).astype(int)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    return slice(top, min(bottom, shape[0])), slice(left, min(right, shape[1]))


def check_implant(knee: Plane) -> Check:
    """Whether a part of the knee is as dense and as sharply bounded as metal."""
    share, sharpness = metal(knee)
    measured = f"{share:.1%} of the knee as white as metal, edge {sharpness:.2f}"
    if share > _METAL_SHARE and sharpness > _METAL_EDGE:
        return Check("implant", "warning", f"perhaps metal: {measured}")
    return Check("implant", "passed", f"no sign of metal: {measured}")


_METAL_SHARE, _METAL_EDGE = 0.01, 0.2


def metal(knee: Plane) -> tuple[float, float]:
    """Share of the pixels close to the brightest, and the mean step of grey across their edge.

    Overexposed bone reaches the brightest value too, but fades into it; metal jumps.
    """
    size = 192
    rows = np.linspace(0, knee.shape[0] - 1, size).round().astype(int)
    columns = np.linspace(0, knee.shape[1] - 1, size).round().astype(int)
    small = knee[rows][:, columns]
    dense = small >= small.max() - 0.04
    share = float(np.count_nonzero(dense) / dense.size)
    edge = dense & _grown(~dense)
    grown = _grown(dense)
    around = _grown(grown) & ~grown
    if not edge.any() or not around.any():
        return share, 0.0
    return share, float(small[edge].mean() - small[around].mean())


class Missing(NamedTuple):
    """How far a film ends within a knee's square, in shares of the square's side, 0..1."""

    above: float = 0.0
    below: float = 0.0
    beside: float = 0.0


MOST_MISSING = Missing(0.3, 0.2, 0.075)
"""Up to which a knee is graded without a warning. Of 20 to 30 knees, all grades held with 30 % cut
off above; a sixth changed with 20 % below or 10 % at a side: the joint lies below the middle. Of 64
real films of the training, whose rows are cut close, a tenth have more missing than this."""


def missing(region: Region, shape: tuple[int, ...]) -> Missing:
    """What of a knee's square lies beyond the picture, seen with the knee upright.

    Args:
        region: of the knee.
        shape: height and width of the picture.

    Returns:
        Above and below the square's middle, and to the side where more is missing: the rows and
        columns of the square of which more than half lie outside.
    """
    places = (np.arange(_LINES) + 0.5) / _LINES
    origin, right, _, below = (np.array(corner) for corner in region.corners())
    across, down = (places[:, None] * (corner - origin) for corner in (right, below))
    points = origin + across[None] + down[:, None]
    inside = ((points >= 0) & (points <= np.array(shape[1::-1]))).all(axis=-1)
    rows, columns = inside.mean(axis=1) < 0.5, inside.mean(axis=0) < 0.5
    half = _LINES // 2
    ends = (rows[:half], rows[half:], columns[:half], columns[half:])
    above, under, left, other = (float(end.sum()) / _LINES for end in ends)
    return Missing(above, under, max(left, other))


def is_turned(region: Region) -> bool:
    """Whether the knee lies sideways or upside down on the picture."""
    return bool(_turned(region.angle))


def _turned(angle: float) -> str:
    if abs(angle) > 135:
        return "upside down"
    return "sideways" if abs(angle) > 45 else ""


def _grown(mask: Mask) -> Mask:
    """A mask with the next pixel along rows and columns."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    return wide
