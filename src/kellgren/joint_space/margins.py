"""The margins of femur and tibia in the frame of the joint, both of a compartment found as one."""

from __future__ import annotations

import numpy as np

from kellgren.arrays import Float32Array, Float64Array
from kellgren.joint_space.derivatives import against_surroundings, derivative, smoothed
from kellgren.joint_space.paths import NEVER, best_pairs
from kellgren.knee import Plane, Region
from kellgren.localisation.crop import cut

EXACT = 256
"""Condylar width in pixels of a straightened picture: about that of the training crops."""
CONDYLES = EXACT // 2
"""Condylar width in pixels, at which the margins are looked for."""
_STEP = 2  # pixels from a place to the next
PLACES = np.arange(0.065, 0.365, _STEP / CONDYLES)
"""Where, in condylar widths from the outer edge of the condyle: up to the notch and the spines."""
FRAME = 1.25
"""Side of the square that is cut, in condylar widths."""
HALF_BAND = 80
"""Rows of a straightened picture above the joint line, and below it."""
_TOP, _BOTTOM = -28, 22  # rows against the joint line
_ROWS = np.arange(_TOP, _BOTTOM)
_PAD = 10  # rows more, for filters
_WIDTHS = np.arange(25)  # rows from the femur's to the tibia's
_WIDE = 16  # more is unusual
_TOUCHING = 4  # widths up to which bones may touch, so that no edge of the femur is seen
_UNSEEN = 1.2  # worth of an edge that touching bones hide: a seen one has about 2
_KNOTS = (0.06, 0.13, 0.20, 0.27, 0.34, 0.39)
_SLOPES = (  # pixels per place: the usual run of femur and of tibia, downwards and inwards
    _STEP * np.interp(PLACES, _KNOTS, (0.15, 0.03, -0.1, -0.3, -0.6, -0.7)),
    _STEP * np.interp(PLACES, _KNOTS, (0.0, 0.06, 0.0, -0.15, -0.5, -0.6)),
)
_REACH = 3  # rows by which a margin may change from a place to the next
_STIFFNESS = 0.1
_DARKNESS = 0.6  # worth of a space darker than the bone on either side
_LINE = 1.6  # worth of a bright line below the tibia's edge
_BONE = 4  # rows of bone that it is compared with


def straightened(crop: Plane, square: Region) -> Plane:
    """The joint cut level, of a condylar width of ``EXACT`` pixels; see `find_margins`."""
    side = round(FRAME * EXACT)
    return cut(crop, square, side, rows=(side // 2 - HALF_BAND, side // 2 + HALF_BAND))


def find_margins(joint: Plane) -> Float64Array:
    """Find both margins in both compartments.

    Args:
        joint: ``FRAME`` condylar widths of ``EXACT`` pixels wide and twice ``HALF_BAND`` high; its
            line level and half-way down, the condyles centred.

    Returns:
        ``(2, K, 2)``: of the left and the right compartment at ``PLACES``, counted from the outer
        edge of the condyle: femur and tibia, in condylar widths below the joint line.
    """
    side, middle = joint.shape[1] // 2, joint.shape[0] // 4
    top, bottom = middle + _TOP - _PAD, middle + _BOTTOM + _PAD
    band = joint[2 * top : 2 * bottom].reshape(bottom - top, 2, side, 2).mean(axis=(1, 3))
    left = np.round((side - CONDYLES) / 2 + PLACES * CONDYLES - 0.5).astype(int)
    columns = np.stack((left, side - 1 - left), axis=1)  # (K, 2)
    edges = smoothed(derivative(band, 0.9, 0), 1.2, 1)
    edges = against_surroundings(edges, (12, 10), 1.5e-3)[_PAD:-_PAD, columns].transpose(1, 2, 0)
    grey = smoothed(band, 1.0, 1)[:, columns].transpose(1, 2, 0)
    gain = _gain(edges, grey)
    slopes = _SLOPES[0][:-1], _SLOPES[1][:-1]
    path = best_pairs(gain, slopes, _REACH, _STIFFNESS)
    below: Float64Array = (path + (_TOP + 0.5)) / CONDYLES
    return below


def _gain(edges: Float32Array, grey: Float32Array) -> Float32Array:
    """What a place of the femur and a width are worth: edges of the right sign, a dark space.

    Args:
        edges: ``(K, 2, H)``, bright below positive.
        grey: ``(K, 2, H + 2 * pad)``.

    Returns:
        ``(K, 2, H, W)`` of the row of the femur, and of the rows from it to that of the tibia.
    """
    femur, tibia = np.clip(-edges, -0.5, 2.5), np.clip(edges, -0.5, 2.5)
    usual = np.cumsum(_SLOPES[0])
    usual = usual - usual[int(0.12 * CONDYLES / _STEP)] - 3
    away = np.minimum(np.abs(_ROWS - usual[:, None]), 16)
    femur = femur - (0.012 * away**2).astype(np.float32)[:, None]
    rows = np.arange(len(_ROWS))[:, None] + _WIDTHS
    inside = np.minimum(rows, len(_ROWS) - 1)
    gain: Float32Array = np.repeat(femur[..., None], len(_WIDTHS), axis=3)
    np.maximum(gain[..., :_TOUCHING], np.float32(_UNSEEN), out=gain[..., :_TOUCHING])
    tibia = tibia + np.float32(_LINE) * _brightness(grey)
    gain += tibia[..., inside]
    gain += np.float32(_DARKNESS) * _darkness(grey, inside)
    gain -= (0.01 * _WIDTHS + 0.05 * np.maximum(_WIDTHS - _WIDE, 0)).astype(np.float32)
    gain[..., rows >= len(_ROWS)] = NEVER
    return gain


def _brightness(grey: Float32Array) -> Float32Array:
    """How bright it is right below each row, -1..1.5, by the grey values' usual differences: the
    plateau's floor is the brightest line, its rims are fainter.
    """
    rows = np.arange(len(_ROWS)) + _PAD
    below = (grey[..., rows + 1] + grey[..., rows + 2]) / 2
    around = grey[..., _PAD:-_PAD]
    usual = around.std(axis=2, keepdims=True) + np.float32(1e-3)
    brighter: Float32Array = (below - around.mean(axis=2, keepdims=True)) / usual
    return brighter.clip(-1, 1.5)


def _darkness(grey: Float32Array, lower: np.ndarray) -> Float32Array:
    """How much darker a space is than the bone above and below it, -4..1, by the grey values'
    usual differences; ``lower``: ``(H, W)`` row of the tibia.
    """
    sums = np.cumsum(np.pad(grey, ((0, 0), (0, 0), (1, 0))), axis=2, dtype=np.float32)
    rows = np.arange(len(_ROWS)) + _PAD
    above = (sums[..., rows] - sums[..., rows - _BONE]) / _BONE
    below = (sums[..., rows + _BONE + 1] - sums[..., rows + 1]) / _BONE
    rows_inside = (lower - np.arange(len(_ROWS))[:, None] + 1).clip(1).astype(np.float32)
    inside = (sums[..., lower + _PAD + 1] - sums[..., rows, None]) / rows_inside
    usual = grey[..., _PAD:-_PAD].std(axis=2).mean(axis=0) + np.float32(1e-3)
    darker: Float32Array = np.minimum(above[..., None], below[..., lower]) - inside
    darker /= usual[:, None, None]
    # A space as bright as bone is none: it loses twice what a dark one gains.
    return np.where(darker < 0, 2 * darker.clip(-2), darker.clip(max=1))
