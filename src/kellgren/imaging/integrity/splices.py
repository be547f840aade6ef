"""Lines from one side of a knee to the other across which its texture does not go on.

Rows or columns from another knee, or from elsewhere, may be of the same brightness as what they now
lie beside, so that no step shows. But fine structure goes on from each pixel to the next: where two
parts were joined, neighbours differ more than on either side, a little in most places of the line.
"""

from __future__ import annotations

import math

import numpy as np

from kellgren.arrays import FloatArray
from kellgren.knee import Plane

_PART = 16  # rows that are one part of a line
_DOUBLINGS = 3  # neighbouring rows are averaged by 1, 2, 4 and 8: fine texture, and coarse
_AT_ONCE = 2**14  # pixels, which stay in the processor's cache
_SIDE = 300  # pixels: of a larger picture as many more rows are one
_USUAL = 3  # columns on either side, which tell how much neighbours differ
_REACH = 10  # columns on either side that differ less; more than a JPEG's block has
_LEAST = 0.5  # of what neighbours differ by where texture goes on: the edge of a margin
_FEW = 8  # lines that stand out are a grid, such as a JPEG's blocks
_SIDES = (0, _REACH + 1)  # where the columns on the left begin, and on the right
_LITTLE = np.float32(1e-6)
_LONG = 0.7  # of the line
_FLAT = 0.002  # grey values: texture that is none
_MARGIN = 0.15  # of the width: how far a knee's square reaches into what is beside it
_OUTER = 0.1  # of the width, where collimators and boards end


def splice(knee: Plane, *, is_film: bool = False) -> float:
    """How many times more two neighbouring columns, or rows, differ than any ten beside them do.

    Args:
        knee: ``(H, W)`` grey values 0..1, at least 32 pixels on a side.
        is_film: the picture goes on beside it, where another one may begin: more lines near an edge
            do not count.

    Returns:
        The largest along seven tenths of a line, about 1; 0 for a knee that is smaller than that.
    """
    outer = _MARGIN if is_film else _OUTER
    return max(_down_columns(knee, outer), _down_columns(knee.T, outer))


def _down_columns(knee: Plane, outer: float) -> float:
    rows = _rows(knee)
    beside = max(int(outer * knee.shape[1]), _REACH + _USUAL + 1)
    if not len(rows) or knee.shape[1] < 2 * beside + _FEW:
        return 0.0
    some = max(1, _AT_ONCE // rows[:_PART].size) * _PART
    pieces = [rows[first : first + some] for first in range(0, len(rows), some)]
    along = _along(np.concatenate([_parts(piece) for piece in pieces]))
    count = along.shape[1] - 2 * _REACH
    left, right = (_largest(along[:, first : first + count + _REACH - 1]) for first in _SIDES)
    ratio = along[:, _REACH : _REACH + count] / (np.maximum(left, right) + _LITTLE)
    has_texture = np.minimum(along[:, :count], along[:, -count:]) >= _LEAST
    skipped = beside - (_REACH + _USUAL + 1)  # of the lines, of which the outermost are lost
    inner = np.s_[:, skipped : count - skipped]
    others = np.sort(ratio[inner].max(axis=0))[-_FEW]
    excess = (ratio * has_texture)[inner].max() / max(others, 1.0) - 1
    return float(1 + excess * min(1.0, math.sqrt(len(knee) / _SIDE)))


def _largest(along: FloatArray) -> FloatArray:
    """Of ten neighbouring columns, from each on."""
    two = np.maximum(along[:, :-1], along[:, 1:])
    four = np.maximum(two[:, :-2], two[:, 2:])
    eight = np.maximum(four[:, :-4], four[:, 4:])
    return np.asarray(np.maximum(eight[:, :-2], eight[:, 2:]))


def _rows(knee: Plane) -> FloatArray:
    """Whole parts of a line, of a large picture in rows that are means of several."""
    scale = max(1, round(min(knee.shape) / _SIDE))
    count = len(knee) // (scale * _PART) * _PART
    rows = np.zeros((count, knee.shape[1]), np.float32)
    for first in range(scale):
        # A copy first: to add a turned picture takes ten times as long.
        rows += np.ascontiguousarray(knee[first : count * scale : scale])
    rows /= np.float32(scale)
    return rows


def _parts(rows: FloatArray) -> FloatArray:
    """How much more neighbouring columns differ than those around them, ``(parts, W - 9)``."""
    excess, averaged = _excess(rows, 1), 1
    for _ in range(_DOUBLINGS):
        rows, averaged = rows[::2] + rows[1::2], 2 * averaged
        excess += _excess(rows, averaged)
    return excess


def _excess(rows: FloatArray, averaged: int) -> FloatArray:
    """`_parts` in sums of some rows. A slope does not count."""
    across = rows[:, 1:] - rows[:, :-1]
    rough = across[:, 1:-1] - (across[:, :-2] + across[:, 2:]) / np.float32(2)
    np.abs(rough, out=rough)
    two = rough[:, :-1] + rough[:, 1:]
    four = two[:, :-2] + two[:, 2:]
    seven = four[:, :-3] + four[:, 3:] - rough[:, _USUAL:-_USUAL]
    count = 2 * _USUAL + 1
    seven += np.float32(averaged * count * _FLAT)
    excess = rough[:, _USUAL:-_USUAL] / seven
    return np.asarray(excess.reshape(-1, _PART // averaged, excess.shape[1]).mean(axis=1))


def _along(parts: FloatArray) -> FloatArray:
    """Means along seven tenths of each column, from each part on: 1 is what is usual."""
    sums = np.cumsum(np.pad(parts, ((1, 0), (0, 0))), axis=0)
    count = max(1, round(_LONG * len(parts)))
    usual = count * (_DOUBLINGS + 1) / (2 * _USUAL + 1)
    return np.asarray((sums[count:] - sums[:-count]) / np.float32(usual))
