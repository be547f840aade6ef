"""Straight seams within a knee: where a part of a picture ends that does not belong there.

Blocks, rows or columns that were copied, swapped, mirrored, or come from another picture meet their
surroundings in one row or column of pixels, along a straight line. Bone and soft tissue do not: a
detector blurs what it shows over some pixels, so that steps of brightness have neighbours.
"""

from __future__ import annotations

import numpy as np

from kellgren.arrays import FloatArray, Mask
from kellgren.imaging.integrity.outskirts import BESIDE, OUTER
from kellgren.knee import Plane, add_up, bands

_ALONG = 16  # pixels of a seam that are averaged
_REACH = 8  # columns on either side that tell what a step is beside it
_GRID = 8  # columns: blocks of a JPEG, whose edges recur
_TIMES_USUAL = 2  # of the mean step at the same place of the grid
_LEAST = 0.01  # grey values: a step that is nothing at all
_LONG, _MOST = 0.66, 2.0  # of a line, and what a part of it counts at most
_LONGER = 2.2  # how much fainter a seam may be along them
_FLAT = 0.001  # grey values of the steps in a part without texture
_LEAST_BEYOND = 0.5  # of a step, that is left of it two pixels further on either side
_LESS = 0.7  # in the outer part of the width


def seam(knee: Plane, *, is_film: bool = False) -> float:
    """How many times larger a step across two columns, or two rows, is than those beside it.

    Args:
        knee: ``(H, W)`` grey values 0..1, at least 32 pixels on a side.
        is_film: the picture goes on beside it, where another one may begin: lines near an edge, and
            along it, do not count.

    Returns:
        The largest that 16 pixels and the next 16 along the same line both show, or, if it is more,
        2.2 times the mean along two thirds of a line; less for lines close to an edge and along it.
        0 for a knee that is smaller than that.
    """
    margin = BESIDE if is_film else 0.0
    return max(_down_columns(knee, margin), _down_columns(knee.T, margin))


def _down_columns(knee: Plane, margin: float) -> float:
    lines = _lines(knee)
    steps, is_step = _steps(lines)
    if len(steps) < 3 or steps.shape[1] <= _GRID:
        return 0.0
    left, right = _beside(steps)
    usual = np.empty(steps.shape[1], np.float32)
    for place in range(_GRID):
        usual[place::_GRID] = _TIMES_USUAL * steps[:, place::_GRID].mean()
    ratio = steps / (np.maximum(np.maximum(left, right), usual) + _LEAST)
    ratio[np.minimum(left, right) < _FLAT] = 0  # the edge of a margin, or of a masked part
    ratio *= is_step
    outer = int(OUTER * ratio.shape[1])
    ratio[:, :outer] *= _LESS
    ratio[:, ratio.shape[1] - outer :] *= _LESS
    beside = int(margin * ratio.shape[1])
    inner = ratio[:, beside : ratio.shape[1] - beside]
    return max(float(np.minimum(inner[:-2], inner[2:]).max()), _LONGER * _along(inner))


def _along(ratio: FloatArray) -> float:
    """The largest mean along two thirds of one line, no part of which counts for much."""
    sums = np.zeros((len(ratio) + 1, ratio.shape[1]), ratio.dtype)
    np.minimum(ratio, _MOST, out=sums[1:])
    add_up(sums)
    parts = int(_LONG * len(ratio))
    return float((sums[parts:] - sums[:-parts]).max() / parts)


def _beside(steps: Plane) -> tuple[Plane, Plane]:
    """The largest step of the columns on the left of each, and on its right, but for the next."""
    nothing = np.zeros((len(steps), _REACH), steps.dtype)
    most = np.concatenate([nothing, steps, nothing], axis=1)
    for apart in (1, 2, 3):  # of two, of four, of seven columns
        most = np.maximum(most[:, :-apart], most[:, apart:])
    width = steps.shape[1]
    return most[:, :width], most[:, _REACH + 2 : _REACH + 2 + width]


def _lines(knee: Plane) -> Plane:
    """Means of 16 rows, from every eighth on."""
    half = _ALONG // 2
    parts = len(knee) // half
    sums = np.empty((parts, knee.shape[1]), np.float32)
    for band in bands(parts, half * knee.shape[1]):
        rows = knee[band.start * half : band.stop * half]
        sums[band] = rows.reshape(-1, half, rows.shape[1]).sum(axis=1)
    return np.asarray((sums[:-1] + sums[1:]) / _ALONG, np.float32)


def _steps(lines: Plane) -> tuple[Plane, Mask]:
    """Steps between columns beyond the slope around them, and whether what is beside them differs.

    It does not beside a bright or dark line, which a detector's defect leaves.
    """
    across = np.diff(lines, axis=1)
    steps = across[:, 1:-1] - (across[:, :-2] + across[:, 2:]) / 2
    wide = np.concatenate([lines[:, :1], lines, lines[:, -1:]], axis=1)
    beyond = wide[:, 5:] - wide[:, :-5]
    is_step = np.sign(steps) * beyond >= _LEAST_BEYOND * np.abs(steps)
    return np.abs(steps), is_step
