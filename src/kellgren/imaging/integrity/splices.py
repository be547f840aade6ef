"""Lines within a knee across which its texture does not go on.

Rows, columns or blocks from another knee, or from elsewhere, may be of the same brightness as what
they now lie beside, so that no step shows. But fine structure goes on: a pixel can be told from the
two columns beside it, by one rule for the whole picture. Where parts were joined it cannot.
"""

from __future__ import annotations

import math

import numpy as np

from kellgren.arrays import FloatArray
from kellgren.imaging.integrity.outskirts import BESIDE, OUTER
from kellgren.knee import Plane, add_up, bands

_PART = 8  # rows that are one part of a line
_SIDE = 300  # pixels: of a larger picture as many more rows are one
_SOME_ROWS, _SOME_COLUMNS = 5, 3  # of which the rule is made one is taken
_USUAL = 5  # columns on either side, which tell how well pixels can be told
_REACH = 4  # columns on either side that can be told better; a moved part is wider
_LEAST_TEXTURE, _LEAST_ERROR = 0.65, 1.1  # of the usual, and of none, that far beside: a margin
_FEW = 8  # lines that stand out are a grid, such as a JPEG's blocks
_LONG = 0.4  # of the line
_EDGE, _LESS = 0.1, 0.6  # of the width, behind those columns: boards end there too
_FLAT = np.float32(0.004)  # grey values: errors that are none
_MOST = np.float32(8.0)  # times the usual, that one pixel counts at most
_LOST = 1 + _USUAL + _REACH  # columns at either side that have not enough beside them
_BEYOND = 3 + 2 * _USUAL  # last columns, which lack what is needed on their right


def splice(knee: Plane, *, is_film: bool = False) -> float:
    """How many times worse pixels can be told across a line, from those beside it, than elsewhere.

    Args:
        knee: ``(H, W)`` grey values 0..1, at least 32 pixels on a side.
        is_film: the picture goes on beside it, where another one may begin: more lines near an edge
            do not count.

    Returns:
        The largest along four tenths of a row or column, about 1; 0 for a knee that is smaller than
        that.
    """
    outer = BESIDE if is_film else OUTER
    return max(_down_columns(knee, outer, _EDGE), _down_columns(knee.T, outer, 0.0))


