"""Derivatives of a picture along one axis, smoothed along the other, against those around them."""

from __future__ import annotations

import math

import numpy as np

from kellgren.arrays import Float32Array

Plane32 = Float32Array


def smoothed(picture: Plane32, spread: float, axis: int) -> Plane32:
    """The picture blurred along one axis by a Gaussian of this standard deviation in pixels."""
    offsets = _offsets(spread)
    weights = np.exp(-(offsets**2) / (2 * spread**2))
    return _filtered(picture, weights / weights.sum(), axis)


def derivative(picture: Plane32, spread: float, axis: int) -> Plane32:
    """The derivative along one axis of the picture blurred along it: grey values per pixel."""
    offsets = _offsets(spread)
    weights = np.exp(-(offsets**2) / (2 * spread**2))
    weights *= offsets
    return _filtered(picture, weights / (weights * offsets).sum(), axis)


def against_surroundings(values: Plane32, reach: tuple[int, int], least: float) -> Plane32:
    """Values divided by their root mean square in the rectangle around each.

    Args:
        values: ``(H, W)``.
        reach: rows and columns of the rectangle to each side.
        least: added to the root mean square, so that noise does not count as an edge.
    """
    mean = values * values
    for axis, length in enumerate(reach):
        mean = _box(mean, length, axis)
    result: Plane32 = values / (np.sqrt(np.maximum(mean, 0)) + np.float32(least))
    return result


def _offsets(spread: float) -> np.ndarray:
    reach = math.ceil(3 * spread)
    return np.arange(-reach, reach + 1, dtype=np.float64)


def _filtered(picture: Plane32, weights: np.ndarray, axis: int) -> Plane32:
    """The correlation of each row or column with the weights, the outermost pixels repeated."""
    reach = len(weights) // 2
    padded = np.pad(picture, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], "edge")
    length = picture.shape[axis]
    result = np.zeros_like(picture)
    for offset, weight in enumerate(weights.astype(np.float32)):
        part = (
            padded[offset : offset + length] if axis == 0 else padded[:, offset : offset + length]
        )
        result += weight * part
    return result


def _box(values: Plane32, reach: int, axis: int) -> Plane32:
    widths = [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)]
    sums = np.cumsum(np.pad(values, widths, "edge"), axis=axis, dtype=np.float64)
    length, whole = values.shape[axis], 2 * reach + 1
    if axis == 0:
        return ((sums[whole:] - sums[:length]) / whole).astype(np.float32)
    return ((sums[:, whole:] - sums[:, :length]) / whole).astype(np.float32)
