"""Which films the localiser learns from: one knee or two, near or far, turned, or none at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from kellgren.knee import Region
from kellgren.training.knee_detector.synthetic_films import Film, PlacedKnee, compose, expose

Crops = npt.NDArray[np.uint8]
_LEAST_OF_DETECTOR = 0.23
"""A knee's square of 10 cm on the longest usual detector, 43 cm."""


@dataclass(frozen=True, slots=True)
class BoxedFrame:
    """A real film whose knees were boxed by eye.

    Attributes:
        pixels: ``(H, W)`` 0..1, bone bright.
        knees: on it, in its own pixels; ``is_left`` is ``None`` where nobody could tell.
    """

    pixels: Tensor
    knees: tuple[tuple[Region, bool | None], ...]


class FilmMaker:
    """Draws films from crops.

    Args:
        crops: ``(N, h, h)`` of graded knees as published.
        is_left: ``(N,)`` of each.
        pairs: positions of one patient's right and left crop.
        size: S, of the canvas.
        natural: knees stand as a patient's do, right ones on the film's left; else some are
            mirrored and some change places, so that nothing but anatomy tells the side.
        detector: a knee's square takes no less of the film's longer side than on the largest
            detectors, and is drawn from the crop refined twice, so that laying it loses next to
            nothing: a film shows more than the crop made of it.
    """

    def __init__(
        self,
        crops: Crops,
        is_left: npt.NDArray[np.bool_],
        pairs: Sequence[tuple[int, int]],
        size: int,
        *,
        natural: bool = False,
        detector: bool = False,
    ) -> None:
        self._natural, self._detector = natural, detector
        self._crops, self._is_left, self._pairs, self._size = crops, is_left, pairs, size

    def draw(self, rng: np.random.Generator) -> Film:
        """One film of any kind."""
        kinds = (self._crop, self._near, self._one, self._two, self._none)
        kind = int(rng.choice(len(kinds), p=[0.14, 0.24, 0.2, 0.27, 0.15]))
        return expose(kinds[kind](rng), rng)

    def draw_film(self, rng: np.random.Generator) -> Film:
        """A film with one knee or two, as an X-ray room makes them."""
        return expose(self.lay_film(rng), rng)

    def lay_film(self, rng: np.random.Generator) -> Film:
        """The same before it is exposed."""
        return self._one(rng) if rng.random() < 0.5 else self._two(rng)

    def _crop(self, rng: np.random.Generator) -> Film:
        """A crop as it is, or turned by quarters."""
        middle = self._size / 2
        place = self._place(rng, int(rng.integers(len(self._crops))), (middle, middle), self._size)
        turned = Region(place[1].region.centre, float(self._size), _quarter_turn(rng))
        knee = PlacedKnee(turned, place[1].is_left, place[1].crop)
        pixels = compose([(place[0], knee, place[2])], self._size, rng)
        return Film(pixels, (0, 0, self._size, self._size), [knee])

    def _near(self, rng: np.random.Generator) -> Film:
        """A window around a knee, as the second look sees it; at times it ends at the film's."""
        size = self._size
        crop = int(rng.integers(len(self._crops)))
        centre = (size * rng.uniform(0.4, 0.6), size * rng.uniform(0.4, 0.6))
        laid = self._place(rng, crop, centre, size * rng.uniform(0.42, 0.75), _quarter_turn(rng))
        content = (0, 0, size, size)
        if rng.random() < 0.5:
            content = _around(laid[1].region, size, rng, 0.0, 0.6)
        return self._film([laid], content, rng)

    def _one(self, rng: np.random.Generator) -> Film:
        content = _content(rng, self._size, 0.45, 2.2)
        left, top, right, bottom = content
        shorter = min(right - left, bottom - top)
        width = self._wide_enough(shorter * rng.uniform(0.22, 0.95), content)
        spare_x, spare_y = (
            max(0.0, (right - left) - width),
            max(0.0, (bottom - top) - 0.7 * width),
        )
        centre = (
            (left + right) / 2 + spare_x * rng.uniform(-0.45, 0.45),
            (top + bottom) / 2 + spare_y * rng.uniform(-0.4, 0.4),
        )
        crop = int(rng.integers(len(self._crops)))
        return self._film([self._place(rng, crop, centre, width, _quarter_turn(rng))], content, rng)

    def _two(self, rng: np.random.Generator) -> Film:
        """Both knees of a patient side by side, the whole film perhaps turned by quarters."""
        turn = _quarter_turn(rng)
        sideways = abs(turn) == 90
        content = _content(rng, self._size, *((0.3, 1.0) if sideways else (1.0, 4.0)))
        left, top, right, bottom = content
        along = (bottom - top) if sideways else (right - left)
        across = (right - left) if sideways else (bottom - top)
        width = min(along * rng.uniform(0.2, 0.46), across * 1.6)
        width = self._wide_enough(width, content)
        gap = min(along - width * 1.02, width * rng.uniform(1.1, 2.4))
        middle = rng.uniform(-0.5, 0.5) * max(0.0, along - gap - width)
        spare = 0.4 * max(0.0, across - 0.6 * width)
        pair = self._pairs[int(rng.integers(len(self._pairs)))]
        if rng.random() < 0.5 and not self._natural:
            pair = (pair[1], pair[0])
        scale, laid = rng.uniform(0.93, 1.07), []
        radians = math.radians(turn)
        shared = rng.uniform(-1, 1) * spare
        for sign, crop in zip((-0.5, 0.5), pair, strict=True):
            x = middle + sign * gap
            y = shared + rng.uniform(-0.15, 0.15) * min(width, across)
            centre = (
                (left + right) / 2 + x * math.cos(radians) - y * math.sin(radians),
                (top + bottom) / 2 + x * math.sin(radians) + y * math.cos(radians),
            )
            laid.append(self._place(rng, crop, centre, width * scale ** (2 * sign), turn))
        return self._film(laid, content, rng)

    def _none(self, rng: np.random.Generator) -> Film:
        """No joint: shafts, erased joints, shuffled pieces, smooth and rough textures."""
        size = self._size
        content = _content(rng, size, 0.4, 2.5)
        kind = rng.choice(["shaft", "erased", "shuffled", "texture"], p=[0.2, 0.35, 0.2, 0.25])
        if kind == "texture":
            return Film(texture(size, rng), content)
        if kind == "shuffled":
            crop = self._crop(rng).pixels
            return Film(shuffled(crop, int(rng.choice([2, 4, 8])), rng), content)
        film = self._near(rng) if rng.random() < 0.5 else self._crop(rng)
        region = film.knees[0].region
        if kind == "erased":
            return Film(erased(film.pixels, region, rng), film.content)
        away = region.width * rng.uniform(1.0, 2.0) * rng.choice([-1, 1])
        turn = math.radians(region.angle)
        centre = (
            region.centre[0] - away * math.sin(turn),
            region.centre[1] + away * math.cos(turn),
        )
        laid = self._place(rng, film.knees[0].crop, centre, region.width, region.angle)
        return Film(compose([laid], size, rng), film.content)

    def _place(
        self,
        rng: np.random.Generator,
        crop: int,
        centre: tuple[float, float],
        width: float,
        turn: float = 0.0,
    ) -> tuple[Tensor, PlacedKnee, bool]:
        tilt = float(np.clip(rng.normal(0, 7), -18, 18)) if rng.random() < 0.8 else 0.0
        flip = bool(rng.random() < 0.5) and not self._natural
        pixels = self._pixels(crop)
        region = Region(centre, float(width), turn + tilt)
        return pixels, PlacedKnee(region, bool(self._is_left[crop]) ^ flip, crop), flip

    def _pixels(self, crop: int) -> Tensor:
        pixels = self._crops[crop].astype(np.float32) / 255
        if self._detector:
            height, width = pixels.shape
            finer = Image.fromarray(pixels).resize(
                (2 * width, 2 * height), Image.Resampling.LANCZOS
            )
            pixels = np.array(finer).clip(0, 1)
        return torch.from_numpy(pixels)

    def _wide_enough(self, width: float, content: tuple[int, int, int, int]) -> float:
        left, top, right, bottom = content
        longer = max(right - left, bottom - top)
        return max(width, _LEAST_OF_DETECTOR * longer) if self._detector else width

    def _film(
        self,
        laid: list[tuple[Tensor, PlacedKnee, bool]],
        content: tuple[int, int, int, int],
        rng: np.random.Generator,
    ) -> Film:
        return Film(compose(laid, self._size, rng), content, [place for _, place, _ in laid])


