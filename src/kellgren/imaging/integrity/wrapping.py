"""Pictures whose rows do not begin where their data does: their edges meet in the middle.

Bytes that are lost or put in before the first row move every row by as much, around the picture's
edge. All rows fit each other, so nothing shows between them; but two neighbouring columns are then
the picture's edges, which do not fit, and its first and last columns were neighbours, which do.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from kellgren.knee import Plane

_PARTS = 8  # of the height; any two neighbouring ones may be moved alone
_ENDS = 2  # rows that may hold what came in for what was lost
_OF_A_PART = 2 / 3  # a part is shorter, and chance makes more of it
_LEAST_SIDE = 64
_REACH, _NEAR = 6, 2  # columns on either side that tell how far neighbours differ
_LEAST_MISMATCH = 2.5e-6  # mean square between neighbouring columns
_TEXTURE = 2.0  # variance of an outer column over its mismatch: black margins fit at any place


def wrapped(rows: Plane) -> float:
    """How many times worse two neighbouring columns match than the outer ones do, around the edge.

    Args:
        rows: ``(H, W)`` whole rows of a picture, in which data is moved.

    Returns:
        Mean squares compared: 0 where the outer columns do not match, or are of one grey; else the
        largest of all rows together and, less by a third, of a quarter of them.
    """
    if min(rows.shape) < _LEAST_SIDE:
        return 0.0
    rows = rows[_ENDS:-_ENDS]
    ends = [len(rows) * part // _PARTS for part in range(_PARTS + 1)]
    squares = np.stack([_squares(rows[first : last + 1]) for first, last in pairwise(ends)])
    found = [
        _mismatch(squares[part : part + 2].mean(axis=0), rows[ends[part] : ends[part + 2]])
        for part in range(_PARTS - 1)
    ]
    return max(_mismatch(squares.mean(axis=0), rows), _OF_A_PART * max(found))


def _squares(rows: Plane) -> Plane:
    """Mean square between each column and the next, and last between the outer ones, a row on."""
    inner = np.square(np.diff(rows, axis=1)).mean(axis=0)
    around = np.square(rows[1:, 0] - rows[:-1, -1]).mean()
    return np.asarray(np.append(inner, around), np.float32)


def _mismatch(squares: Plane, rows: Plane) -> float:
    columns, outer = squares[:-1], max(float(squares[-1]), _LEAST_MISMATCH)
    if min(rows[:, 0].var(), rows[:, -1].var()) <= _TEXTURE * outer:
        return 0.0
    usual = np.maximum(_usual(columns), outer)
    return float((columns / usual).max())


def _usual(columns: Plane) -> Plane:
    """How badly columns match around each pair: their median, and the nearest ones.

    A seam is one pair of columns; the edge of a collimator, or of another picture, is blurred.
    """
    window = 2 * _REACH + 1
    padded = np.pad(columns, _REACH, mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, window)
    median = np.sort(around, axis=1)[:, _REACH]
    near = np.lib.stride_tricks.sliding_window_view(np.pad(columns, _NEAR), 2 * _NEAR + 1)
    beside = [near[:, place] for place in range(2 * _NEAR + 1) if place != _NEAR]
    return np.asarray(np.maximum.reduce([median, *beside]), np.float32)
