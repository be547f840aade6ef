"""The margins of femur and tibia in the frame of the joint, both of a compartment found as one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kellgren.arrays import Float32Array, Float64Array
from kellgren.joint_space.derivatives import (
    against_surroundings,
    derivative,
    extended,
    smoothed,
    sums_before,
)
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


def find_margins(joints: Float32Array) -> Float64Array:
    """Find both margins in both compartments, in each look at a joint.

    Args:
        joints: ``(L, H, W)``, each ``FRAME`` condylar widths of ``EXACT`` pixels wide and twice
            ``HALF_BAND`` high; its line level and half-way down, the condyles centred.

    Returns:
        ``(K, L, 2, 2)``: at ``PLACES``, counted from the outer edge of the condyle, of each look
        the left and the right compartment: femur and tibia, in condylar widths below the joint
        line.
    """
    side, middle = joints.shape[2] // 2, joints.shape[1] // 4
    top, bottom = middle + _TOP - _PAD, middle + _BOTTOM + _PAD
    fine = joints[:, 2 * top : 2 * bottom]
    pairs = fine[..., ::2] + fine[..., 1::2]
    band = np.float32(0.25) * (pairs[:, ::2] + pairs[:, 1::2])
    left = np.round((side - CONDYLES) / 2 + PLACES * CONDYLES - 0.5).astype(int)
    columns = np.stack((left, side - 1 - left), axis=1)  # (K, 2)
    edges = smoothed(derivative(band, 0.9, -2), 1.2, -1)
    edges = against_surroundings(edges, (12, 10), 1.5e-3)[:, _PAD:-_PAD]
    grey = smoothed(band, 1.0, -1)
    gain = _gain(*(_by_place(plane[..., columns]) for plane in (edges, grey)))
    slopes = _SLOPES[0][:-1], _SLOPES[1][:-1]
    path = best_pairs(gain, slopes, _REACH, _STIFFNESS)
    below: Float64Array = (path + (_TOP + 0.5)) / CONDYLES
    return below.reshape(len(PLACES), len(joints), 2, 2)


def _by_place(columns: Float32Array) -> Float32Array:
    """``(K, C, H)`` of ``(L, H, K, 2)``: C are the compartments of all looks."""
    ordered = columns.transpose(2, 0, 3, 1)
    return ordered.reshape(len(ordered), -1, columns.shape[1])


def _gain(edges: Float32Array, grey: Float32Array) -> Float32Array:
    """What a place of the femur and a width are worth: edges of the right sign, a dark space.

    Args:
        edges: ``(K, C, H)``, bright below positive.
        grey: ``(K, C, H + 2 * pad)``.

    Returns:
        ``(K, W, H, C)`` of the rows from the femur to the tibia, and of the row of the femur.
    """
    femur, tibia = np.clip(-edges, -0.5, 2.5), np.clip(edges, -0.5, 2.5)
    usual = np.cumsum(_SLOPES[0])
    usual = usual - usual[int(0.12 * CONDYLES / _STEP)] - 3
    away = np.minimum(np.abs(_ROWS - usual[:, None]), 16)
    femur -= (0.012 * away**2).astype(np.float32)[:, None]
    gain: Float32Array = np.repeat(_upper(femur), len(_WIDTHS), axis=1)
    np.maximum(gain[:, :_TOUCHING], np.float32(_UNSEEN), out=gain[:, :_TOUCHING])
    gain += _lower(tibia + np.float32(_LINE) * _brightness(grey))
    for own, worth in zip(gain, _darkness(grey), strict=True):
        own += worth
    lost = 0.01 * _WIDTHS + 0.05 * np.maximum(_WIDTHS - _WIDE, 0)
    gain -= lost.astype(np.float32)[:, None, None]
    gain[:, _WIDTHS[:, None] + np.arange(len(_ROWS)) >= len(_ROWS)] = NEVER
    return gain


def _upper(values: Float32Array) -> Float32Array:
    """Values at the row of the femur, ``(K, 1, H, C)`` of ``(K, C, H)``."""
    return values.swapaxes(1, 2)[:, None].copy()


def _lower(values: Float32Array) -> Float32Array:
    """Values at the row of the tibia, ``(K, W, H, C)`` of ``(K, C, H)``; the last ones go on."""
    rows = extended(values, 0, len(_WIDTHS) - 1, -1).swapaxes(1, 2).copy()
    return sliding_window_view(rows, len(_ROWS), axis=1).swapaxes(2, 3)


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


def _darkness(grey: Float32Array) -> Iterator[Float32Array]:
    """What a space is worth that is darker than the bone above and below it, by the grey values'
    usual differences: ``(W, H, C)`` at each place, one after the other to stay in quick memory.
    """
    sums = sums_before(grey, np.float32)
    before, after = sums[..., _PAD : -_PAD - 1], sums[..., _PAD + 1 : -_PAD]
    above = (before - sums[..., _PAD - _BONE : -_PAD - _BONE - 1]) / _BONE
    below = (sums[..., _PAD + _BONE + 1 : -_PAD + _BONE] - after) / _BONE
    usual = grey[..., _PAD:-_PAD].std(axis=2).mean(axis=0) + np.float32(1e-3)
    usual, widths = np.tile(usual, (len(_ROWS), 1)), (_WIDTHS + 1).astype(np.float32)[:, None, None]
    planes = _upper(before), _lower(after), _upper(above), _lower(below)
    for first, last, bone_above, bone_below in zip(*planes, strict=True):
        inside = (last - first) / widths
        darker = np.clip((np.minimum(bone_above, bone_below) - inside) / usual, -2, 1)
        # A space as bright as bone is none: it loses twice what a dark one gains.
        yield np.float32(_DARKNESS) * np.minimum(darker, 2 * darker)
