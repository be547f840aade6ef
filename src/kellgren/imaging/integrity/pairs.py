"""Rows in which each value changed places with its neighbour, as bytes in the other order do."""

from __future__ import annotations

import numpy as np

from kellgren.knee import Plane, bands

_ROWS = 16  # that are measured together
_FLAT = 0.002  # grey values by which neighbours differ that are alike
_MOST_USUAL = 0.3  # more of it in most rows is a picture that was enlarged


def swapped_pairs(knee: Plane) -> float:
    """How much more every second step along a row differs from the others than in other rows.

    In smooth ground a row ``a b c d`` turns to ``b a d c``, whose steps are 1, 3, 1 grey values.

    Args:
        knee: ``(H, W)`` grey values 0..1, at least 32 pixels on a side.

    Returns:
        Logarithm of the ratio of the sums of both kinds of steps, in the worst 16 rows, less the
        usual one.
    """
    count = (knee.shape[1] - 1) // 2
    ratios = np.empty(len(knee))
    for band in bands(*knee.shape):
        steps = np.abs(np.diff(knee[band, : 2 * count + 1], axis=1))
        even, odd = (steps[:, first::2].sum(axis=1) + _FLAT * count for first in (0, 1))
        ratios[band] = np.abs(np.log(even / odd))
    rows = ratios[: len(ratios) // _ROWS * _ROWS].reshape(-1, _ROWS).mean(axis=1)
    usual = float(np.median(rows))
    return 0.0 if usual > _MOST_USUAL else float(rows.max()) - usual
