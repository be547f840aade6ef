"""The exact place of a margin along its path, and whether the picture shows it there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Float32Array, Float64Array
from kellgren.joint_space.derivatives import derivative, smoothed
from kellgren.joint_space.margins import PLACES, Straightened
from kellgren.joint_space.paths import best_path

CONDYLES = 256
"""Condylar width in pixels, at which edges are placed: about that of the training crops."""
EDGE_PLACES = np.arange(0.07, 0.36, 1 / CONDYLES)
"""Where, in condylar widths from the outer edge of the condyle; the spines are left out."""
_REACH = 5  # pixels to either side of the path
_STEP = 0.5  # pixels between samples across it
_DERIVATIVE = 1.0  # pixels
_ALONG = 2.0  # pixels by which derivatives are averaged along the margin
_BLURS = (1.2, 2.4)  # pixels: standard deviations of an edge that are believed
_NARROW_SLIT, _WIDE_SLIT = 1.15, 1.4
"""Widths, as the steepest places show them, in twice the blur: up to and from which ..."""
_NO_EDGE = 0.35  # of the usual steepness: what touching bones show of the femur
_MOST_TOUCHING = 3.0  # of twice the blur: distance up to which such bones are believed to touch


@dataclass(frozen=True, slots=True)
class PlacedEdges:
    """Both margins of both compartments: arrays ``(2, K, 2)`` of compartment, place and bone.

    Attributes:
        below: in condylar widths below the joint line, at ``EDGE_PLACES``.
        steepness: of the edges, in grey values per pixel.
    """

    below: Float64Array
    steepness: Float64Array


def place_edges(joint: Straightened, margins: Float64Array) -> PlacedEdges:
    """Place both margins of both compartments exactly.

    Args:
        joint: straightened, of a condylar width of ``CONDYLES`` pixels.
        margins: as `find_margins` gives them.
    """
    side = joint.pixels.shape[0]
    steep = derivative(joint.pixels, _DERIVATIVE, 0)
    left = np.round((side - CONDYLES) / 2 + EDGE_PLACES * CONDYLES - 0.5).astype(int)
    rows, steepness, blur = np.empty((3, 2, len(EDGE_PLACES), 2))
    for compartment, columns in enumerate((left, side - 1 - left)):
        for bone, sign in enumerate((-1, 1)):
            rough = np.interp(EDGE_PLACES, PLACES, _softened(margins[compartment, :, bone], 2))
            at = rough * CONDYLES + side / 2 - 0.5
            found = _along(sign * steep, at, columns)
            rows[compartment, :, bone], steepness[compartment, :, bone] = found[:2]
            blur[compartment, :, bone] = found[2]
    rows = _apart(rows, steepness, float(np.clip(np.nanmedian(blur), *_BLURS)))
    for compartment in range(2):
        for bone in range(2):
            rows[compartment, :, bone] = _softened(rows[compartment, :, bone], 3)
    return PlacedEdges((rows + 0.5 - side / 2) / CONDYLES, steepness)


def _softened(path: Float64Array, reach: int) -> Float64Array:
    """Steps of single pixels smoothed away."""
    kernel = np.concatenate((np.arange(1, reach + 2), np.arange(reach, 0, -1)))
    return np.convolve(np.pad(path, reach, "edge"), kernel / kernel.sum(), "valid")


def _along(
    steep: Float32Array, rows: Float64Array, columns: np.ndarray
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Row of the steepest place near each of ``rows``, to a fraction of a pixel; how steep it is;
    and the standard deviation in pixels of the edge there.
    """
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
    is_peak = (bend < -1e-9) & (middle > 0)
    safe = np.where(is_peak, bend, -1.0)
    moved = np.where(is_peak, (before - after) / (2 * safe), 0.0)
    exact = rows + across[inner] + _STEP * np.clip(moved, -1, 1)
    blur = np.where(is_peak, _STEP * np.sqrt(np.maximum(middle, 0) / -safe), np.nan)
    return exact, middle.astype(np.float64), blur


def _apart(rows: Float64Array, steepness: Float64Array, blur: float) -> Float64Array:
    """The margins where they are, not where their blurred edges are steepest.

    Across a space that is narrow against the blur, both steepest places lie outside the margins,
    never nearer to each other than two standard deviations of the blur. There, the femur's edge
    tells the width by how faint it is against those of the same knee across a wide space.
    """
    seen = (rows[..., 1] - rows[..., 0]) / (2 * blur)
    by_place = np.interp(seen, _SLIT[1], _SLIT[0])
    femur = steepness[..., 0]
    wide = femur[seen > _WIDE_SLIT]
    usual = np.percentile(wide if wide.size else femur, 75)
    faintness = femur / max(float(usual), 1e-6)
    by_faintness = np.interp(faintness, _SLIT[2], _SLIT[0])
    trust = np.interp(seen, (_NARROW_SLIT, _WIDE_SLIT), (0.0, 1.0))
    trust = np.where((faintness < _NO_EDGE) & (seen < _MOST_TOUCHING), 0.0, trust)
    half = trust * by_place + (1 - trust) * np.minimum(by_place, by_faintness)
    shift = (seen - half) * blur
    return np.stack((rows[..., 0] + shift, rows[..., 1] - shift), axis=-1)


def _slit() -> tuple[Float64Array, Float64Array, Float64Array]:
    """A slit between bones, blurred: half its width in standard deviations of the blur; likewise
    the half-width that its steepest places show; how steep they are against a lone edge.

    With b the half-width, the steepest places lie at a and -a with artanh(b / a) = a b.
    """
    half = np.concatenate((np.arange(0.02, 4, 0.02), [40.0]))
    low, high = np.maximum(half, 1.0), half + 1.0
    for _ in range(50):
        middle = (low + high) / 2
        is_low = np.arctanh(np.minimum(half / middle, 1 - 1e-15)) > middle * half
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    steep = np.exp(-((low - half) ** 2) / 2) - np.exp(-((low + half) ** 2) / 2)
    steep = np.maximum.accumulate(steep)
    return (
        np.concatenate(([0.0, 0.0], half)),
        np.concatenate(([0.0, 1.0], low)),
        np.concatenate(([-1.0, 0.0], steep)),
    )


_SLIT = _slit()
