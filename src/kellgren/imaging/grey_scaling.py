"""Stored grey values of a raster picture or an array to 0..1."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Mask
from kellgren.imaging.grey_range import (
    outliers_left_out,
    outside,
    picture_range,
    without_hot_pixels,
)
from kellgren.imaging.picture import RejectedPicture

DEPTHS = (8, 10, 12, 14, 16)
"""Bit depths that X-ray detectors deliver."""
EXPORT_GREY = "Export the X-ray as a grey picture of 8 to 16 bits."


def scaled(values: npt.NDArray[Any], depth: int) -> npt.NDArray[np.float32]:
    """Integers of ``depth`` bits, in a new array of 0..1."""
    return values.astype(np.float32) / np.float32(2**depth - 1)


def covering_depth(values: npt.NDArray[Any]) -> int:
    """The smallest of `DEPTHS` that holds every integer, so that its container has no influence.

    Raises:
        RejectedPicture: a value is negative or has more than 16 bits.
    """
    smallest, largest = int(values.min()), int(values.max())
    if smallest < 0 or largest >= 2 ** DEPTHS[-1]:
        raise RejectedPicture("has grey values outside 0 to 65535", EXPORT_GREY)
    return next(depth for depth in DEPTHS if largest < 2**depth)


class Scaled(NamedTuple):
    """Grey values in 0..1, the bits they were scaled by, and which lie far outside, if any."""

    pixels: npt.NDArray[np.float32]
    depth: int
    outliers: Mask | None = None


def scaled_words(values: npt.NDArray[Any], warnings: list[str]) -> Scaled:
    """Integers ``(H, W)`` of 9 to 16 bits in a new array of 0..1.

    The bits are the fewest of `DEPTHS` that hold the picture's tones: a hot pixel or a label
    far brighter than all others does not count, with a warning.

    Raises:
        RejectedPicture: a value is negative or has more than 16 bits.
    """
    depth = covering_depth(values)
    if depth == DEPTHS[0]:
        return Scaled(scaled(values, depth), depth)
    found = picture_range(values)
    tones = next(bits for bits in DEPTHS if found.high < 2**bits)
    if tones == depth:
        return Scaled(scaled(values, depth), depth)
    warnings.append(outliers_left_out(found.outside))
    bare = without_hot_pixels(values, found)
    pixels = np.minimum(scaled(bare, tones), np.float32(1))
    return Scaled(pixels, tones, outside(bare, found))


def unit_floats(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Floating-point values that lie in 0..1 already, in a new array.

    Raises:
        RejectedPicture: they do not, or are no numbers.
    """
    return check_unit_floats(values).astype(np.float32)


def check_unit_floats(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same values, which lie in 0..1.

    Raises:
        RejectedPicture: they do not, or are no numbers.
    """
    # The comparison is also false for values that are no numbers.
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise RejectedPicture("has floating-point grey values outside 0 to 1", EXPORT_GREY)
    return values
