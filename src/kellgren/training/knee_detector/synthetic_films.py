"""Synthetic films: real knees laid on invented films, so that where each one lies is known.

A crop's femur and tibia are continued as shafts, its soft tissue falls off into the background;
then come collimation, borders, letters, exposure, noise and inversion. What the network should not
rely on is drawn by chance: letters name no side, and two legs may stand in either order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from kellgren.knee import Region


@dataclass(frozen=True, slots=True)
class PlacedKnee:
    """Where a knee lies on a film, and which one it is.

    Attributes:
        region: the square of the film that its crop covers, upright as the crop shows it.
        is_left: whether the film shows a patient's left knee there; ``None`` where nobody knows.
        crop: which of the crops it is; -1 on a real film.
    """

    region: Region
    is_left: bool | None
    crop: int = -1


@dataclass(slots=True)
class Film:
    """A film on a square canvas.

    Attributes:
        pixels: ``(S, S)`` 0..1; outside of ``content`` all 0.
        knees: on it, none on a film that shows no joint.
        inverted: bone is dark.
        content: left, top, right and bottom of the film on the canvas, in pixels.
    """

    pixels: Tensor
    content: tuple[int, int, int, int]
    knees: list[PlacedKnee] = field(default_factory=list)
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Leg:
    """How one crop is continued beyond its edges; lengths in crop widths."""

    shaft: float  # how much narrower the bones become far from the joint
    repeat: float  # height of the strip that is reflected to and fro beyond an edge
    edge: float  # half the leg's width at the skin
    softness: float  # of the skin's edge
    thinning: float  # of the soft tissue towards the skin

    @staticmethod
    def draw(rng: np.random.Generator) -> Leg:
        """One leg of many."""
        return Leg(
            shaft=rng.uniform(1.1, 1.9),
            repeat=rng.uniform(0.01, 0.06),
            edge=rng.uniform(0.56, 1.0),
            softness=rng.uniform(0.005, 0.05),
            thinning=rng.uniform(0.2, 2.0),
        )


def lay(crop: Tensor, region: Region, leg: Leg, size: int, *, flip: bool) -> tuple[Tensor, Tensor]:
    """One leg on a canvas.

    Args:
        crop: ``(H, W)`` 0..1.
        region: where on the canvas the crop comes to lie.
        leg: how it goes on outside.
        size: S, of the canvas.
        flip: lay the crop's mirror image.

    Returns:
        Grey values and how much each covers what is behind it, both ``(S, S)`` 0..1.
    """
    turn = math.radians(region.angle)
    axis = torch.arange(size, dtype=torch.float32) + 0.5
    x, y = (axis - region.centre[0]) / region.width, (axis - region.centre[1]) / region.width
    across = x[None, :] * math.cos(turn) + y[:, None] * math.sin(turn)
    down = y[:, None] * math.cos(turn) - x[None, :] * math.sin(turn)
    beyond = (down.abs() - 0.5).clamp(min=0)
    strip = leg.repeat - (beyond % (2 * leg.repeat) - leg.repeat).abs()  # to and fro: 0, repeat, 0
    row = torch.where(beyond > 0, (0.5 - strip) * down.sign(), down)
    column = across * (1 + (leg.shaft - 1) * (1 - torch.exp(-beyond / 0.4)))
    aside = (column.abs() - 0.5).clamp(min=0)
    where = torch.stack([(-2 if flip else 2) * column.clamp(-0.5, 0.5), 2 * row], dim=-1)
    grey = F.grid_sample(crop[None, None], where[None], padding_mode="border", align_corners=False)[
        0, 0
    ]
    cover = torch.sigmoid((leg.edge - across.abs()) / leg.softness)
    cover = torch.where((aside == 0) & (beyond == 0), torch.ones_like(cover), cover)
    return grey * torch.exp(-leg.thinning * aside), cover


def compose(
    crops: Sequence[tuple[Tensor, PlacedKnee, bool]], size: int, rng: np.random.Generator
) -> Tensor:
    """Legs, each of them ``(crop, place, flip)``, before one background."""
    film = shading(size, rng) * rng.uniform(0.0, 0.3)
    for crop, place, flip in crops:
        grey, cover = lay(crop, place.region, Leg.draw(rng), size, flip=flip)
        film = film * (1 - cover) + grey * cover
    return film


def expose(film: Film, rng: np.random.Generator) -> Film:
    """What the X-ray room adds: exposure, shading, noise, letters, borders, perhaps inversion."""
    size = film.pixels.shape[0]
    pixels = film.pixels.clamp(0, 1) ** rng.uniform(0.6, 1.6)
    low = rng.uniform(0.0, 0.25)
    pixels = low + (rng.uniform(low + 0.35, 1.0) - low) * pixels
    if rng.random() < 0.3:
        pixels = pixels * (0.75 + 0.25 * shading(size, rng))
    if rng.random() < 0.3:
        pixels = resharpen(pixels, rng)
    noise = torch.from_numpy(rng.standard_normal((size, size), dtype=np.float32))
    pixels = (pixels + noise * float(rng.choice([0.0, 0.01, 0.03]))).clamp(0, 1)
    return add_marks(film, pixels, rng)


def resharpen(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur or sharpen by what the nearest pixels differ."""
    blurred = F.avg_pool2d(pixels[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    return pixels + rng.uniform(-0.6, 1.0) * (blurred - pixels)


def add_marks(
    film: Film, pixels: Tensor, rng: np.random.Generator, *, spared: Sequence[Region] = ()
) -> Film:
    """Perhaps collimation, letters, inversion and a frame.

    Args:
        film: whose knees and content hold.
        pixels: its exposed grey values, ``(S, S)`` 0..1.
        rng: draws.
        spared: squares that collimation and letters keep clear of.
    """
    if rng.random() < 0.4:
        pixels = _collimated(pixels, film.content, rng, spared)
    if rng.random() < 0.5:
        pixels = _lettered(pixels, film.content, rng, spared)
    inverted = bool(rng.random() < 0.25)
    if inverted:
        pixels = 1 - pixels
    if rng.random() < 0.15:
        pixels = _bordered(pixels, film.content, rng)
    left, top, right, bottom = film.content
    canvas = torch.zeros_like(pixels)
    canvas[top:bottom, left:right] = pixels[top:bottom, left:right]
    return Film(canvas, film.content, film.knees, inverted)


def shading(size: int, rng: np.random.Generator) -> Tensor:
    """Smooth grey values 0..1, ``(S, S)``."""
    coarse = torch.from_numpy(rng.random((1, 1, 3, 3), dtype=np.float32))
    smooth: Tensor = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)
    return smooth[0, 0]


def _collimated(
    pixels: Tensor,
    content: tuple[int, int, int, int],
    rng: np.random.Generator,
    spared: Sequence[Region],
) -> Tensor:
    """Black or dim outside of a rectangle that may cut into the film by a tenth on each side."""
    left, top, right, bottom = content
    reach = 0.1 * np.array([right - left, bottom - top, right - left, bottom - top])
    for x0, y0, x1, y1 in map(_around, spared):
        reach = np.minimum(reach, np.maximum(0, [x0 - left, y0 - top, right - x1, bottom - y1]))
    cuts = (rng.uniform(0, 1, 4) * reach).astype(int)
    lit = torch.zeros_like(pixels)
    lit[top + cuts[1] : bottom - cuts[3], left + cuts[0] : right - cuts[2]] = 1
    return pixels * lit + float(rng.choice([0.0, 0.02, 0.1])) * (1 - lit)


def _around(region: Region) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a turned square."""
    x, y = zip(*region.corners(), strict=True)
    return min(x), min(y), max(x), max(y)


def _bordered(
    pixels: Tensor, content: tuple[int, int, int, int], rng: np.random.Generator
) -> Tensor:
    """A frame of one grey value around the film, as printed or photographed films have it."""
    left, top, right, bottom = content
    thick = 1 + int(rng.uniform(0, 0.05) * min(right - left, bottom - top))
    framed = torch.full_like(pixels, float(rng.choice([0.0, 0.5, 1.0])))
    inner = (slice(top + thick, bottom - thick), slice(left + thick, right - thick))
    framed[inner] = pixels[inner]
    return framed


def _lettered(
    pixels: Tensor,
    content: tuple[int, int, int, int],
    rng: np.random.Generator,
    spared: Sequence[Region],
) -> Tensor:
    """One or two letters somewhere; they tell nothing of the side."""
    left, top, right, bottom = content
    picture = Image.fromarray((pixels.numpy() * 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    written = []
    for _ in range(rng.integers(1, 3)):
        height = max(6, int(rng.uniform(0.03, 0.1) * (bottom - top)))
        place = (rng.uniform(left, right - height), rng.uniform(top, bottom - height))
        word = str(rng.choice(["L", "R", "AP", "PA", "R 12", "L WB"]))
        grey, font = int(rng.integers(170, 256)), ImageFont.load_default(height)
        box = pen.textbbox(place, word, font=font)
        if all(_clear(box, _around(region)) for region in spared):
            pen.text(place, word, grey, font)
            x0, y0, x1, y1 = (max(0, round(edge)) for edge in box)
            written.append((slice(y0, y1 + 1), slice(x0, x1 + 1)))
    if not written:
        return pixels
    drawn = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)
    if not spared:
        return drawn
    marked = pixels.clone()
    for inside in written:  # elsewhere the eight bits of the pen would only cost grey values
        marked[inside] = drawn[inside]
    return marked


def _clear(box: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two rectangles (left, top, right, bottom) do not touch."""
    return box[2] < other[0] or other[2] < box[0] or box[3] < other[1] or other[3] < box[1]
