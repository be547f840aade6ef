"""Labels burned in far brighter than the film: left out of what is graded, as if not there."""

from __future__ import annotations

import numpy as np
from PIL import Image

from kellgren.arrays import Float32Array, IntArray, Mask
from kellgren.imaging.grey_range import grown
from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import Plane
from kellgren.localisation.shapes import shapes

_TALLEST = 0.12  # height of a letter, of the film's: what is taller is no label
_SLIM = 1.5  # width over height, at most
_GAP = 0.8  # of the taller one's height, between two letters of a line
_LEAST_LETTERS = 3
_MOST_LETTERS = 300
_MOST = 0.1  # of the film's pixels
_EDGE = 2  # pixels around a letter that its soft edge lies in
_MARGIN = 10  # pixels around it whose grey values serve


def without_labels(radiograph: Radiograph) -> Plane:
    """The grey values ``(H, W)`` with labels filled; the radiograph's own where there are none."""
    label = None if radiograph.outliers is None else label_mask(radiograph.outliers)
    return radiograph.pixels if label is None else filled(radiograph.pixels, label)


def label_mask(outliers: Mask) -> Mask | None:
    """Where writing lies; ``None``: nowhere.

    Args:
        outliers: ``(H, W)`` pixels far brighter or darker than all others. Shapes as small and as
            slim as letters, three or more in a line, are writing. A frame, a large opaque part or
            a screw is none, and no single letter: the gate is to judge them.
    """
    letters = _letters(outliers)
    if not letters.size:
        return None
    writing = np.zeros_like(outliers)
    for left, top, right, bottom in letters[_in_lines(letters)].tolist():
        writing[top:bottom, left:right] |= outliers[top:bottom, left:right]
    if not writing.any() or writing.mean() > _MOST:
        return None
    return grown(writing, _EDGE)


def _letters(outliers: Mask) -> IntArray:
    """Boxes of the shapes that may be letters: left, top, right and bottom of each."""
    boxes = shapes(outliers)
    tall, wide = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    are_small = (tall <= _TALLEST * outliers.shape[0]) & (wide <= np.maximum(_SLIM * tall, 3))
    found = boxes[are_small]
    return found if len(found) <= _MOST_LETTERS else boxes[:0]


def _in_lines(boxes: IntArray) -> Mask:
    """Which of the boxes stand in a line of three or more: side by side, and close."""
    left, top, right, bottom = boxes.T
    tall = np.maximum(bottom - top, 1)
    higher = np.maximum(tall, tall[:, None])
    shared = np.minimum(bottom, bottom[:, None]) - np.maximum(top, top[:, None])
    gap = np.maximum(left, left[:, None]) - np.minimum(right, right[:, None])
    beside = (shared > 0) & (gap <= _GAP * higher)  # full stops and colons are less tall
    reach = beside.astype(np.int64)
    for _ in range(int(np.ceil(np.log2(len(boxes) + 1)))):
        reach = (reach @ reach > 0).astype(np.int64)
    return np.asarray((reach * (2 * tall >= higher)).sum(axis=1) >= _LEAST_LETTERS)


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
