"""The line of the joint across a knee's picture, and the outer edges of the condyles above it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kellgren.arrays import Float64Array
from kellgren.joint_space.derivatives import (
    Plane32,
    against_surroundings,
    derivative,
    smoothed,
)
from kellgren.joint_space.paths import best_paths
from kellgren.knee import Plane

SIDE = 128
"""Pixels of the picture's side at which joint and condyles are looked for."""
_SLOPES = np.linspace(-0.25, 0.25, 21)  # of the line: 14 degrees to either side
_COLUMNS = np.r_[0.14:0.40:34j, 0.60:0.86:34j]  # of the side: both compartments without the notch
_WIDTHS = range(2, 11)  # of the joint space, in pixels
_USUAL_HEIGHT = 0.6  # of the line, from above; crops of knees are cut so
_EDGE_ROWS = (-0.30, -0.03)  # of the side, against the joint line: where condyles end
_CONDYLE_ROWS = (-0.22, -0.06)  # over which their width is taken
_USUAL_EDGE, _EDGE_SPREAD = 0.08, 0.06  # of the side, from the picture's edge


@dataclass(frozen=True, slots=True)
class JointLine:
    """Where the joint lies in a picture whose corner is 0, 0 and whose side is 1.

    Attributes:
        centre: (x, y) on the line, half-way between the outer edges of the condyles.
        slope: of the line, downwards to the right.
        width: of the condyles, along the line.
    """

    centre: tuple[float, float]
    slope: float
    width: float


def find_joint_line(pixels: Plane) -> JointLine:
    """Find the joint of one knee.

    Args:
        pixels: ``(H, W)`` of a knee's crop, bone bright. One that is not square is seen stretched.
    """
    method = Image.Resampling.BOX if min(pixels.shape) > SIDE else Image.Resampling.BICUBIC
    small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), method))
    height, slope = _line(small)
    left, right = _condyles(small, height, slope)
    middle = (left + right) / 2 - SIDE / 2  # along the line
    turn = 1 / math.hypot(1, slope)
    x, y = SIDE / 2 + middle * turn, height + 0.5 + middle * turn * slope
    return JointLine((x / SIDE, y / SIDE), slope, (right - left) / SIDE)


def _line(small: Plane32) -> tuple[float, float]:
    """Row of the joint line at the picture's middle, and its slope: the darkest valley's."""
    edges = smoothed(derivative(small, 1.0, 0), 1.5, 1)
    edges = against_surroundings(edges, (12, 12), 1e-4)
    femur, tibia = np.clip(-edges, 0, 2), np.clip(edges, 0, 2)
    valley = np.zeros_like(edges)
    for width in _WIDTHS:
        both = femur[:-width] + tibia[width:]
        middle = valley[width // 2 :][: len(both)]
        np.maximum(middle, both, out=middle)
    columns = (_COLUMNS * SIDE).astype(int)
    rows = np.arange(int(0.35 * SIDE), int(0.8 * SIDE))
    offsets = np.round(_SLOPES[:, None] * (columns - SIDE / 2)).astype(int)
    at = np.clip(rows[:, None] + offsets[:, None], 0, SIDE - 1)  # (slopes, rows, columns)
    score = valley[at, columns].mean(axis=2)
    score -= 0.1 * ((rows / SIDE - _USUAL_HEIGHT) / 0.12) ** 2
    score -= 0.05 * (_SLOPES[:, None] / 0.1) ** 2
    slope, row = np.unravel_index(int(score.argmax()), score.shape)
    return float(rows[row]), float(_SLOPES[slope])


def _condyles(small: Plane32, height: float, slope: float) -> tuple[float, float]:
    """Outer edges of the femur along the joint line, in pixels from its left end."""
    edges = smoothed(derivative(small, 1.2, 1), 1.5, 0)
    edges = against_surroundings(edges, (20, 20), 2e-3)
    below = np.arange(int(_EDGE_ROWS[0] * SIDE), int(_EDGE_ROWS[1] * SIDE))
    along = np.arange(int(0.42 * SIDE))
    usual = 0.15 * ((along / SIDE - _USUAL_EDGE) / _EDGE_SPREAD) ** 2
    counted = (below >= _CONDYLE_ROWS[0] * SIDE) & (below <= _CONDYLE_ROWS[1] * SIDE)
    strength = np.empty((2, len(below), len(along)), dtype=np.float32)
    for at, (picture, tilt) in enumerate(((edges, slope), (-edges[:, ::-1], -slope))):
        rows = height + below[:, None] + tilt * (along - SIDE / 2)
        columns = along - tilt * below[:, None]
        rows, columns = (np.clip(np.round(at), 0, SIDE - 1).astype(int) for at in (rows, columns))
        strength[at] = np.clip(picture[rows, columns], -1, 2.5) - usual
    left, right = (
        float(_sub_pixel(one, path)[counted].mean()) + 0.5
        for one, path in zip(strength, best_paths(strength, 2, 0.3), strict=True)
    )
    return left, SIDE - right


def _sub_pixel(strength: Plane32, path: np.ndarray) -> Float64Array:
    """The path moved to the peak of the parabola through its neighbours, by half a pixel."""
    rows = np.arange(len(path))
    inner = np.clip(path, 1, strength.shape[1] - 2)
    before, at, after = (strength[rows, inner + offset] for offset in (-1, 0, 1))
    bend = before - 2 * at + after
    moved = np.where(bend < -1e-6, (before - after) / (2 * np.minimum(bend, -1e-6)), 0)
    exact: Float64Array = inner + np.clip(moved, -0.5, 0.5)
    return exact
