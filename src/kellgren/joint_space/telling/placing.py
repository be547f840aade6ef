"""Where points of the radiograph lie in the picture of one knee."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kellgren.arrays import Float64Array
from kellgren.joint_space.measurement import Point

if TYPE_CHECKING:
    from kellgren.knee import KneeCrop

Corners = tuple[Point, Point, Point, Point]
"""Top left, top right, bottom right and bottom left, in pixels of the radiograph as it was read."""


def corners_of(crop: KneeCrop) -> Corners:
    """Corners of a knee's picture; of the whole picture, where the knee fills it."""
    height, width = (float(length) for length in crop.pixels.shape)
    if crop.region is None:
        return ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    corners = [np.array(corner) for corner in crop.region.corners()]
    middle = np.array(crop.region.centre)
    across, down = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    longest = max(height, width)  # a turned picture is cut whole: its shorter side is shorter
    placed = (
        middle + right * across * (width / longest) + below * down * (height / longest)
        for right, below in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    )
    one, two, three, four = ((float(x), float(y)) for x, y in placed)
    return one, two, three, four


def shares(points: Sequence[Point], corners: Corners) -> Float64Array:
    """``(N, 2)``: places of points in a knee's picture, 0..1 from its left and from its top."""
    origin, right, _, bottom = (np.array(corner) for corner in corners)
    axes = np.column_stack((right - origin, bottom - origin))
    return np.asarray(np.linalg.solve(axes, (np.array(points) - origin).T).T)
