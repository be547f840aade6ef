"""The range of grey values that a picture uses, without the few that lie far outside it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Mask

Values = npt.NDArray[Any]

_CORE = (5, 95)  # percentiles between which most of the picture lies
_LEAST_CORE = 0.01  # share of the pixels that tells what most of the picture is
_STEPS = 16  # a step is this part of the core's width
_LEAST_SHARE = 1e-4  # of the pixels: fewer in a step are no part of the picture's tones
_FAR = 1.0  # in widths of the core: what lies no farther out is an ordinary bright or dark part
_LEAST_FAR = 8  # in steps between neighbouring values, in a picture of hardly any contrast
_MOST_STEPS = 1024
_ROUNDING = 1e-6  # of a step: a value lies on the edge of two
_SAMPLE = 1_000_000  # pixels that percentiles are taken from
_FEW = 10_000  # pixels that tell how far neighbouring values lie apart
_SOFT = 2  # pixels around a label that its soft edge may brighten


class GreyRange(NamedTuple):
    """Darkest and brightest value, and the share of the pixels that lie outside, 0..1."""

    low: float
    high: float
    outside: float


def grey_range(values: Values) -> GreyRange:
    """From the darkest to the brightest value, but for those that would flatten all others.

    A hot pixel, a label burned in at the container's largest value or a white frame can be twenty
    times as bright as bone. From the middle of the picture's tones outwards, the range ends where
    hardly any pixel follows, if what lies beyond reaches farther than the middle is wide. A range
    without such a tail is the one from the smallest to the largest value.

    Args:
        values: numbers of any shape, at least one, none of them NaN.
    """
    least, most = float(values.min()), float(values.max())
    sample = values.ravel()[:: max(1, values.size // _SAMPLE)]
    core = sample[(sample > least) & (sample < most)]
    if core.size < _LEAST_CORE * sample.size:
        return GreyRange(least, most, 0.0)
    first, last = (float(value) for value in np.percentile(core, _CORE))
    width = last - first
    if width == 0:
        return GreyRange(least, most, 0.0)
    between = _between(core)
    step = max(width / _STEPS, between)
    high = last + _reach(values[values > last] - np.float64(last), step, values.size)
    low = first - _reach(np.float64(first) - values[values < first], step, values.size)
    far = max(_FAR * width, _LEAST_FAR * between)
    high = high if most - high > far else most
    low = low if low - least > far else least
    if (low, high) == (least, most):
        return GreyRange(least, most, 0.0)
    return GreyRange(low, high, float(((values < low) | (values > high)).mean()))


def picture_range(picture: Values, valid: Mask | None = None) -> GreyRange:
    """The range of a picture as if what lies far outside were not there, soft edges included.

    Args:
        picture: ``(H, W)`` numbers.
        valid: where they count, at least one; ``None``: everywhere.
    """
    values = picture if valid is None else picture[valid]
    found = grey_range(values)
    if not found.outside:
        return found
    bare = ~grown(outside(picture, found), _SOFT)
    rest = picture[bare if valid is None else bare & valid]
    if rest.size < _LEAST_CORE * values.size:
        return found
    again = grey_range(rest)
    return GreyRange(again.low, again.high, found.outside)


def grown(mask: Mask, by: int) -> Mask:
    """A mask with everything up to ``by`` pixels away, along rows, columns and aslant."""
    for axis in (0, 1):
        wide = mask.copy()
        for step in range(1, by + 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            wide[tuple(ahead)] |= mask[tuple(behind)]
            wide[tuple(behind)] |= mask[tuple(ahead)]
        mask = wide
    return mask


def outside(picture: Values, found: GreyRange) -> Mask:
    """Which values lie outside a range."""
    return np.asarray((picture < found.low) | (picture > found.high), dtype=np.bool_)


def without_hot_pixels(picture: Values, found: GreyRange) -> Values:
    """The picture with each single pixel outside the range replaced by its neighbours' median.

    A defect of the detector is one pixel; letters and frames, whose pixels lie side by side, stay.

    Args:
        picture: ``(H, W)`` numbers.
        found: its range.

    Returns:
        The same numbers, or a copy where a pixel was replaced.
    """
    beyond = np.pad(outside(picture, found), 1)
    rows, columns = np.nonzero(beyond[1:-1, 1:-1])
    padded = np.pad(picture, 1, mode="edge")
    around = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    alone = ~np.any([beyond[rows + i, columns + j] for i, j in around], axis=0)
    if not alone.any():
        return picture
    rows, columns = rows[alone], columns[alone]
    repaired = picture.copy()
    neighbours = np.stack([padded[rows + i, columns + j] for i, j in around])
    repaired[rows, columns] = np.median(neighbours, axis=0).astype(picture.dtype)
    return repaired


def outliers_left_out(part: float) -> str:
    """The warning that goes with a range that leaves pixels out, for the reader."""
    share = f"{part:.1%}" if part >= 0.001 else "less than 0.1%"
    return (
        f"{share} of the pixels are far brighter or darker than all others (a hot pixel, a label "
        "or a frame) and do not count for the range of grey values; a label on a knee is filled "
        "from around it for the grade"
    )


def _between(core: Values) -> float:
    """How far neighbouring values lie apart at least: 1 for most integers."""
    few = np.unique(core[:: max(1, core.size // _FEW)].astype(np.float64))
    return float(np.diff(few).min()) if few.size > 1 else 0.0


def _reach(beyond: Values, step: float, total: int) -> float:
    """How far from the core the tones go on, given the distances of all values beyond it."""
    if not beyond.size:
        return 0.0
    places = np.ceil(beyond / step - _ROUNDING).clip(1, _MOST_STEPS).astype(np.int64) - 1
    counts = np.bincount(places, minlength=_MOST_STEPS)
    sparse = np.flatnonzero(counts < max(1.0, _LEAST_SHARE * total))
    end = step * (int(sparse[0]) + 1 + _ROUNDING if sparse.size else _MOST_STEPS)
    return float(beyond[beyond <= end].max(initial=0.0))
