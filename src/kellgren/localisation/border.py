"""The border around a picture: padding, a frame, a mount; no part of the film."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import Plane, Region

_FLAT = 0.013  # difference of grey values along a border, of 1: what JPEG leaves of one value
_DARK, _BRIGHT = 0.02, 0.98
_SQUARE = 0.85  # shorter side over the longer one, from which a picture may be a crop
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
    rows, columns = radiograph.pixels.shape
    least = max(2.0, _LEAST * min(rows, columns))
    # Few pictures have one above and below: of the others the columns are not looked at.
    if min(_flat_ends(radiograph.pixels)) < least or min(_flat_ends(radiograph.pixels.T)) < least:
        return radiograph, None
    return _cut(radiograph, _ends(radiograph.pixels))


def without_margins(radiograph: Radiograph) -> tuple[Radiograph, Offset | None]:
    """The radiograph without black or white margins on any side, if about a square is left.

    So crops are padded to the shape that a program asks for. What is left must still turn out to
    be a knee's crop: beside a limb, films are black too.
    """
    rows, columns = radiograph.pixels.shape
    top, bottom, left, right = ends = _ends(radiograph.pixels)
    height, width = rows - top - bottom, columns - left - right
    if not any(ends) or min(height, width) < _SQUARE * max(height, width):
        return radiograph, None
    return _cut(radiograph, ends)


def _ends(pixels: Plane) -> tuple[int, int, int, int]:
    """Width of the flat part at the top, the bottom, the left and the right."""
    return (*_flat_ends(pixels), *_flat_ends(pixels.T))


def _cut(radiograph: Radiograph, ends: tuple[int, ...]) -> tuple[Radiograph, Offset | None]:
    rows, columns = radiograph.pixels.shape
    top, bottom, left, right = ends
    if top + bottom >= rows or left + right >= columns:  # nothing but border
        return radiograph, None
    inside = slice(top, rows - bottom), slice(left, columns - right)
    outliers = None if radiograph.outliers is None else radiograph.outliers[inside]
    inner = replace(
        radiograph, pixels=np.ascontiguousarray(radiograph.pixels[inside]), outliers=outliers
    )
    return inner, Offset(left, top)


def _flat_ends(pixels: Plane) -> tuple[int, int]:
    """How many rows at the beginning and at the end are black or white from end to end."""
    darkest, brightest = pixels.min(axis=1), pixels.max(axis=1)
    is_flat = (brightest - darkest <= _FLAT) & ((brightest <= _DARK) | (darkest >= _BRIGHT))
    seen = np.flatnonzero(~is_flat)
    if not seen.size:
        return len(is_flat), len(is_flat)
    return int(seen[0]), len(is_flat) - 1 - int(seen[-1])
