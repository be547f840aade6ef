"""Labels burned in far brighter than the film: left out of what is graded, as if not there."""

from __future__ import annotations

import numpy as np
from PIL import Image

from kellgren.arrays import Float32Array, Mask
from kellgren.imaging.grey_range import grown
from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import Plane
from kellgren.localisation.shapes import shapes

_TALLEST = 0.12  # height of a letter, of the film's: what is taller is no label
_MOST = 0.1  # of the film's pixels
_EDGE = 2  # pixels around a letter that its soft edge lies in
_MARGIN = 10  # pixels around it whose grey values serve


def without_labels(radiograph: Radiograph) -> Plane:
    """The grey values ``(H, W)`` with labels filled; the radiograph's own where there are none."""
    label = None if radiograph.outliers is None else label_mask(radiograph.outliers)
    return radiograph.pixels if label is None else filled(radiograph.pixels, label)


def label_mask(outliers: Mask) -> Mask | None:
    """Where a label lies; ``None``: nowhere.

    Args:
        outliers: ``(H, W)`` pixels far brighter or darker than all others. What of them is as
            small as letters, and stands within the picture, is a label; a frame, a border or a
            large opaque part is none.
    """
    height, width = outliers.shape
    small = np.zeros_like(outliers)
    for left, top, right, bottom in shapes(outliers):
        is_inside = left > 0 and top > 0 and right < width and bottom < height
        if is_inside and bottom - top <= max(3, _TALLEST * height):
            small[top:bottom, left:right] |= outliers[top:bottom, left:right]
    if not small.any() or small.mean() > _MOST:
        return None
    return grown(small, _EDGE)


def filled(pixels: Plane, label: Mask) -> Plane:
    """The picture with its label replaced by the grey values around it, from coarse to fine.

    Args:
        pixels: ``(H, W)``.
        label: of the same shape, not everywhere.
    """
    rows, columns = (np.flatnonzero(label.any(axis=axis)) for axis in (1, 0))
    box = (
        slice(max(0, rows[0] - _MARGIN), rows[-1] + _MARGIN + 1),
        slice(max(0, columns[0] - _MARGIN), columns[-1] + _MARGIN + 1),
    )
    free = (~label[box]).astype(np.float32)
    repaired = pixels.copy()
    repaired[box] = np.where(label[box], _smooth(pixels[box] * free, free), pixels[box])
    return repaired


def _smooth(sums: Float32Array, weights: Float32Array) -> Float32Array:
    """Weighted means of the pixels around each, from as near as there are any."""
    known = np.minimum(weights, 1)
    means = sums / np.maximum(weights, 1e-6)
    if known.min() >= 1 or min(sums.shape) < 2:
        return np.asarray(means, dtype=np.float32)
    half = (max(1, (sums.shape[1] + 1) // 2), max(1, (sums.shape[0] + 1) // 2))
    coarse = _smooth(_resized(sums, half), _resized(weights, half))
    around = _resized(coarse, (sums.shape[1], sums.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(known * means + (1 - known) * around, dtype=np.float32)


def _resized(
    plane: Float32Array,
    size: tuple[int, int],
    kernel: Image.Resampling = Image.Resampling.BOX,
) -> Float32Array:
    return np.asarray(Image.fromarray(plane).resize(size, kernel), dtype=np.float32)
