"""The exact place of a margin along its path, and whether the picture shows it there."""

from __future__ import annotations

import numpy as np

from kellgren.arrays import Float32Array, Float64Array
from kellgren.joint_space.derivatives import derivative, smoothed
from kellgren.joint_space.margins import PLACES, Straightened
from kellgren.joint_space.paths import best_path

CONDYLES = 256
"""Condylar width in pixels, at which edges are placed: about that of the training crops."""
EDGE_PLACES = np.arange(0.07, 0.36, 1 / CONDYLES)
_REACH = 5  # pixels to either side of the path
_STEP = 0.5  # pixels between samples across it
_DERIVATIVE = 1.0  # pixels
_ALONG = 2.0  # pixels by which derivatives are averaged along the margin


def place_edges(joint: Straightened, margins: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Place both margins of both compartments exactly.

    Args:
        joint: straightened, of a condylar width of ``CONDYLES`` pixels.
        margins: as `find_margins` gives them.

    Returns:
        ``(2, K, 2)`` at ``EDGE_PLACES``, in condylar widths below the joint line; and how steep
        each edge is, in grey values per pixel.
    """
    side = joint.pixels.shape[0]
    steep = derivative(joint.pixels, _DERIVATIVE, 0)
    left = np.round((side - CONDYLES) / 2 + EDGE_PLACES * CONDYLES - 0.5).astype(int)
    placed = np.empty((2, len(EDGE_PLACES), 2))
    steepness = np.empty_like(placed)
    for compartment, columns in enumerate((left, side - 1 - left)):
        for bone, sign in enumerate((-1, 1)):
            rough = np.interp(EDGE_PLACES, PLACES, _softened(margins[compartment, :, bone]))
            rows = rough * CONDYLES + side / 2 - 0.5
            found = _along(sign * steep, rows, columns)
            placed[compartment, :, bone] = (found[0] + 0.5 - side / 2) / CONDYLES
            steepness[compartment, :, bone] = found[1]
    return placed, steepness


def _softened(path: Float64Array) -> Float64Array:
    """Steps of whole pixels smoothed away."""
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    return np.convolve(np.pad(path, 2, "edge"), kernel, "valid")


def _along(
    steep: Float32Array, rows: Float64Array, columns: np.ndarray
) -> tuple[Float64Array, Float64Array]:
    """Row of the steepest place near each of ``rows``, to a fraction of a pixel, and its value."""
    across = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    at = np.clip(rows[:, None] + across, 0, steep.shape[0] - 1.001)
    whole = np.floor(at).astype(int)
    part = (at - whole).astype(np.float32)
    band = (1 - part) * steep[whole, columns[:, None]] + part * steep[whole + 1, columns[:, None]]
    band = smoothed(band.astype(np.float32), _ALONG, 0)
    usual = np.sqrt(np.mean(np.square(band.max(axis=1)))) + 1e-6
    path = best_path(np.clip(band / usual, -0.5, 1.5), 1, 0.1)
    places = np.arange(len(path))
    inner = np.clip(path, 1, len(across) - 2)
    before, middle, after = (band[places, inner + offset] for offset in (-1, 0, 1))
    bend = before - 2 * middle + after
    moved = np.where(bend < -1e-9, (before - after) / (2 * np.minimum(bend, -1e-9)), 0.0)
    exact = rows + across[inner] + _STEP * np.clip(moved, -1, 1)
    return exact, middle.astype(np.float64)
