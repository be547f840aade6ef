"""How much of a knee's structure is of the finest size: less in a blurred one, more in noise."""

from __future__ import annotations

import numpy as np
from PIL import Image

from kellgren.knee import Plane, plane_image

_SIDE = 256
"""Pixels that a knee is resized to, so that pictures of any size are measured alike."""
_MARGIN = 24
_BINOMIAL = np.array([1, 4, 6, 4, 1], dtype=np.float32) / 16
_LEAST = 1e-5


def fine_detail(knee: Plane) -> float:
    """Logarithm of how strong the finest structure is, relative to structure of twice its size.

    The median of what a first smoothing takes from the knee, by that of what a second one does.
    Exposure and contrast do not move it; blur and lossy compression lower it, noise raises it.

    Args:
        knee: ``(H, W)``, 0..1.
    """
    small = plane_image(knee).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    picture = np.clip(np.asarray(small, dtype=np.float32), 0.0, 1.0)
    smooth = _smoothed(picture)
    finest, next_size = _strength(picture - smooth), _strength(smooth - _smoothed(smooth))
    return float(np.log(finest) - np.log(next_size))


def _strength(structure: Plane) -> float:
    inner = structure[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return float(np.median(np.abs(inner))) + _LEAST


def _smoothed(picture: Plane) -> Plane:
    for _ in range(2):  # along the rows, and, turned, along the columns
        wide = np.pad(picture, ((0, 0), (2, 2)), mode="reflect")
        taps = [wide[:, at : at + _SIDE] * weight for at, weight in enumerate(_BINOMIAL)]
        picture = np.sum(taps, axis=0).T
    return picture
