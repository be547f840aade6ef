"""Derivatives of a picture along one axis, smoothed along the other, against those around them."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from kellgren.arrays import Float32Array

Plane32 = Float32Array


def smoothed(picture: Plane32, spread: float, axis: int) -> Plane32:
    """The picture, or each of a stack, blurred along one axis by a Gaussian of this standard
    deviation in pixels.
    """
    return _filtered(picture, _gaussian(spread)[0], axis)


def derivative(picture: Plane32, spread: float, axis: int) -> Plane32:
    """The derivative along one axis of the picture blurred along it: grey values per pixel."""
    return _filtered(picture, _gaussian(spread)[1], axis)


def against_surroundings(values: Plane32, reach: tuple[int, int], least: float) -> Plane32:
    """Values divided by their root mean square in the rectangle around each.

    Args:
        values: ``(..., H, W)``.
        reach: rows and columns of the rectangle to each side.
        least: added to the root mean square, so that noise does not count as an edge.
    """
    mean = values * values
    for axis, length in zip((-2, -1), reach, strict=True):
        mean = _box(mean, length, axis)
    result: Plane32 = values / (np.sqrt(np.maximum(mean, 0)) + np.float32(least))
    return result


def extended(values: np.ndarray, before: int, after: int, axis: int) -> np.ndarray:
    """The outermost values repeated so many times before the first along one axis, and after the
    last.
    """
    places = np.arange(-before, values.shape[axis] + after)
    return values.take(places, axis=axis, mode="clip")


def sums_before(values: Plane32, dtype: type[np.floating]) -> np.ndarray:
    """The sums of all values before each place and, at last, of all: ``(..., N + 1)`` of N."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype)
    np.cumsum(values, axis=-1, dtype=dtype, out=sums[..., 1:])
    return sums


@cache
def _gaussian(spread: float) -> tuple[list[np.float32], list[np.float32]]:
    """Weights of the pixels around one in a blurred picture, and in its derivative."""
    offsets = np.arange(-math.ceil(3 * spread), math.ceil(3 * spread) + 1, dtype=np.float64)
    blur = np.exp(-(offsets**2) / (2 * spread**2))
    slope = blur * offsets
    both = blur / blur.sum(), slope / (slope * offsets).sum()
    return list(both[0].astype(np.float32)), list(both[1].astype(np.float32))


def _filtered(picture: Plane32, weights: list[np.float32], axis: int) -> Plane32:
    """The correlation of each row or column with the weights, the outermost pixels repeated."""
    reach = len(weights) // 2
    lines = extended(picture, reach, reach, axis).swapaxes(0, axis)
    length = picture.shape[axis]
    result = np.zeros_like(lines[:length])
    part = np.empty_like(result)
    for offset, weight in enumerate(weights):
        np.multiply(lines[offset : offset + length], weight, out=part)
        result += part
    return result.swapaxes(0, axis)


def _box(values: Plane32, reach: int, axis: int) -> Plane32:
    """The mean of each row or column around each place, the outermost values repeated."""
    sums = np.cumsum(extended(values, reach + 1, reach, axis), axis=axis, dtype=np.float64)
    lines, whole = sums.swapaxes(0, axis), 2 * reach + 1
    mean = lines[whole:] - lines[:-whole]
    mean /= whole
    return mean.astype(np.float32).swapaxes(0, axis)
