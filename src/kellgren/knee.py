"""A knee cut from a radiograph: its grey values, its side, and where it was cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from kellgren.grades import Side

Plane = npt.NDArray[np.float32]
"""Grey values of a picture or of a part of it: ``(H, W)``, 0..1, bone bright."""


_BAND_PIXELS = 2**16  # which stay in the processor's own memory from one step to the next
_SMALL_IMAGE = 2**18  # pixels: Pillow may hold these three times
_LOBES = 8  # of the kernel, to each side: three damp the finest detail that the pixels hold
_BLOCK = 64  # rows or columns computed at a time
_BINS = 2048  # of grey values
_LEAST_BIN = 1e-38  # its reciprocal is a float32


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
    if height * width <= _SMALL_IMAGE:
        whole = part(slice(0, height))
        return Image.fromarray(np.ascontiguousarray(whole, dtype=np.float32))
    picture = Image.new("F", (width, height))
    for band in bands(height, width):
        rows = np.ascontiguousarray(part(band), dtype=np.float32)
        picture.paste(Image.fromarray(rows), (0, band.start))
    return picture


def resampled(plane: Plane, rows: int, columns: int) -> Plane:
    """The same picture with other numbers of rows and columns, its borders where they were.

    The kernel is Lanczos' of eight lobes, so nearly all that the pixels can hold stays: refined
    and then reduced to its own number of rows, a picture is what it was, to about a thousandth.

    Args:
        plane: ``(H, W)``; its mirror image continues it.
        rows: of the result.
        columns: likewise.

    Returns:
        ``(rows, columns)`` float32, at sharp edges beyond the range of the plane by up to a tenth.
    """
    if rows != plane.shape[0]:
        made = np.empty((rows, plane.shape[1]), dtype=np.float32)
        for some, taken, weights in _kernels(plane.shape[0], rows):
            made[some] = weights @ plane[taken]
        plane = made
    if columns != plane.shape[1]:
        made = np.empty((rows, columns), dtype=np.float32)
        for some, taken, weights in _kernels(plane.shape[1], columns):
            made[:, some] = plane[:, taken] @ weights.T
        plane = made
    return plane


def _kernels(own: int, count: int) -> Iterator[tuple[slice, npt.NDArray[np.intp], Plane]]:
    """Of some of ``count`` lines in place of ``own``: which lines each is made of, and by how much.

    Yields:
        The lines made, ``N`` of them; ``(K,)`` places of the lines taken; ``(N, K)`` weights.
    """
    step = own / count
    width = max(step, 1.0)  # of a lobe, in lines: wider where detail must go
    for first in range(0, count, _BLOCK):
        some = slice(first, min(first + _BLOCK, count))
        places = (np.arange(some.start, some.stop) + 0.5) * step - 0.5
        low, high = places[0] - _LOBES * width, places[-1] + _LOBES * width
        taken = np.arange(np.ceil(low), np.floor(high) + 1)
        away = (taken - places[:, None]) / width
        weights = np.sinc(away) * np.sinc(away / _LOBES) * (np.abs(away) < _LOBES)
        weights /= weights.sum(axis=1, keepdims=True)
        turn = taken.astype(np.intp) % (2 * own)
        yield some, np.minimum(turn, 2 * own - 1 - turn), weights.astype(np.float32)


def undamped(plane: Plane, axis: int, times: float) -> Plane:
    """The same picture, as sharp along the coarser of the file's directions as along the other.

    A pixel is the mean of what falls on it: the longer it is, the more it damps detail along it.
    That is undone as far as the coarser pixels hold any detail, by 1.41 at most where they are
    twice as long.

    Args:
        plane: ``(H, W)``, refined to square pixels; its mirror image continues it.
        axis: the coarser direction, 0 for the rows' distance.
        times: how many times as long as wide the file's pixels are, at least 1.
    """
    twice = np.concatenate((plane, np.flip(plane, axis)), axis)
    spectrum = np.fft.rfft(twice, axis=axis)
    waves = np.fft.rfftfreq(twice.shape[axis])  # of one pixel
    held = np.minimum(waves, 0.5 / times)
    gain = np.sinc(held) / np.sinc(times * held)
    spectrum *= gain[:, None] if axis == 0 else gain
    sharp = np.fft.irfft(spectrum, twice.shape[axis], axis)
    return np.asarray(np.split(sharp, 2, axis)[0], dtype=np.float32)


def add_up(rows: npt.NDArray[Any]) -> None:
    """Make each row the sum of all up to it: half of `numpy.cumsum`'s time down columns.

    Args:
        rows: ``(N, ...)``, changed in place.
    """
    for above, below in pairwise(rows):
        below += above


def median(values: Plane) -> np.float32:
    """As `numpy.median` gives it, to the last digit.

    Args:
        values: finite, of any shape, at least one.
    """
    last = values.size - 1
    low, high = _smallest(values, np.array([last // 2, (last + 1) // 2]))
    return np.float32((low + high) / np.float32(2))


def quantiles(values: Plane, shares: Sequence[float]) -> npt.NDArray[np.float64]:
    """As `numpy.quantile` gives them, to the last digit.

    Args:
        values: finite, of any shape, at least one.
        shares: 0..1, N of them.

    Returns:
        ``(N,)``, between the two nearest values by the distance from each.
    """
    places = np.multiply(shares, values.size - 1)
    below = np.floor(places).astype(np.int64)
    found = _smallest(values, np.append(below, np.minimum(below + 1, values.size - 1)))
    low, high = np.split(found, 2)
    part = places - below
    return np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))


def _smallest(values: Plane, places: npt.NDArray[np.int64]) -> Plane:
    """Those that would stand at some places if the values were sorted.

    Values are counted in bins, and only those of the bins that are asked for are sorted. That takes
    a third of the time of parting all values at each place.
    """
    flat = values.ravel()
    low, high = flat.min(), flat.max()
    if low == high:
        return np.full(len(places), low)
    a_bin = max(float(high - low) / _BINS, _LEAST_BIN)
    bins = ((flat - low) * np.float32(1 / a_bin)).astype(np.int64)
    ends = np.cumsum(np.bincount(bins))
    wanted = np.searchsorted(ends, places, "right")
    found = np.empty(len(places), np.float32)
    for one in set(wanted.tolist()):
        of_it = wanted == one
        found[of_it] = np.sort(flat[bins == one])[places[of_it] - ends[one]]  # from the end
    return found


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
