"""Steps of one height along lines of equal brightness: what a lost or flipped bit leaves."""

from __future__ import annotations

import numpy as np

from kellgren.knee import Plane, bands

_GREYS = 256
_LEAST_STEP = 12  # of 255: smaller ones are texture
_LEAST_GREYS = 80  # a picture of few greys has steps of its own
_SHARE = 0.001  # of all neighbours: what chance makes
_NEAR, _FAR = 3, 9  # greys between which others are counted


def contours(knee: Plane) -> float:
    """How many times more often neighbours differ by about one step than by others near it.

    Args:
        knee: ``(H, W)`` grey values 0..1.

    Returns:
        0 for a picture of few greys.
    """
    steps, greys = np.zeros(_GREYS, np.int64), np.zeros(_GREYS, np.int64)
    for band in bands(*knee.shape):
        # Every second row: as many steps as are needed, in half the time.
        whole = np.rint(np.clip(knee[band][::2], 0, 1) * (_GREYS - 1)).astype(np.int16)
        greys += np.bincount(whole.reshape(-1), minlength=_GREYS)
        steps += np.bincount(np.abs(np.diff(whole, axis=1)).reshape(-1), minlength=_GREYS)
    if np.count_nonzero(greys) < _LEAST_GREYS:
        return 0.0
    padded = np.pad(steps / steps.sum(), _FAR)
    about = np.lib.stride_tricks.sliding_window_view(padded, 2 * _FAR + 1)
    peak = about[:, _FAR - 2 : _FAR + 3].mean(axis=1)
    below, above = (
        about[:, part].mean(axis=1) for part in (slice(0, _FAR - 2), slice(_FAR + 3, None))
    )
    ratio = peak / (np.maximum(below, above) + _SHARE / 5)
    return float(ratio[_LEAST_STEP:].max())
