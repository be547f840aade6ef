"""The range of grey values that a picture uses, without the few that lie far outside it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]

_CORE = (5, 95)  # percentiles between which most of the picture lies
_LEAST_CORE = 0.01  # share of the pixels that tells what most of the picture is
_STEPS = 16  # a step is this part of the core's width
_LEAST_SHARE = 1e-4  # of the pixels: fewer in a step are no part of the picture's tones
_FAR = 1.0  # in widths of the core: what lies no farther out is an ordinary bright or dark part
_MOST_STEPS = 1024
_SAMPLE = 1_000_000  # pixels that percentiles are taken from


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
    high = last + _reach(values[values > last] - np.float64(last), width, values.size)
    low = first - _reach(np.float64(first) - values[values < first], width, values.size)
    high = high if most - high > _FAR * width else most
    low = low if low - least > _FAR * width else least
    if (low, high) == (least, most):
        return GreyRange(least, most, 0.0)
    return GreyRange(low, high, float(((values < low) | (values > high)).mean()))


def without_hot_pixels(picture: Values, found: GreyRange) -> Values:
    """The picture with each single pixel outside the range replaced by its neighbours' median.

    A defect of the detector is one pixel; letters and frames, whose pixels lie side by side, stay.

    Args:
        picture: ``(H, W)`` numbers.
        found: its range.

    Returns:
        The same numbers, or a copy where a pixel was replaced.
    """
    outside = np.pad((picture < found.low) | (picture > found.high), 1)
    rows, columns = np.nonzero(outside[1:-1, 1:-1])
    padded = np.pad(picture, 1, mode="edge")
    around = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    alone = ~np.any([outside[rows + i, columns + j] for i, j in around], axis=0)
    if not alone.any():
        return picture
    rows, columns = rows[alone], columns[alone]
    repaired = picture.copy()
    neighbours = np.stack([padded[rows + i, columns + j] for i, j in around])
    repaired[rows, columns] = np.median(neighbours, axis=0).astype(picture.dtype)
    return repaired


def outliers_left_out(outside: float) -> str:
    """The warning that goes with a range that leaves pixels out, for the reader."""
    share = f"{outside:.1%}" if outside >= 0.001 else "less than 0.1%"
    return (
        f"{share} of the pixels are far brighter or darker than all others (a hot pixel, a label "
        "or a frame) and do not count for the range of grey values"
    )


def _reach(beyond: Values, width: float, total: int) -> float:
    """How far from the core the tones go on, given the distances of all values beyond it."""
    if not beyond.size:
        return 0.0
    step = width / _STEPS
    counts, _ = np.histogram(beyond, bins=_MOST_STEPS, range=(0, step * _MOST_STEPS))
    sparse = np.flatnonzero(counts < max(1.0, _LEAST_SHARE * total))
    end = step * (int(sparse[0]) + 1 if sparse.size else _MOST_STEPS)
    return float(beyond[beyond <= end].max(initial=0.0))
