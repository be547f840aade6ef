"""Edges of a JPEG's blocks that stand out: data decoded to wrong values, block by block.

A JPEG stores blocks of 8 x 8 pixels, whose mean is told by its difference from the block before. A
changed bit moves one block or all that follow, and a progressive file refines what was moved; what
is left is a mosaic. Compressed far too strongly, a picture is one too.
"""

from __future__ import annotations

import numpy as np

from kellgren.knee import Plane, median

_BLOCK, _ROWS = 8, 4  # pixels; of four rows on end every block has two groups, wherever it begins
_MOST_GROUPS = 300  # of a larger picture, spread over it
_REACH = 3  # columns on either side that tell the slope
_FAR, _TIMES_USUAL = 0.03, 4  # grey values; of the median step


def block_edges(knee: Plane) -> float:
    """Share of the steps across every eighth column, or row, that are far, beyond that of others.

    Args:
        knee: ``(H, W)`` grey values 0..1, at least 32 pixels on a side.

    Returns:
        Of the eight places at which blocks may begin, the largest share less the second largest,
        0..1.
    """
    return max(_down_columns(knee), _down_columns(knee.T))


def _down_columns(knee: Plane) -> float:
    apart = max(1, len(knee) // (_ROWS * _MOST_GROUPS)) * _ROWS
    last = len(knee) - _ROWS + 1  # where a group may begin; to add turned rows takes far longer
    first, second, third, fourth = (
        np.ascontiguousarray(knee[row : last + row : apart]) for row in range(_ROWS)
    )
    groups = (first + second + third + fourth) / _ROWS
    across = np.diff(groups, axis=1)
    # The slope beside a step, without it: over three columns before and three behind.
    before = groups[:, _REACH : -_REACH - 1] - groups[:, : -2 * _REACH - 1]
    behind = groups[:, 2 * _REACH + 1 :] - groups[:, _REACH + 1 : -_REACH]
    steps = np.abs(across[:, _REACH:-_REACH] - (before + behind) / (2 * _REACH))
    far = steps > max(_FAR, _TIMES_USUAL * float(median(steps)))
    shares = np.count_nonzero(far, axis=0) / len(far)
    places = np.sort(shares[: len(shares) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).mean(axis=0))
    return float(places[-1] - places[-2])