def texture(size: int, rng: np.random.Generator) -> Tensor:
    """Noise of one or several scales, stripes or blobs: no body at all, ``(S, S)`` 0..1."""
    total = torch.zeros(size, size)
    for _ in range(rng.integers(1, 4)):
        cells = int(rng.choice([2, 4, 8, 16, 32, 64]))
        shape = (
            (cells, 1) if rng.random() < 0.2 else (1, cells) if rng.random() < 0.2 else (cells,) * 2
        )
        coarse = torch.from_numpy(rng.random((1, 1, *shape), dtype=np.float32))
        mode = "nearest" if rng.random() < 0.4 else "bilinear"
        total = (
            total + rng.uniform(0.2, 1) * F.interpolate(coarse, size=(size, size), mode=mode)[0, 0]
        )
    total = total - total.min()
    return total / total.max().clamp(min=1e-6)


def shuffled(pixels: Tensor, cells: int, rng: np.random.Generator) -> Tensor:
    """The picture's pieces, ``cells`` a side, in another order."""
    size = pixels.shape[0] // cells * cells
    step = size // cells
    pieces = pixels[:size, :size].reshape(cells, step, cells, step).permute(0, 2, 1, 3)
    order = torch.from_numpy(rng.permutation(cells * cells))
    mixed = pieces.reshape(-1, step, step)[order].reshape(cells, cells, step, step)
    whole = torch.zeros_like(pixels)
    whole[:size, :size] = mixed.permute(0, 2, 1, 3).reshape(size, size)
    return whole


