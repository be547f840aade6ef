"""How much of a knee's structure is of the finest size: less in a blurred one, more in noise."""

from __future__ import annotations

import numpy as np
from PIL import Image

from kellgren.knee import Plane, median, plane_image

_SIDE = 256
"""Pixels that a knee is resized to, so that pictures of any size are measured alike."""
_MARGIN = 24
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
    return float(median(np.abs(inner))) + _LEAST


def _smoothed(picture: Plane) -> Plane:
    """Binomial, 1 4 6 4 1 along rows and columns; the outermost two pixels are of the margin."""
    for _ in range(2):  # along the columns, and, turned, along the rows
        smooth = 6 * picture
        smooth[2:-2] += 4 * (picture[1:-3] + picture[3:-1]) + picture[:-4] + picture[4:]
        smooth /= 16
        picture = smooth.T
    return picture
