"""Shapes in units of the knee's square, and how metal looks where they lie on a radiograph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from kellgren.arrays import Float32Array
from kellgren.knee import Plane

Point = tuple[float, float]
_FINER = 2  # shapes are drawn twice as fine and averaged, so that edges are smooth


class Shape:
    """A mask that shapes are drawn into; x and y run from 0 to 1 over the picture.

    Args:
        size: height and width of the mask, in pixels.
    """

    def __init__(self, size: int) -> None:
        self._size, self._scale = size, size * _FINER
        self._image = Image.new("L", (self._scale, self._scale))
        self._pen = ImageDraw.Draw(self._image)

    def polygon(self, points: Sequence[Point], value: float = 1.0) -> Self:
        """A filled polygon; ``value`` 0 takes away."""
        self._pen.polygon([self._at(p) for p in points], fill=round(255 * value))
        return self

    def box(self, left: float, top: float, right: float, bottom: float, value: float = 1.0) -> Self:
        """An upright filled rectangle."""
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return self.polygon(corners, value)

    def oval(
        self, x: float, y: float, across: float, down: float, power: float = 2.0, value: float = 1.0
    ) -> Self:
        """A filled superellipse: power 2 is an ellipse, 5 nearly a rectangle."""
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        dx = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / power)
        dy = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / power)
        return self.polygon(
            [(x + across * a, y + down * b) for a, b in zip(dx, dy, strict=True)], value
        )

    def line(self, points: Sequence[Point], width: float, value: float = 1.0) -> Self:
        """A line of some width."""
        self._pen.line(
            [self._at(p) for p in points],
            fill=round(255 * value),
            width=max(1, round(width * self._scale)),
            joint="curve",
        )
        return self

    def mask(self) -> Float32Array:
        """How much each pixel is covered, ``(size, size)`` 0..1."""
        small = self._image.reduce(_FINER)
        return unit(np.asarray(small, dtype=np.float32) / 255)

    def _at(self, point: Point) -> Point:
        return point[0] * self._scale, point[1] * self._scale


def unit(values: npt.ArrayLike) -> Float32Array:
    """Grey values cut off below 0 and above 1, as float32."""
    return np.asarray(values, dtype=np.float32).clip(0, 1).astype(np.float32)


def blurred(plane: Float32Array, radius: float) -> Float32Array:
    """Smoothed by a Gaussian whose standard deviation is ``radius`` pixels; 0..1 in, 0..1 out."""
    if radius <= 0:
        return plane
    picture = Image.fromarray(np.rint(plane.clip(0, 1) * 255).astype(np.uint8))
    smooth = picture.filter(ImageFilter.GaussianBlur(float(radius)))
    return unit(np.asarray(smooth, dtype=np.float32) / 255)


def noise(size: int, cells: int, rng: np.random.Generator) -> Float32Array:
    """Smooth noise of ``cells`` waves a side, ``(size, size)``, about -1..1."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    fine = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(np.asarray(fine) / 2, dtype=np.float32)


def lay_metal(knee: Plane, mask: Float32Array, rng: np.random.Generator) -> Plane:
    """Metal where the mask is: bright, saturated or not, more or less opaque, with grain.

    Where an automatic exposure sees metal, bone becomes darker.
    """
    size = knee.shape[0]
    top = float(np.quantile(knee, 0.995))
    level = top * rng.uniform(0.88, 1.0) + (1 - top) * rng.choice([0.0, rng.uniform(0, 1), 1.0])
    opacity = rng.uniform(0.7, 1.0) if rng.random() < 0.75 else rng.uniform(0.45, 0.7)
    softness = float(rng.choice([0.0, 0.5, 1.0, rng.uniform(1, 2)]))
    cover = unit(blurred(mask, softness) * opacity)
    bone = unit(knee * rng.choice([1.0, rng.uniform(0.5, 1.0)]))
    metal = np.full_like(knee, level)
    if rng.random() < 0.4:
        metal = unit(metal * (1 - 0.12 * np.abs(noise(size, int(rng.integers(2, 6)), rng))))
    grain = rng.choice([0.0, 0.01, 0.03]) * rng.standard_normal(knee.shape).astype(np.float32)
    return unit(bone * (1 - cover) + (metal + grain) * cover)


def lay_cement(knee: Plane, mask: Float32Array, rng: np.random.Generator) -> Plane:
    """A mantle of bone cement around a shape: a little brighter than bone, ragged."""
    size = knee.shape[0]
    wide = blurred(mask, rng.uniform(3, 8))
    mantle = (wide + 0.15 * noise(size, 24, rng) > rng.uniform(0.15, 0.35)).astype(np.float32)
    gain = blurred(mantle, 1.0) * rng.uniform(0.06, 0.2)
    return unit(knee + gain)
