"""The line of the joint across a knee's picture, as wide as the condyles above it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kellgren.joint_space.condyles import find_condyles
from kellgren.joint_space.derivatives import (
    Plane32,
    against_surroundings,
    derivative,
    smoothed,
)
from kellgren.knee import Plane

_SIDE, _FINE_SIDE = 128, 192
"""Pixels of the picture's side at which the line and the condyles are looked for."""
_SLOPES = np.linspace(-0.25, 0.25, 21)  # of the line: 14 degrees to either side
_COLUMNS = np.r_[0.14:0.40:34j, 0.60:0.86:34j]  # of the side: both compartments without the notch
_ROWS = np.arange(int(0.35 * _SIDE), int(0.8 * _SIDE))  # of the line at the picture's middle
_WIDTHS = range(2, 11)  # of the joint space, in pixels
_USUAL_HEIGHT = 0.6  # of the line, from above; crops of knees are cut so


@dataclass(frozen=True, slots=True)
class JointLine:
    """Where the joint lies in a picture whose corner is 0, 0 and whose side is 1.

    Attributes:
        centre: (x, y) on the line, half-way between the outer edges of the condyles.
        slope: of the line, downwards to the right.
        width: of the condyles, along the line.
        doubtful: whether the outer edge of the left and of the right condyle can hardly be told.
    """

    centre: tuple[float, float]
    slope: float
    width: float
    doubtful: tuple[bool, bool]


def find_joint_line(pixels: Plane) -> JointLine:
    """Find the joint of one knee.

    Args:
        pixels: ``(H, W)`` of a knee's crop, bone bright. One that is not square is seen stretched.
    """
    height, slope = _line(_resized(pixels, _SIDE))
    height = (height + 0.5) / _SIDE
    condyles = find_condyles(_resized(pixels, _FINE_SIDE), height, slope)
    middle = (condyles.left + condyles.right) / 2  # along the line
    turn = 1 / math.hypot(1, slope)
    centre = 0.5 + middle * turn, height + middle * turn * slope
    return JointLine(centre, slope, condyles.right - condyles.left, condyles.doubtful)


def _resized(pixels: Plane, side: int) -> Plane32:
    method = Image.Resampling.BOX if min(pixels.shape) > side else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((side, side), method))


def _line(small: Plane32) -> tuple[float, float]:
    """Row of the joint line at the picture's middle, and its slope: the darkest valley's."""
    edges = smoothed(derivative(small, 1.0, -2), 1.5, -1)
    edges = against_surroundings(edges, (12, 12), 1e-4)
    femur, tibia = np.clip(-edges, 0, 2), np.clip(edges, 0, 2)
    valley = np.zeros_like(edges)
    for width in _WIDTHS:
        both = femur[:-width] + tibia[width:]
        middle = valley[width // 2 :][: len(both)]
        np.maximum(middle, both, out=middle)
    score = valley.take(_ACROSS).mean(axis=2)
    score -= 0.1 * ((_ROWS / _SIDE - _USUAL_HEIGHT) / 0.12) ** 2
    score -= 0.05 * (_SLOPES[:, None] / 0.1) ** 2
    slope, row = np.unravel_index(int(score.argmax()), score.shape)
    return float(_ROWS[row]), float(_SLOPES[slope])


def _across() -> np.ndarray:
    """Pixels of the small picture, row by row, that each line lies on: of slope, row and column."""
    columns = (_COLUMNS * _SIDE).astype(int)
    offsets = np.round(_SLOPES[:, None] * (columns - _SIDE / 2)).astype(int)
    rows = np.clip(_ROWS[:, None] + offsets[:, None], 0, _SIDE - 1)
    return np.asarray(rows * _SIDE + columns)


_ACROSS = _across()