def _down_columns(knee: Plane, outer: float, edge: float) -> float:
    rows = _rows(knee)
    beside = max(int(outer * knee.shape[1]), _LOST)
    if len(rows) < 2 + _PART or knee.shape[1] <= 2 * beside + _FEW:
        return 0.0
    rule = _rule(rows)
    pieces = [
        _parts(rows[part.start * _PART : part.stop * _PART + 2], rule)
        for part in bands((len(rows) - 2) // _PART, _PART * rows.shape[1])
    ]
    along, errors = _along(np.concatenate(pieces, axis=1))
    count = along.shape[1] - 2 * _REACH
    left, right = _largest(along[:, : -_REACH - 1]), _largest(along[:, _REACH + 1 :])
    ratio = along[:, _REACH:-_REACH] / np.maximum(left, right)
    has_texture = np.minimum(along[:, :count], along[:, -count:]) >= _LEAST_TEXTURE
    has_texture &= np.minimum(errors[:, :count], errors[:, -count:]) >= _LEAST_ERROR * _FLAT
    inner = np.s_[:, beside - _LOST : count - beside + _LOST]
    others = np.sort(ratio[inner].max(axis=0))[-_FEW]
    excess = (ratio * has_texture)[inner].max(axis=0) / max(others, 1.0) - 1
    less = int(edge * knee.shape[1])
    excess[:less] *= _LESS
    excess[len(excess) - less :] *= _LESS
    size = min(1.0, min(knee.shape) / _SIDE)  # the joint is nearly a line in a small knee
    return float(1 + excess.max() * math.sqrt(size))


def _rows(knee: Plane) -> FloatArray:
    """Whole parts of a line and a row on either side; of a large picture, means of several rows."""
    scale = max(1, round(min(knee.shape) / _SIDE))
    count = (len(knee) // scale - 2) // _PART * _PART + 2
    rows = np.zeros((max(0, count), knee.shape[1]), np.float32)
    for first in range(scale):
        # A copy first: to add a turned picture takes ten times as long.
        rows += np.ascontiguousarray(knee[first : count * scale : scale])
    rows /= np.float32(scale)
    return rows


def _rule(rows: FloatArray) -> FloatArray:
    """How a pixel is told best from the two columns beside it, by least squares: four weights.

    They are of the next pixel, of the mean of those above and below that one, and of the same in
    the column behind; their sum is 1, so that brightness does not matter.
    """
    middle = rows[1:-1:_SOME_ROWS]
    around = (rows[:-2:_SOME_ROWS] + rows[2::_SOME_ROWS]) / 2
    ends = rows.shape[1] - 2
    far, near, wanted = (np.s_[:, first : ends + first : _SOME_COLUMNS] for first in range(3))
    known = np.stack([around[near], middle[far], around[far]]) - middle[near]
    known = known.reshape(3, -1).astype(np.float64)
    lacking = (middle[wanted] - middle[near]).reshape(-1)
    squares = known @ known.T
    squares += (1e-5 * np.trace(squares) + 1e-9) * np.eye(3)
    weights = np.linalg.solve(squares, known @ lacking)
    return np.asarray([1 - weights.sum(), *weights], np.float32)


def _parts(rows: FloatArray, rule: FloatArray) -> FloatArray:
    """How much worse pixels are told across each line than across those around it.

    Returns:
        ``(2, parts, W - 13)`` means of eight rows: of that, 1 being usual, and of the errors.
    """
    # Rows one behind the other: each step is one pass. A row's last columns run into the next row,
    # and are left out of the means.
    count, width = len(rows) - 2, rows.shape[1]
    errors = _errors(rows[1:-1].reshape(-1), (rows[:-2] + rows[2:]).reshape(-1) / 2, rule)
    two = errors[:-1] + errors[1:]
    four = two[:-2] + two[2:]
    eleven = four[:-7] + four[4:-3]
    eleven += two[8:-1]
    eleven += errors[10:]
    both = np.empty((2, count * width), np.float32)
    excess, own = both[:, : len(eleven)]
    own[:] = errors[_USUAL:-_USUAL]
    np.divide(own, eleven, out=excess)
    excess *= np.float32(2 * _USUAL + 1)
    np.minimum(excess, _MOST, out=excess)
    parts = both.reshape(2, count // _PART, _PART, width)[..., : width - _BEYOND]
    return np.asarray(parts.mean(axis=2))


def _errors(middle: FloatArray, around: FloatArray, rule: FloatArray) -> FloatArray:
    """How far pixels are from what those on their left tell, and those on their right; summed.

    Args:
        middle: ``(N,)`` pixels, row behind row.
        around: ``(N,)`` means of those above and below each.
        rule: as `_rule` makes it.

    Returns:
        ``(N - 3,)``.
    """
    near, far = rule[0] * middle, rule[2] * middle
    near += rule[1] * around
    far += rule[3] * around
    errors = middle[2:-1] - near[1:-2]
    errors -= far[:-3]
    from_right = middle[1:-2] - near[2:-1]
    from_right -= far[3:]
    np.abs(errors, out=errors)
    errors += np.abs(from_right, out=from_right)
    errors += _FLAT
    return np.asarray(errors)


def _along(parts: FloatArray) -> FloatArray:
    """Means along four tenths of each column, from each part on."""
    sums = np.zeros((len(parts), parts.shape[1] + 1, parts.shape[2]), np.float32)
    sums[:, 1:] = parts
    add_up(sums.swapaxes(0, 1))
    count = max(1, round(_LONG * parts.shape[1]))
    return np.asarray((sums[:, count:] - sums[:, :-count]) / np.float32(count))


def _largest(along: FloatArray) -> FloatArray:
    """Of four neighbouring columns, from each on."""
    two = np.maximum(along[:, :-1], along[:, 1:])
    return np.asarray(np.maximum(two[:, :-2], two[:, 2:]))
