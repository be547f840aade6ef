"""A knee cut from a radiograph: its grey values, its side, and where it was cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from kellgren.grades import Side

Plane = npt.NDArray[np.float32]
"""Grey values of a picture or of a part of it: ``(H, W)``, 0..1, bone bright."""


_BAND_PIXELS = 2**16  # which stay in the processor's own memory from one step to the next


def bands(rows: int, columns: int) -> Iterator[slice]:
    """Pieces of a large picture's rows, each of some ten thousand pixels; transposed, of columns.

    What is made of one piece after the other takes little memory.
    """
    step = max(1, _BAND_PIXELS // columns)
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))


def plane_image(plane: Plane) -> Image.Image:
    """An image of mode F of grey values ``(H, W)``, which may be a view."""
    return image_of_rows(plane.shape, lambda rows: plane[rows])


def image_of_rows(shape: tuple[int, ...], part: Callable[[slice], Plane]) -> Image.Image:
    """An image of mode F, made in pieces: all at once, Pillow holds the values three times.

    Args:
        shape: height and width.
        part: gives some of the rows, ``(h, W)``.
    """
    height, width = shape
    picture = Image.new("F", (width, height))
    for band in bands(height, width):
        rows = np.ascontiguousarray(part(band), dtype=np.float32)
        picture.paste(Image.fromarray(rows), (0, band.start))
    return picture


class Stretch(NamedTuple):
    """How many pixels of a picture as it was read stand for one of its file, along x and y."""

    x: float
    y: float


UNSTRETCHED = Stretch(1.0, 1.0)
"""Of a picture whose file has square pixels."""


@dataclass(frozen=True, slots=True)
class Region:
    """The square of a radiograph that one knee was cut from.

    Attributes:
        centre: (x, y) in pixels of the radiograph as it was read, the picture's corner being 0, 0;
            where the file's pixels are not square, after they were made so.
        width: of the square, in the same pixels.
        angle: degrees by which the square is turned clockwise against the picture.
    """

    centre: tuple[float, float]
    width: float
    angle: float = 0.0

    def corners(self) -> tuple[tuple[float, float], ...]:
        """Top left, top right, bottom right and bottom left, as the cut shows them: (x, y)."""
        turn, half = math.radians(self.angle), self.width / 2
        across = (half * math.cos(turn), half * math.sin(turn))
        down = (-across[1], across[0])
        x, y = self.centre
        return tuple(
            (x + right * across[0] + below * down[0], y + right * across[1] + below * down[1])
            for right, below in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        )

    def to_dict(self) -> dict[str, Any]:
        """Centre and width in pixels, angle in degrees, rounded, as plain values for JSON."""
        return {
            "centre": [round(value, 1) for value in self.centre],
            "width": round(self.width, 1),
            "angle": round(self.angle, 2),
        }


@dataclass(frozen=True, slots=True)
class KneeCrop:
    """One knee, cut from a radiograph.

    Attributes:
        pixels: ``(H, W)`` float32, 0..1, bone bright.
        side: of the patient.
        mm_per_pixel: pixel spacing in millimetres; ``None``: not known.
        region: where it was cut; ``None``: the picture is one knee, whole.
        stretch: of the picture that the region lies in, against the file's own pixels.
    """

    pixels: Plane
    side: Side
    mm_per_pixel: float | None = None
    region: Region | None = None
    stretch: Stretch = UNSTRETCHED
