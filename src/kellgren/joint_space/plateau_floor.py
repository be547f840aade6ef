"""The floor of a tibial plateau, below the rims that are projected above it."""

from __future__ import annotations

import numpy as np

from kellgren.arrays import Float32Array, Float64Array
from kellgren.joint_space.derivatives import smoothed
from kellgren.joint_space.paths import best_paths

_HIGHER, _DEEPER = 2, 10  # rows above and below the edge that was found, where the floor may lie
_SPACE = 5  # rows above an edge, from which on the joint space is looked for
_CLEAR = 2  # rows above an edge that its blur reaches
_LINE_BELOW = 2  # rows from an edge to where its line is brightest
_ALONG = 3.0  # pixels by which grey values and derivatives are averaged along the margin
_ENOUGH = 0.3  # of the usual steepness: an edge that is steeper is none the better
_LINE = 2.0  # worth of a line as bright as is usual here; an edge gains 1
_BRIGHTEST = 1.5  # of the usual one: a brighter line is none the better
_STIFFNESS = 0.3


def floor_rows(grey: Float32Array, steep: Float32Array, rows: Float64Array) -> Float64Array:
    """Rows of the edge whose line is brightest, near the one that was found or below it.

    A rim shows a steep edge against the joint space, and little bone; the floor an edge that may
    be faint, and the brightest line. So any edge that is plain enough counts, and the line decides.

    Args:
        grey: ``(K, L, 2, H)`` of place, look, compartment and row, bone bright.
        steep: its derivative downwards.
        rows: ``(K, L, 2)`` of the edges that were found.
    """
    across = np.arange(-_HIGHER - _SPACE, _DEEPER + _LINE_BELOW + 1)
    at = np.clip(np.round(rows).astype(int)[..., None] + across, 0, grey.shape[3] - 1)
    values, slopes = (
        smoothed(np.take_along_axis(plane, at, axis=3), _ALONG, 0) for plane in (grey, steep)
    )
    edges = slopes[..., _SPACE:-_LINE_BELOW]
    lines = values[..., _SPACE + _LINE_BELOW :]
    space = values[..., _HIGHER : _HIGHER + _SPACE - _CLEAR + 1].min(axis=3)
    bright = lines - space[..., None]
    bright /= (np.median(bright.max(axis=3), axis=0) + np.float32(1e-3))[..., None]
    usual = np.percentile(edges.max(axis=3), 75, axis=0).astype(np.float32)[..., None]
    gain = np.clip(edges / (usual + np.float32(1e-6)), -0.5, _ENOUGH) / np.float32(_ENOUGH)
    gain += np.float32(_LINE) * np.clip(bright, 0, _BRIGHTEST)
    gains = gain.astype(np.float32, copy=False).reshape(len(gain), -1, gain.shape[3])
    path = best_paths(gains, 1, _STIFFNESS)
    floor: Float64Array = rows + (path.reshape(rows.shape) - _HIGHER)
    return floor
