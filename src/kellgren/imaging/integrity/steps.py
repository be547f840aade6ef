"""Steps of brightness from one row of a knee to the next, such as lost or wrong data leaves."""

from __future__ import annotations

import numpy as np

from kellgren.arrays import FloatArray
from kellgren.knee import Plane, add_up, bands

_LEAST = 0.05  # grey values
_COLUMNS = 512  # at a time: in large pictures more would take much memory
_MOST_OF_HALF = 0.3  # of its columns left out at either end


def step(knee: Plane) -> float:
    """The row with the most columns whose brightness jumps by far more than around it."""
    rows, columns = knee.shape
    jumps = np.zeros(rows - 1, np.int64)
    for first in range(0, columns, _COLUMNS):
        differences = np.abs(np.diff(knee[:, first : first + _COLUMNS], axis=0))
        far = differences > np.maximum(_LEAST, 4 * _around(differences))
        jumps += np.count_nonzero(far, axis=1)
    return float(jumps.max() / columns)


def _around(differences: Plane, reach: int = 6) -> Plane:
    """Mean of the differences of the rows before and behind each, column by column."""
    last = len(differences) - 1
    mirrored = last - np.abs(last - np.abs(np.arange(-reach - 1, last + reach + 1)))
    sums = differences[mirrored]
    add_up(sums)
    window = 2 * reach + 1
    return np.asarray((sums[window:] - sums[:-window] - differences) / (window - 1), np.float32)


def edge(knee: Plane) -> float:
    """The largest step of brightness that one half of a row, or the other, takes all alike.

    A wrong first value of a JPEG block goes on to all that follow: they begin within a row of
    blocks, so at least half of the width changes with its first row or with the next one's.
    """
    rows, columns = knee.shape
    middle = columns // 2
    largest = 0.0
    for band in bands(rows - 5, columns):
        differences = np.diff(knee[band.start : band.stop + 5], axis=0)
        jumps = differences[2:-2] - (differences[1:-3] + differences[3:-1]) / 2
        for half in (jumps[:, :middle], jumps[:, middle:]):
            ordered = np.sort(half, axis=1)  # quicker than to part each row at both places
            low, high = (_placed(ordered, share) for share in (_MOST_OF_HALF, 1 - _MOST_OF_HALF))
            largest = max(largest, float(low.max()), float(-high.min()))
    return largest


def _placed(ordered: FloatArray, share: float) -> FloatArray:
    """The quantile of each ordered row, between its neighbours as `numpy.quantile` places it."""
    at = share * (ordered.shape[1] - 1)
    first = int(at)
    below, above = ordered[:, first], ordered[:, min(first + 1, ordered.shape[1] - 1)]
    return np.asarray(below + np.float32(at - first) * (above - below))
