"""Cut a knee out of a radiograph: the whole picture where it is a crop already, or a square."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from kellgren.arrays import Float64Array
from kellgren.grades import Side
from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import KneeCrop, Plane, Region, image_of_rows


def whole_knee(radiograph: Radiograph, side: Side) -> KneeCrop:
    """A picture that is one knee's crop already, unchanged."""
    spacing = radiograph.spacing
    mm = None if spacing is None else spacing.column_mm
    return KneeCrop(radiograph.pixels, side, mm, stretch=radiograph.stretch)


def cut(
    pixels: Plane,
    region: Region,
    size: int,
    *,
    outside: float | None = None,
    rows: tuple[int, int] | None = None,
) -> Plane:
    """Cut a square out of a picture, straightened.

    Args:
        pixels: ``(H, W)`` the picture.
        region: the square, which may lie partly or wholly outside.
        size: height and width of the result, in pixels.
        outside: grey value beyond the picture; ``None`` repeats its outermost pixels.
        rows: of the result, the first and the one after the last; ``None``: all of them.

    Returns:
        ``(size, size)`` float32: antialiased where the square is larger, cubic where it is smaller.
    """
    first, last = rows or (0, size)
    corners = _corners(region, first / size, last / size)
    reach = 2 + region.width / size  # room for the filter's neighbours
    low = np.floor(corners.min(axis=0) - reach).astype(int)
    high = np.ceil(corners.max(axis=0) + reach).astype(int)
    patch = _patch(pixels, low, high, outside)
    shrink = max(1.0, region.width / size)
    if shrink > 1:
        shape = [max(1, math.ceil(length / shrink)) for length in patch.size]
        shrink_xy = [whole / small for whole, small in zip(patch.size, shape, strict=True)]
        patch = patch.resize((shape[0], shape[1]), Image.Resampling.BICUBIC)
    else:
        shrink_xy = [1.0, 1.0]
    (left, top), (right, _), _, (bottom_x, bottom_y) = corners - low
    x, y = shrink_xy
    step = (right - left) / size, (corners[1, 1] - corners[0, 1]) / size
    down = (bottom_x - left) / (last - first), (bottom_y - top) / (last - first)
    coefficients = (step[0] / x, down[0] / x, left / x, step[1] / y, down[1] / y, top / y)
    straight = patch.transform(
        (size, last - first), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    return np.clip(np.asarray(straight, dtype=np.float32), 0.0, 1.0)


def _corners(region: Region, top: float, bottom: float) -> Float64Array:
    """Of the part of a square between two heights, 0..1: its own are at 0 and 1."""
    upper_left, upper_right, lower_right, lower_left = np.array(region.corners())
    left, right = lower_left - upper_left, lower_right - upper_right
    return np.array(
        [
            upper_left + top * left,
            upper_right + top * right,
            upper_right + bottom * right,
            upper_left + bottom * left,
        ]
    )


def cut_knee(radiograph: Radiograph, pixels: Plane, region: Region, side: Side) -> KneeCrop:
    """Cut a knee at the radiograph's own resolution, straightened.

    Args:
        radiograph: gives the pixel spacing.
        pixels: of it, inverted where bone was dark.
        region: of the knee.
        side: of the knee.
    """
    spacing = radiograph.spacing
    size = max(_LEAST, min(_MOST, round(region.width)))
    mm = None if spacing is None else spacing.column_mm * region.width / size
    return KneeCrop(cut(pixels, region, size), side, mm, region, radiograph.stretch)


_LEAST, _MOST = 64, 1024  # pixels of a cut's side


def _patch(pixels: Plane, low: np.ndarray, high: np.ndarray, outside: float | None) -> Image.Image:
    """The upright rectangle ``low <= (x, y) < high`` of a picture, filled where it lies outside."""
    height, width = pixels.shape
    columns, rows = np.arange(low[0], high[0]), np.arange(low[1], high[1])
    first, last = np.searchsorted(columns, (0, width))  # of the columns that the picture has
    down = np.clip(rows, 0, height - 1)
    left_out = (rows < 0) | (rows >= height)

    def part(some: slice) -> Plane:
        taken = down[some]
        patch = np.empty((len(taken), len(columns)), dtype=np.float32)
        patch[:, first:last] = pixels[taken, max(low[0], 0) : max(high[0], 0)]
        patch[:, :first] = pixels[taken, :1] if outside is None else outside
        patch[:, last:] = pixels[taken, -1:] if outside is None else outside
        if outside is not None:
            patch[left_out[some]] = outside
        return patch

    return image_of_rows((len(rows), len(columns)), part)