def erased(pixels: Tensor, region: Region, rng: np.random.Generator) -> Tensor:
    """The joint space and the condyles painted over, evenly, with noise or with smooth shading."""
    size = pixels.shape[0]
    turn = math.radians(region.angle)
    axis = torch.arange(size, dtype=torch.float32) + 0.5
    x, y = (axis - region.centre[0]) / region.width, (axis - region.centre[1]) / region.width
    across = x[None, :] * math.cos(turn) + y[:, None] * math.sin(turn)
    down = y[:, None] * math.cos(turn) - x[None, :] * math.sin(turn)
    tall = rng.uniform(0.2, 0.38)
    inside = (across.abs() < rng.uniform(0.42, 0.6)) & ((down - 0.06).abs() < tall)
    level = float(pixels[inside].mean()) if inside.any() else 0.5
    paint = torch.full_like(pixels, level if rng.random() < 0.6 else rng.uniform(0, 1))
    if rng.random() < 0.5:
        paint = paint * (0.7 + 0.6 * texture(size, rng))
    return torch.where(inside, paint.clamp(0, 1), pixels)


def frame_film(frame: BoxedFrame, size: int, rng: np.random.Generator) -> Film:
    """A real film, or a window of it, moved, turned and scaled onto the canvas."""
    height, width = frame.pixels.shape
    if rng.random() < 0.5:  # the whole film
        scale = size / max(height, width) * rng.uniform(0.75, 1.0)
        middle = (width / 2, height / 2)
    else:  # a window around one knee
        region = frame.knees[int(rng.integers(len(frame.knees)))][0]
        scale = size * rng.uniform(0.42, 0.8) / region.width
        middle = (
            region.centre[0] + region.width * rng.uniform(-0.12, 0.12),
            region.centre[1] + region.width * rng.uniform(-0.12, 0.12),
        )
    angle = _quarter_turn(rng) + float(np.clip(rng.normal(0, 6), -15, 15))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    turn = math.radians(angle)
    axis = torch.arange(size, dtype=torch.float32) + 0.5 - size / 2
    x = flip * (axis[None, :] * math.cos(turn) + axis[:, None] * math.sin(turn)) / scale + middle[0]
    y = (axis[:, None] * math.cos(turn) - axis[None, :] * math.sin(turn)) / scale + middle[1]
    where = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=-1)
    pixels = F.grid_sample(frame.pixels[None, None], where[None], align_corners=False)[0, 0]
    knees = []
    for region, is_left in frame.knees:
        dx = flip * (region.centre[0] - middle[0]) * scale
        dy = (region.centre[1] - middle[1]) * scale
        centre = (
            size / 2 + dx * math.cos(turn) - dy * math.sin(turn),
            size / 2 + dx * math.sin(turn) + dy * math.cos(turn),
        )
        if all(-0.05 * size < c < 1.05 * size for c in centre):
            moved = Region(centre, region.width * scale, flip * region.angle + angle)
            knees.append(PlacedKnee(moved, None if is_left is None else is_left ^ (flip < 0)))
    return Film(pixels, (0, 0, size, size), knees)


def _quarter_turn(rng: np.random.Generator) -> float:
    return float(rng.choice([0, 180, 90, -90], p=[0.7, 0.12, 0.09, 0.09]))


def _content(
    rng: np.random.Generator, size: int, narrowest: float, widest: float
) -> tuple[int, int, int, int]:
    """A film of some shape, letterboxed."""
    shape = math.exp(rng.uniform(math.log(narrowest), math.log(widest)))
    width, height = min(1.0, shape) * size, min(1.0, 1 / shape) * size
    left, top = round((size - width) / 2), round((size - height) / 2)
    return left, top, size - left, size - top


def _around(
    region: Region, size: int, rng: np.random.Generator, least: float, most: float
) -> tuple[int, int, int, int]:
    """A film that ends so far outside of a knee's square on each side, in knee widths."""
    half = region.width / 2
    reach = [half + region.width * rng.uniform(least, most) for _ in range(4)]
    x, y = region.centre
    return (
        max(0, round(x - reach[0])),
        max(0, round(y - reach[1])),
        min(size, round(x + reach[2])),
        min(size, round(y + reach[3])),
    )
