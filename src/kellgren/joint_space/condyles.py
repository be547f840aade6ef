"""The outer edges of the femur: the contour of each condyle, from the joint round and up its side.

The side of a condyle is often faint beside lines inside the bone, those of the popliteal groove
above all, and beside the skin. Three things tell it from them: it goes on from the margin of the
joint, round the condyle's corner; the bone within it is grained where soft tissue is smooth; and it
lies near where it lies in other knees. All lengths are in sides of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Float32Array, Float64Array
from kellgren.joint_space.derivatives import (
    Plane32,
    against_surroundings,
    derivative,
    extended,
    smoothed,
    sums_before,
)
from kellgren.joint_space.paths import NEVER, best_paths

_COURSE = (  # of the usual contour: from the picture's border, and above the joint line
    *((0.215, 0.012), (0.165, 0.016), (0.138, 0.021), (0.115, 0.034), (0.095, 0.053)),
    *((0.085, 0.078), (0.082, 0.105), (0.082, 0.130), (0.081, 0.153), (0.078, 0.180)),
    (0.073, 0.205),
)
_STEP, _ACROSS = 1 / 128, 1 / 160  # from a place to the next along the contour, and across it
_INWARDS, _OUTWARDS = 0.075, 0.085  # from the usual contour, where the edge is looked for
_PAD = 8  # places more to either side, for what lies beside an edge
_LOWEST = -0.012  # above the joint line: the tibia lies below
_BLUR, _ALONG = 1.2, 3.0  # places across and along, for derivatives
_AROUND = (16, 40)  # places along and across, with whose edges one is compared
_LEAST = 2e-3  # grey values from a place to the next that noise may show
_PLAIN = 2.0  # of the usual steepness: an edge that is steeper is none the better
_GRAIN = 4  # places to either side of an edge whose grain is compared
_GRAINED, _MOST = 2.5, 1.1  # worth of bone e times as grained as what lies outside; the most of it
_FAINTEST = 5e-4  # grey values of grain that noise may show
_UNUSUAL = 120.0  # lost by the square of the distance from the usual contour
_BEYOND = -0.2  # worth of a place outside the picture
_REACH, _STIFFNESS = 2, 0.1
_COUNTED = (0.03, 0.13)  # above the joint line, between which a condyle ends
_OUTERMOST = 80  # percentile of the path there: the outermost places may be a single leap
_DOUBTFUL = 0.042  # mean distance from the usual contour


@dataclass(frozen=True, slots=True)
class Condyles:
    """Where the femur ends on either side.

    Attributes:
        left: along the joint line, from the picture's middle; below 0.
        right: likewise; above 0.
        doubtful: of the left and the right: whether the edge reaches the picture's border, or lies
            far from where it usually does.
    """

    left: float
    right: float
    doubtful: tuple[bool, bool]


def find_condyles(picture: Plane32, height: float, slope: float) -> Condyles:
    """Find the outer edges of both condyles.

    Args:
        picture: ``(S, S)`` of a knee, bone bright.
        height: of the joint line at the picture's middle, from above.
        slope: of the line, downwards to the right.
    """
    grey, is_shown = _unrolled(picture, height, slope)
    gain = np.where(is_shown, _gain(grey), np.float32(_BEYOND))
    gain -= _LOST
    path = best_paths(gain.swapaxes(0, 1), _REACH, _STIFFNESS).T
    outwards = _FIRST + _ACROSS * _exact(gain, path)  # (2, K)
    points = _CONTOUR + outwards[..., None] * _NORMALS
    above = points[..., 1]
    counted = (above >= _COUNTED[0]) & (above <= _COUNTED[1])
    ends, doubts = [], []
    for side, places in enumerate(counted):
        ends.append(0.5 - float(np.percentile(points[side, places, 0], 100 - _OUTERMOST)))
        seen = is_shown[side, np.arange(len(_CONTOUR)), path[side]]
        far = np.abs(outwards[side, places]).mean() > _DOUBTFUL
        doubts.append(bool(far or not seen[places].all()))
    return Condyles(-ends[0], ends[1], (doubts[0], doubts[1]))


def _gain(grey: Float32Array) -> Float32Array:
    """What each place is worth as the edge of a bone: ``(2, K, M)`` of ``(2, K, M + 2 * pad)``."""
    steep = smoothed(-derivative(grey, _BLUR, -1), _ALONG, -2)
    steep = against_surroundings(steep, _AROUND, _LEAST)[..., _PAD:-_PAD]
    grain = np.abs(2 * grey[..., 1:-1] - grey[..., :-2] - grey[..., 2:])
    grain = np.log(smoothed(extended(grain, 1, 1, -1), _ALONG, -2) + _FAINTEST)
    sums = sums_before(grain, np.float32)
    at = np.arange(_PAD, grey.shape[2] - _PAD)
    inside = sums[..., at] - sums[..., at - _GRAIN]
    outside = sums[..., at + 1 + _GRAIN] - sums[..., at + 1]
    grained = np.clip(_GRAINED / _GRAIN * (inside - outside), -_MOST, _MOST)
    gain: Float32Array = (np.clip(steep, -1, _PLAIN) + grained).astype(np.float32)
    return gain


def _unrolled(picture: Plane32, height: float, slope: float) -> tuple[Float32Array, np.ndarray]:
    """The grey values along the usual contours of the left and of the right condyle, outwards,
    ``(2, K, M + 2 * pad)``; and whether the picture shows a place, ``(2, K, M)``.
    """
    size = len(picture)
    turn = 1 / np.hypot(1, slope)
    sideways, above = np.moveaxis(_PLACES, -1, 0)
    along = np.stack((sideways - 0.5, 0.5 - sideways))
    x = 0.5 + turn * (along + slope * above)
    y = height + turn * (slope * along - above)
    column, row = (np.clip(size * at - 0.5, 0, size - 1.001) for at in (x, y))
    left, top = column.astype(int), row.astype(int)
    right, down = (column - left).astype(np.float32), (row - top).astype(np.float32)
    upper, lower = (
        (1 - right) * picture[rows, left] + right * picture[rows, left + 1]
        for rows in (top, top + 1)
    )
    is_shown = (x > 0.5 / size) & (x < 1 - 0.5 / size)
    return (1 - down) * upper + down * lower, is_shown[..., _PAD:-_PAD]


def _exact(gain: Float32Array, path: np.ndarray) -> Float64Array:
    """The path moved to the peak of the parabola through its neighbours, by half a place."""
    inner = np.clip(path, 1, gain.shape[2] - 2)[..., None]
    before, at, after = (
        np.take_along_axis(gain, inner + offset, axis=2)[..., 0] for offset in (-1, 0, 1)
    )
    bend = before - 2 * at + after
    moved = np.where(bend < -1e-6, (before - after) / (2 * np.minimum(bend, -1e-6)), 0)
    exact: Float64Array = inner[..., 0] + np.clip(moved, -0.5, 0.5)
    return exact


def _contour() -> tuple[Float64Array, Float64Array]:
    """Points of the usual contour at equal steps, and its normals outwards: ``(K, 2)`` each."""
    knots = np.array(_COURSE)
    run = np.concatenate(([0], np.cumsum(np.hypot(*np.diff(knots, axis=0).T))))
    steps = np.arange(0, run[-1], _STEP)
    points = np.column_stack([np.interp(steps, run, knots[:, axis]) for axis in (0, 1)])
    tangents = np.gradient(points, axis=0)
    tangents /= np.hypot(*tangents.T)[:, None]
    return points, np.column_stack((-tangents[:, 1], tangents[:, 0]))


_CONTOUR, _NORMALS = _contour()
_AWAY = np.arange(-_INWARDS, _OUTWARDS, _ACROSS)
_FIRST = _AWAY[0]
_PADDED = _FIRST + _ACROSS * np.arange(-_PAD, len(_AWAY) + _PAD)
_PLACES = _CONTOUR[:, None] + _PADDED[:, None] * _NORMALS[:, None]
_LOST = (_UNUSUAL * _AWAY**2).astype(np.float32) - np.where(
    _PLACES[:, _PAD:-_PAD, 1] < _LOWEST, NEVER, np.float32(0)
)
