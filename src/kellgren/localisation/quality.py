"""Checks that a picture must pass before it is graded, each with what it measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kellgren.imaging.evidence import HeaderEvidence
from kellgren.imaging.integrity.damage import Traces, damage, traces
from kellgren.knee import Plane, Region
from kellgren.localisation.check import Check
from kellgren.localisation.knee_detector import Detection, Localiser

_FLAT = 0.02  # standard deviation of grey values below which no structure is visible
_CLIPPED = 0.75  # share of a knee's pixels at the darkest or brightest value
_MUCH_OUTSIDE = 0.15  # share of a knee's square beyond the film


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


def check_view(detection: Detection, localiser: Localiser, *, share_outside: float) -> Check:
    """Whether it resembles the frontal knees of the training data, and is upright."""
    most = localiser.card.most_distance
    distance = localiser.distance(detection)
    far = f"distance from frontal knees {distance:.2f}, at most {most:.2f} is allowed"
    if distance > most:
        return Check("view", "refused", f"unlike the frontal knees of the training ({far})")
    turned = _turned(detection.region.angle)
    if turned:
        return Check("view", "warning", f"the picture is {turned} and was turned upright ({far})")
    if share_outside > _MUCH_OUTSIDE:
        return Check(
            "view",
            "warning",
            f"the film ends within the knee: {share_outside:.0%} of its square lie outside ({far})",
        )
    return Check("view", "passed", f"looks like a frontal knee ({far})")


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
    dark, bright = float((knee <= 0.004).mean()), float((knee >= 0.996).mean())
    measured = f"{dark:.0%} of the knee are black, {bright:.0%} white"
    if spread < _FLAT:
        return Check("exposure", "refused", f"nearly one grey value all over ({measured})")
    if dark + bright > _CLIPPED:
        return Check("exposure", "refused", f"clipped: {measured}")
    if max(dark, bright) > _CLIPPED / 2:
        return Check("exposure", "warning", f"strongly clipped: {measured}")
    return Check("exposure", "passed", measured)


def check_damage(pixels: Plane, region: Region | None) -> Check | None:
    """Whether a knee shows traces of broken data, such as blocks of one grey value; ``None``: no.

    What lies around the joint may be another picture's edge or a margin, and is warned of.

    Args:
        pixels: of the radiograph, as they were decoded.
        region: of the knee on it; ``None``: it is the whole picture.
    """
    around = damage(_traces_within(pixels, region))
    if not around:
        return None
    joint = None if region is None else replace(region, width=_JOINT * region.width)
    inside = damage(_traces_within(pixels, joint))
    if inside:
        return Check("damage", "refused", f"the picture's data seems to be damaged: {inside}")
    return Check("damage", "warning", f"perhaps damaged, or composed, beside the joint: {around}")


_JOINT = 0.6  # of the width of a knee's square, around its centre


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
    small = knee[np.ix_(rows, columns)]
    dense = small >= small.max() - 0.04
    edge = dense ^ _shrunk(dense, 1)
    around = _grown(dense, 2) & ~_grown(dense, 1)
    if not edge.any() or not around.any():
        return float(dense.mean()), 0.0
    return float(dense.mean()), float(small[edge].mean() - small[around].mean())


def share_outside(region: Region, shape: tuple[int, ...]) -> float:
    """Share of a square's area beyond the picture."""
    across, down = (np.arange(32) + 0.5) / 32 - 0.5, (np.arange(32) + 0.5) / 32 - 0.5
    (left, top), right, _, below = (np.array(corner) for corner in region.corners())
    origin = np.array([left, top])
    points = (
        origin
        + (across[:, None, None] + 0.5) * (right - origin)
        + (down[None, :, None] + 0.5) * (below - origin)
    )
    inside = (points >= 0).all(-1) & (points <= np.array(shape[::-1])).all(-1)
    return float(1 - inside.mean())


def is_turned(region: Region) -> bool:
    """Whether the knee lies sideways or upside down on the picture."""
    return bool(_turned(region.angle))


def _turned(angle: float) -> str:
    if abs(angle) > 135:
        return "upside down"
    return "sideways" if abs(angle) > 45 else ""


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    for _ in range(by):
        padded = np.pad(mask, 1)
        mask = mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return mask


def _shrunk(mask: np.ndarray, by: int) -> np.ndarray:
    return ~_grown(~mask, by)
