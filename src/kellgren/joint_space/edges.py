"""The exact place of a margin along its path, and whether the picture shows it there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Float32Array, Float64Array
from kellgren.joint_space.derivatives import derivative, extended, smoothed, sums_before
from kellgren.joint_space.margins import EXACT, PLACES
from kellgren.joint_space.paths import best_paths
from kellgren.joint_space.plateau_floor import floor_rows

EDGE_PLACES = np.arange(0.08, 0.325, 1 / EXACT)
"""Where, in condylar widths from the outer edge of the condyle; the spines are left out."""
_BAND = 64  # rows to either side of the joint line
_REACH = 7  # pixels to either side of the path
_PULLS = np.array([0.03, 0.25])[:, None]
"""Lost of femur and tibia by the square of the distance from the path in pixels: a usual edge
gains 1."""
_STEP = 0.5  # pixels between samples across it
_DERIVATIVE = 1.0  # pixels
_ALONG = 2.0  # pixels by which derivatives are averaged along the margin
_LEAST_STEEP = 0.003  # grey values per pixel of a margin that is seen
_FAINT = 0.1  # of the usual steepness: less is no edge
_HIDDEN = 2.0  # of the blur: width from which the femur must have an edge of its own
_BESIDE = 3.0  # pixels from an edge, from which another one is its rival
_RIVAL = 0.9  # of its steepness: rims of the plateau that are hard to tell apart
_RIMS_FROM = 5.0  # pixels: widths below it are narrow whichever rim is taken
_RUN = 7  # places to either side over which rivals are averaged
_BLURS = (1.2, 2.4)  # pixels: standard deviations of an edge that are believed
_NARROW_SLIT, _WIDE_SLIT = 1.15, 1.4
"""In twice the blur, how far apart the steepest places are where faintness alone tells the width,
and from where on it tells nothing."""
_NO_EDGE = 0.35  # of the usual steepness: what touching bones show of the femur
_MOST_TOUCHING = 3.0  # of twice the blur: distance up to which such bones are believed to touch
_EDGE, _BONE = 2.0, 7.0  # rows from an edge: where the bone beside it begins and ends


@dataclass(frozen=True, slots=True)
class PlacedEdges:
    """Both margins of both compartments: arrays ``(2, K, 2)`` of compartment, place and bone.

    Attributes:
        below: in condylar widths below the joint line, at ``EDGE_PLACES``.
        told: whether the picture shows an edge there.
        rims: ``(2, K)``: where the tibia's edge has another beside it that is as steep.
    """

    below: Float64Array
    told: np.ndarray
    rims: np.ndarray


def place_edges(joints: Float32Array, margins: Float64Array) -> list[PlacedEdges]:
    """Place both margins of both compartments exactly, in each look at a joint.

    Args:
        joints: straightened, as `find_margins` takes them.
        margins: as that gives them.
    """
    middle, side = joints.shape[1] // 2, joints.shape[2]
    left = np.round((side - EXACT) / 2 + EDGE_PLACES * EXACT - 0.5).astype(int)
    columns = np.stack((left, side - 1 - left), axis=1)
    band = joints[:, middle - _BAND : middle + _BAND, columns]
    grey = np.ascontiguousarray(band.transpose(2, 0, 3, 1))  # (K, L, 2, H)
    steep = derivative(grey, _DERIVATIVE, -1)
    softened = _softened(margins, 1).reshape(len(PLACES), -1)
    rough = np.stack([np.interp(EDGE_PLACES, PLACES, one) for one in softened.T], axis=1)
    at = rough.reshape(*grey.shape[:3], 2) * EXACT + _BAND - 0.5  # of femur and tibia
    at[..., 1] = floor_rows(grey, steep, at[..., 1])
    rows, steepness, blur, rival = _along(steep, at)
    spread = np.array([_spread(look) for look in blur.swapaxes(0, 1)])[:, None]
    apart = _apart(rows, steepness, spread, _darker(grey, rows) > 0)
    told, rims = _told(steepness, rival, apart[..., 1] - apart[..., 0], spread)
    below = (_softened(apart, 3) + (0.5 - _BAND)) / EXACT
    by_look = (np.moveaxis(found, 0, 2) for found in (below, told, rims))
    return [PlacedEdges(*look) for look in zip(*by_look, strict=True)]


def _spread(blur: Float64Array) -> float:
    """The usual blur of a look, of all its edges that have one."""
    known = blur[np.isfinite(blur)]
    return float(np.clip(np.median(known), *_BLURS)) if known.size else _BLURS[0]


def _told(
    steepness: Float64Array, rival: Float64Array, width: Float64Array, spread: Float64Array
) -> tuple[np.ndarray, np.ndarray]:
    """Where each margin is told: by an edge that is steep enough. Where bones touch, the femur has
    none of its own. And where the tibia's has another beside it: rims of the plateau that overlap.
    """
    usual = np.percentile(steepness, 75, axis=(0, 2))[:, None]  # of each look and bone
    told = (steepness > _FAINT * usual) & (usual > _LEAST_STEEP)
    told[..., 0] |= (width < _HIDDEN * spread) & (usual[..., 0] > _LEAST_STEEP)
    rims = _softened(rival[..., 1], _RUN) >= _RIVAL * _softened(steepness[..., 1], _RUN)
    return told, rims & (width > _RIMS_FROM)


def _softened(paths: Float64Array, reach: int) -> Float64Array:
    """Paths ``(K, ...)``, steps of single pixels smoothed away along each."""
    kernel = np.concatenate((np.arange(1, reach + 2), np.arange(reach, 0, -1)))
    padded = extended(paths.reshape(len(paths), -1).T, reach, reach, -1)
    smooth = np.convolve(padded.ravel(), kernel / kernel.sum(), "same").reshape(padded.shape)
    return smooth[:, reach:-reach].T.reshape(paths.shape)


def _along(
    steep: Float32Array, rows: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Row of the steepest place near each of ``rows``, to a fraction of a pixel; how steep it is;
    the standard deviation in pixels of the edge there; and how steep the steepest other edge is.

    Args:
        steep: ``(K, L, 2, H)`` of place, look, compartment and row: derivative downwards.
        rows: ``(K, L, 2, 2)`` of place, look, compartment and bone.
    """
    across = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    at = np.clip(rows[..., None] + across, 0, steep.shape[3] - 1.001)
    whole = np.floor(at).astype(int)
    part = (at - whole).astype(np.float32)
    first = np.arange(0, steep.size, steep.shape[3]).reshape(*steep.shape[:3], 1, 1)
    values, first = steep.ravel(), first + whole
    band = (1 - part) * values[first] + part * values[first + 1]
    band[..., 0, :] *= -1  # the femur ends where it gets darker
    band = smoothed(band, _ALONG, 0)  # (K, L, 2, 2, across)
    usual = np.sqrt(np.mean(np.square(band.max(axis=4)), axis=0)) + 1e-6
    gain = np.clip(band / usual[..., None], -0.5, 1)
    gain -= (_PULLS * across**2).astype(np.float32)
    gains = gain.astype(np.float32, copy=False).reshape(len(gain), -1, len(across))
    path = best_paths(gains, 1, 0.1)
    path = np.clip(path, 1, len(across) - 2).reshape(*rows.shape, 1)
    before, middle, after = (
        np.take_along_axis(band, path + offset, axis=4)[..., 0] for offset in (-1, 0, 1)
    )
    bend = before - 2 * middle + after
    is_peak = (bend < -1e-9) & (middle > 0)
    safe = np.where(is_peak, bend, -1.0)
    moved = np.where(is_peak, (before - after) / (2 * safe), 0.0)
    exact = across[path[..., 0]] + _STEP * np.clip(moved, -1, 1)
    blur = np.where(is_peak, _STEP * np.sqrt(np.maximum(middle, 0) / -safe), np.nan)
    peak = (band[..., 1:-1] >= band[..., :-2]) & (band[..., 1:-1] >= band[..., 2:])
    peak &= np.abs(across[1:-1] - across[path]) >= _BESIDE
    rival = np.where(peak, band[..., 1:-1], 0).max(axis=4)
    found = exact + rows, middle, blur, rival
    one, two, three, four = (np.asarray(f, dtype=np.float64) for f in found)
    return one, two, three, four


