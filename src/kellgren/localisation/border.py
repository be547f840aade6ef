"""The border around a picture: padding, a frame, a mount; no part of the film."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import Plane, Region

_FLAT = 0.013  # difference of grey values along a border, of 1: what JPEG leaves of one value
_DARK, _BRIGHT = 0.02, 0.98
_LEAST = 0.02  # of the picture's side: a thinner border does no harm


class Offset(NamedTuple):
    """How far a part of a picture lies from the picture's corner, in pixels."""

    x: int
    y: int

    def moved(self, region: Region) -> Region:
        """A region of the part as one of the picture."""
        x, y = region.centre
        return replace(region, centre=(x + self.x, y + self.y))


def without_border(radiograph: Radiograph) -> tuple[Radiograph, Offset | None]:
    """The radiograph without a black or white border, and where it lay; ``None``: it has none.

    A border has one value along each side of the picture. Films are black beside a limb, above and
    below one that lies across, and all around a round field; so only what surrounds a picture on
    all four sides is taken for one.
    """
    pixels = radiograph.pixels
    rows, columns = pixels.shape
    top, bottom = _flat_ends(pixels)
    left, right = _flat_ends(pixels.T)
    least = max(2.0, _LEAST * min(rows, columns))
    if min(top, bottom, left, right) < least or top + bottom >= rows or left + right >= columns:
        return radiograph, None
    inner = pixels[top : rows - bottom, left : columns - right]
    return replace(radiograph, pixels=np.ascontiguousarray(inner)), Offset(left, top)


def _flat_ends(pixels: Plane) -> tuple[int, int]:
    """How many rows at the beginning and at the end are black or white from end to end."""
    darkest, brightest = pixels.min(axis=1), pixels.max(axis=1)
    is_flat = (brightest - darkest <= _FLAT) & ((brightest <= _DARK) | (darkest >= _BRIGHT))
    seen = np.flatnonzero(~is_flat)
    if not seen.size:
        return len(is_flat), len(is_flat)
    return int(seen[0]), len(is_flat) - 1 - int(seen[-1])
