"""Points of the straightened joint as points of the radiograph that the knee was cut from."""

from __future__ import annotations

import math

import numpy as np

from kellgren.arrays import Float64Array
from kellgren.joint_space.margins import FRAME
from kellgren.joint_space.measurement import Point
from kellgren.knee import KneeCrop, Region


class FilmPoints:
    """From the frame of the condyles, in condylar widths, to points of the radiograph.

    Args:
        crop: the knee.
        square: ``FRAME`` condylar widths wide, around the joint, in the crop's pixels.
    """

    def __init__(self, crop: KneeCrop, square: Region) -> None:
        height, width = crop.pixels.shape
        self._square = square
        self._middle = np.array([width / 2, height / 2])
        self._region = crop.region
        self._scale = 1.0 if crop.region is None else crop.region.width / max(height, width)

    def of(self, places: Float64Array) -> list[Point]:
        """Points to a hundredth of a pixel, so that files and records hold the same.

        Args:
            places: ``(N, 2)`` along the condylar width, from 0 to 1, and below its line.
        """
        centred = (places - [0.5, 0.0]) * (self._square.width / FRAME)
        points = np.array(self._square.centre) + _turned(centred, self._square.angle)
        if self._region is not None:
            centred = (points - self._middle) * self._scale
            points = np.array(self._region.centre) + _turned(centred, self._region.angle)
        return [(round(x, 2), round(y, 2)) for x, y in points.tolist()]


def _turned(points: Float64Array, degrees: float) -> Float64Array:
    """Turned clockwise about 0, 0, the picture's y pointing down."""
    turn = math.radians(degrees)
    x, y = points.T
    return np.column_stack(
        (x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn))
    )