def _darker(grey: Float32Array, rows: Float64Array) -> Float64Array:
    """How much darker it is between two rows than in the bones beside them: ``(K, L, 2)``.

    Args:
        grey: ``(K, L, 2, H)`` of place, look, compartment and row.
        rows: ``(K, L, 2, 2)`` of femur and tibia.
    """
    sums = sums_before(grey, np.float64)
    femur, tibia = rows[..., 0], rows[..., 1]
    rim = (tibia - femur) / 4  # blurred edges take part in neither
    ends = np.stack(
        (
            *(femur - _BONE, femur + rim, tibia + _EDGE),
            *(femur - _EDGE, tibia - rim, tibia + _BONE),
        ),
        axis=-1,
    )
    first, last = np.split(np.round(ends).astype(int).clip(0, grey.shape[3]), 2, axis=3)
    last = np.maximum(last, first + 1).clip(None, grey.shape[3])
    total = np.take_along_axis(sums, last, axis=3) - np.take_along_axis(sums, first, axis=3)
    above, between, below = np.moveaxis(total / np.maximum(last - first, 1), -1, 0)
    return _softened(np.minimum(above, below) - between, 2)


def _apart(
    rows: Float64Array, steepness: Float64Array, blur: Float64Array, is_space: np.ndarray
) -> Float64Array:
    """The margins where they are, not where their blurred edges are steepest.

    Across a space that is narrow against the blur, both steepest places lie outside the margins,
    never nearer to each other than two standard deviations of the blur. There, the femur's edge
    tells the width by how faint it is against those of the same knee across a wide space.
    Where it is faint and ``is_space`` false, nothing darker than bone being seen, the bones touch,
    however far above the tibia's an edge was found.
    """
    seen = (rows[..., 1] - rows[..., 0]) / (2 * blur)
    by_place = np.interp(seen, _SLIT[1], _SLIT[0])
    femur = steepness[..., 0]
    faintness = femur / _usual_across_wide(femur, seen > _WIDE_SLIT)
    by_faintness = np.interp(faintness, _SLIT[2], _SLIT[0])
    trust = np.interp(seen, (_NARROW_SLIT, _WIDE_SLIT), (0.0, 1.0))
    trust = np.where((faintness < _NO_EDGE) & (seen < _MOST_TOUCHING), 0.0, trust)
    half = trust * by_place + (1 - trust) * np.minimum(by_place, by_faintness)
    shift = (seen - half) * blur
    apart = np.stack((rows[..., 0] + shift, rows[..., 1] - shift), axis=-1)
    touching = _softened((faintness < _NO_EDGE) & ~is_space, _RUN) > 0.5
    apart[..., 0] = np.where(touching, apart[..., 1], apart[..., 0])
    return apart


def _usual_across_wide(steepness: Float64Array, is_wide: np.ndarray) -> Float64Array:
    """How steep the edges across wide spaces are in each look, ``(L, 1)``; all, where none is."""
    usual = [
        np.percentile(look[wide] if wide.any() else look, 75)
        for look, wide in zip(steepness.swapaxes(0, 1), is_wide.swapaxes(0, 1), strict=True)
    ]
    return np.maximum(usual, 1e-6)[:, None]


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
