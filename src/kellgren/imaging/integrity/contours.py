"""Steps of one height along lines of equal brightness: what a lost or flipped bit leaves."""

from __future__ import annotations

import numpy as np

from kellgren.arrays import Float64Array, IntArray
from kellgren.knee import Plane, bands

_GREYS = 256
_LEAST_STEP = 12  # of 255: smaller ones are texture
_SMALL, _LEAST_SMALL = 4, 0.01  # steps below, of all: a picture of few greys has steps of its own
_SHARE, _LEAST = 0.001, 25  # of all neighbours, and at least how many: what chance makes
_LEAST_NEAR, _NEAR = 2, 8  # greys, or so many times less than the step, by which a step varies
_LEAST_FAR = 7  # greys on either side, or twice as many as near ones, between which others lie


def contours(knee: Plane) -> float:
    """How many times more often neighbours differ by about one step than by others near it.

    Args:
        knee: ``(H, W)`` grey values 0..1.

    Returns:
        0 for a picture in which hardly any neighbours differ a little.
    """
    steps = np.zeros(_GREYS, np.int64)
    for band in bands(*knee.shape):
        # Every second row: as many steps as are needed, in half the time.
        whole = np.rint(np.clip(knee[band][::2], 0, 1) * (_GREYS - 1)).astype(np.int16)
        here = np.abs(np.diff(whole, axis=1))
        # Not where flat ground ends, as the edge of a margin may be one step high all along.
        beside_none = (here[:, :-2] != 0) & (here[:, 2:] != 0)
        steps += np.bincount(here[:, 1:-1][beside_none], minlength=_GREYS)
    if steps[1:_SMALL].sum() <= _LEAST_SMALL * steps[1:].sum():
        return 0.0
    return _most_frequent(steps)


def _most_frequent(steps: IntArray) -> float:
    """How much more frequent a step of some greys is than those that are smaller or larger.

    A large step varies more, because it stands on a slope.
    """
    sums = np.append(0, np.cumsum(steps))
    step = np.arange(_LEAST_STEP, _GREYS)
    near = np.maximum(_LEAST_NEAR, step // _NEAR)
    far = np.maximum(_LEAST_FAR, 2 * near)

    def within(first: IntArray, last: IntArray) -> Float64Array:
        counted = sums[np.clip(last, 0, _GREYS)] - sums[np.clip(first, 0, _GREYS)]
        return np.asarray(counted / (last - first))

    below = within(step - near - far, step - near)
    above = within(step + near + 1, step + near + 1 + far)
    chance = max(_SHARE * sums[-1], _LEAST) / (2 * near + 1)
    ratio = within(step - near, step + near + 1) / (np.maximum(below, above) + chance)
    return float(ratio.max())
