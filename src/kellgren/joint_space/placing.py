"""Where points of the radiograph lie in the picture of one knee."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kellgren.arrays import Float64Array
from kellgren.joint_space.measurement import Point
from kellgren.knee import KneeCrop

Corners = tuple[Point, Point, Point, Point]
"""Top left, top right, bottom right and bottom left, in pixels of the radiograph as it was read."""


def corners_of(crop: KneeCrop) -> Corners:
    """Corners of a knee's picture; of the whole picture, where the knee fills it."""
    if crop.region is not None:
        one, two, three, four = crop.region.corners()
        return one, two, three, four
    height, width = (float(length) for length in crop.pixels.shape)
    return ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))


def shares(points: Sequence[Point], corners: Corners) -> Float64Array:
    """``(N, 2)``: places of points in a knee's picture, 0..1 from its left and from its top."""
    origin, right, _, bottom = (np.array(corner) for corner in corners)
    axes = np.column_stack((right - origin, bottom - origin))
    return np.asarray(np.linalg.solve(axes, (np.array(points) - origin).T).T)
