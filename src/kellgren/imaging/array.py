"""Grey values in a NumPy array, checked and scaled like those of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.imaging.grey_scaling import scaled, scaled_words, unit_floats
from kellgren.imaging.picture import Picture, RejectedPicture, check_size


def array_picture(array: npt.NDArray[Any]) -> Picture:
    """Check and scale an array.

    Args:
        array: ``(H, W)`` grey values: uint8, divided by 255; uint16, by the largest value of the
            smallest of 8, 10, 12, 14 and 16 bits that holds them, as in a file; or floating point
            in 0..1. It is copied, never changed.

    Raises:
        RejectedPicture: another shape or type, masked, empty, too small or large, or grey values
            that are no numbers or out of range.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise RejectedPicture("is a masked array", "Fill what is masked: array.filled(0)")
    array = np.asarray(array)  # a np.matrix keeps two axes whatever is done with it
    if array.ndim != 2:
        raise RejectedPicture(
            f"has the shape {array.shape}, expected (height, width)",
            "Pass one grey picture, without a channel or batch axis",
        )
    if array.size == 0:
        raise RejectedPicture(f"is empty: its shape is {array.shape}", "Pass a grey picture")
    check_size(*array.shape)
    if array.dtype == np.uint8:
        return Picture(scaled(array, 8), 8)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        warnings: list[str] = []
        words = scaled_words(array, warnings)
        return Picture(words.pixels, words.depth, warnings=warnings, outliers=words.outliers)
    if array.dtype.kind == "f":
        return Picture(_checked_floats(array), 8 * array.dtype.itemsize)
    raise RejectedPicture(
        f"has the type {array.dtype}, expected uint8, uint16 or floating point in 0 to 1",
        "Convert it: array.astype('uint16') where its values are 0 to 65535",
    )


def _checked_floats(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if not np.isfinite(array).all():
        raise RejectedPicture(
            "has grey values that are no finite numbers", "Replace them, or pass another picture"
        )
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise RejectedPicture(
            f"has floating-point grey values from {low:g} to {high:g}, expected 0 to 1",
            "Divide by the largest value that the detector can deliver",
        )
    return unit_floats(array)
