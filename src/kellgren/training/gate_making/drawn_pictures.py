"""Pictures that are no frontal knee, drawn: other views and joints, other modalities, drawings."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kellgren.arrays import Float32Array
from kellgren.knee import Plane
from kellgren.training.gate_making.painting import Shape, blurred, noise, unit

Drawer = Callable[[Plane, np.random.Generator], Plane]


def other_picture(knee: Plane, rng: np.random.Generator) -> Plane:
    """One picture that must not be graded; some are made of the knee, ``(S, S)``."""
    kinds: tuple[Drawer, ...] = (
        skyline,
        lateral,
        bones,
        turned,
        off_joint,
        shuffled,
        retoned,
        slices,
        ultrasound,
        figure,
        writing,
        texture,
    )
    return kinds[int(rng.integers(len(kinds)))](knee, rng)


def skyline(knee: Plane, rng: np.random.Generator) -> Plane:
    """A patella above the trochlear groove, either way up."""
    size = knee.shape[0]
    femur = Shape(size)
    groove, half = rng.uniform(0.38, 0.55), rng.uniform(0.25, 0.42)
    x = np.linspace(0.5 - half, 0.5 + half, 40)
    place, deep = 0.5 + rng.uniform(-0.1, 0.1), rng.uniform(0.03, 0.12)
    top = groove + deep * np.exp(-(((x - place) / (half * 0.35)) ** 2)) + 0.5 * (x - 0.5) ** 2
    sides = [(0.5 + half * rng.uniform(0.9, 1.2), 1.0), (0.5 - half * rng.uniform(0.9, 1.2), 1.0)]
    femur.polygon([*zip(x.tolist(), top.tolist(), strict=True), *sides])
    patella = Shape(size)
    wide, tall = rng.uniform(0.16, 0.3), rng.uniform(0.06, 0.12)
    centre = (place + rng.uniform(-0.08, 0.08), groove - tall * rng.uniform(0.7, 1.1))
    tip = (centre[0] + rng.uniform(-0.05, 0.05), centre[1] + tall * rng.uniform(1.0, 1.6))
    arch = np.linspace(0, np.pi, 20)
    roof = [(centre[0] - wide * math.cos(t), centre[1] - tall * math.sin(t)) for t in arch]
    patella.polygon([*roof, tip])
    skin = Shape(size).oval(0.5, 1.0, rng.uniform(0.45, 0.65), rng.uniform(0.8, 0.98), 2.2)
    return _shown([skin, femur, patella], size, rng, flips=True)


def lateral(knee: Plane, rng: np.random.Generator) -> Plane:
    """Condyles over each other, the patella in front, shafts bent against each other."""
    size = knee.shape[0]
    joint, bend = rng.uniform(0.48, 0.6), rng.uniform(-0.35, 0.35)
    round_x, radius = rng.uniform(0.42, 0.58), rng.uniform(0.16, 0.24)
    femur = Shape(size).oval(round_x, joint - radius, radius * 1.2, radius)
    femur.oval(round_x + 0.04, joint - radius, radius, radius * 0.9)
    femur.line([(round_x, joint - radius), (round_x - bend * 0.6, -0.1)], rng.uniform(0.16, 0.26))
    tibia = Shape(size).polygon(
        [
            (round_x - radius * 1.3, joint + 0.03),
            (round_x + radius * 1.3, joint + 0.05),
            (round_x + radius * 0.8 + bend, 1.05),
            (round_x - radius * 0.3 + bend, 1.05),
        ]
    )
    patella = Shape(size).oval(
        round_x - radius * rng.uniform(1.6, 2.1),
        joint - radius * rng.uniform(0.8, 1.6),
        rng.uniform(0.05, 0.08),
        rng.uniform(0.09, 0.15),
        2.5,
    )
    skin = Shape(size).line(
        [(round_x - bend * 0.6, -0.1), (round_x, joint), (round_x + bend, 1.1)],
        rng.uniform(0.6, 0.95),
    )
    return _shown([skin, femur, tibia, patella], size, rng, flips=False)


def bones(knee: Plane, rng: np.random.Generator) -> Plane:
    """Hands, feet, ribs, hips: rods side by side, with joints and heads."""
    size = knee.shape[0]
    shapes = []
    count = int(rng.integers(1, 7))
    for number in range(count):
        shape, x = Shape(size), (number + rng.uniform(0.3, 0.7)) / count
        wide, y = rng.uniform(0.25, 0.6) / count, rng.uniform(-0.2, 0.1)
        lean = rng.uniform(-0.2, 0.2)
        while y < 1:
            long = rng.uniform(0.15, 0.6)
            end = x + lean * long
            shape.line([(x, y), (end, y + long)], wide * 0.7)
            shape.oval(x, y, wide * 0.55, wide * 0.4).oval(end, y + long, wide * 0.6, wide * 0.45)
            x, y = end, y + long + rng.uniform(0.01, 0.05)
        shapes.append(shape)
    return _shown(shapes, size, rng, flips=True)


def turned(knee: Plane, rng: np.random.Generator) -> Plane:
    """A knee the wrong way up: what is graded must stand upright."""
    return np.ascontiguousarray(np.rot90(knee, int(rng.integers(1, 4))))


def off_joint(knee: Plane, rng: np.random.Generator) -> Plane:
    """A part of femur or tibia alone, magnified."""
    size = knee.shape[0]
    wide = int(size * rng.uniform(0.25, 0.42))
    top = int(rng.choice([0, size - wide]))
    left = int(rng.integers(0, size - wide))
    return _resized(knee[top : top + wide, left : left + wide], size)


def shuffled(knee: Plane, rng: np.random.Generator) -> Plane:
    """The knee's pieces in another order."""
    cells = int(rng.choice([2, 3, 4, 6]))
    step = knee.shape[0] // cells
    whole = knee[: cells * step, : cells * step].reshape(cells, step, cells, step)
    pieces = whole.transpose(0, 2, 1, 3).reshape(-1, step, step)[rng.permutation(cells * cells)]
    mixed = pieces.reshape(cells, cells, step, step).transpose(0, 2, 1, 3)
    return _resized(mixed.reshape(cells * step, cells * step), knee.shape[0])


def retoned(knee: Plane, rng: np.random.Generator) -> Plane:
    """Dark bone, or grey values that rise and fall, as tissue has them in other modalities."""
    low, high = np.quantile(knee, [0.02, 0.98])
    tone = unit((knee - low) / max(high - low, 1e-3))
    if rng.random() < 0.3:
        return unit(1 - tone)
    at = np.linspace(0, 1, int(rng.integers(4, 8)))
    values = np.resize([0.0, 1.0], len(at)) if rng.random() < 0.5 else rng.permutation(at)
    return unit(np.interp(tone, at, values))


def slices(knee: Plane, rng: np.random.Generator) -> Plane:
    """Slices of bodies and heads: ovals in ovals, some folded, before black."""
    size = knee.shape[0]
    plane = np.zeros((size, size), dtype=np.float32)
    x, y, across, down = 0.5, 0.5, rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.5)
    for _ in range(int(rng.integers(2, 5))):
        mask = blurred(Shape(size).oval(x, y, across, down, rng.uniform(1.8, 3)).mask(), 1)
        plane = unit(plane * (1 - mask) + rng.uniform(0, 1) * mask)
        across, down = across * rng.uniform(0.7, 0.95), down * rng.uniform(0.7, 0.95)
    for _ in range(int(rng.integers(2, 14))):
        a, b = rng.uniform(-0.7, 0.7, 2)
        small = Shape(size).oval(
            x + a * across, y + b * down, rng.uniform(0.02, 0.12), rng.uniform(0.02, 0.12)
        )
        mask = blurred(small.mask(), rng.uniform(0.5, 2))
        plane = unit(plane * (1 - mask) + rng.uniform(0, 1) * mask)
    folds = noise(size, int(rng.integers(8, 40)), rng) * rng.uniform(0, 0.4)
    return unit(plane * (1 + folds) + _grain(size, rng))


def ultrasound(knee: Plane, rng: np.random.Generator) -> Plane:
    """Speckle in layers, in a sector or a rectangle."""
    size = knee.shape[0]
    axis = np.linspace(0, 1, size, dtype=np.float32)
    layers = np.interp(axis, np.linspace(0, 1, 12), rng.uniform(0.05, 0.9, 12))
    bend = (noise(size, 3, rng) * 0.1 * size).astype(int)
    rows = np.clip(np.arange(size)[:, None] + bend, 0, size - 1)
    speckle = rng.rayleigh(0.6, (size, size)).astype(np.float32)
    plane = layers[rows] * blurred(unit(speckle / 2), rng.uniform(0.5, 2)) * 1.6
    if rng.random() < 0.6:
        reach = rng.uniform(0.5, 1.2)
        sector = Shape(size).polygon([(0.45, 0), (0.55, 0), (0.5 + reach, 1), (0.5 - reach, 1)])
        plane = plane * sector.mask()
    return unit(plane)


def figure(knee: Plane, rng: np.random.Generator) -> Plane:
    """Icons and plots: even shapes on an even ground."""
    size = knee.shape[0]
    plane = np.full((size, size), rng.uniform(0, 1), dtype=np.float32)
    for _ in range(int(rng.integers(2, 9))):
        shape, x, y = Shape(size), *rng.uniform(0.1, 0.9, 2)
        kind, long = int(rng.integers(3)), rng.uniform(0.06, 0.35)
        if kind == 0:
            turns = np.linspace(0, 2 * np.pi, int(rng.integers(3, 7)), endpoint=False)
            shape.polygon([(x + long * math.cos(t), y + long * math.sin(t) * 0.7) for t in turns])
        elif kind == 1:
            shape.oval(x, y, long, long * rng.uniform(0.3, 1), rng.uniform(1.2, 6))
        else:
            shape.line(list(zip(*rng.uniform(0, 1, (2, 4)).tolist(), strict=True)), long * 0.1)
        mask = shape.mask()
        plane = unit(plane * (1 - mask) + rng.uniform(0, 1) * mask)
    return plane


def writing(knee: Plane, rng: np.random.Generator) -> Plane:
    """Lines of text."""
    size = knee.shape[0]
    picture = Image.new("L", (size, size), int(rng.integers(0, 256)))
    pen, y, ink = ImageDraw.Draw(picture), 2.0, int(rng.integers(0, 256))
    tall = int(rng.integers(9, 40))
    font = ImageFont.load_default(tall)
    while y < size:
        letters = rng.choice(list("abcdefghiklmnoprstuvw    RLAP0123456789"), 40)
        pen.text((rng.uniform(0, 8), y), "".join(letters), ink, font)
        y += tall * 1.3
    return unit(np.asarray(picture, dtype=np.float32) / 255)


def texture(knee: Plane, rng: np.random.Generator) -> Plane:
    """Noise of several scales: no body at all."""
    size = knee.shape[0]
    plane = sum(
        (noise(size, int(rng.integers(2, 60)), rng) * rng.uniform(0.2, 1) for _ in range(3)),
        start=np.zeros((size, size), dtype=np.float32),
    )
    return unit(0.5 + plane / 3 + _grain(size, rng))


def _shown(shapes: list[Shape], size: int, rng: np.random.Generator, *, flips: bool) -> Plane:
    """Shapes as bone has them: a bright cortex, less bright and mottled within, soft edges."""
    plane = np.full((size, size), rng.uniform(0, 0.15), dtype=np.float32)
    mottle = 1 + noise(size, 40, rng) * rng.uniform(0, 0.15)
    for shape in shapes:
        mask = blurred(shape.mask(), rng.uniform(0.5, 3))
        cortex = (mask - blurred(mask, rng.uniform(3, 8))).clip(0, 1)
        bone = rng.uniform(0.15, 0.4) * mask * mottle + rng.uniform(0.2, 0.6) * cortex
        plane = np.asarray(plane + bone, dtype=np.float32)
    plane = plane * (1 + np.float32(0.3) * noise(size, 3, rng)) + _grain(size, rng)
    shown = unit(plane / max(float(plane.max()), 1e-3))
    return np.ascontiguousarray(shown[::-1]) if flips and rng.random() < 0.5 else shown


def _grain(size: int, rng: np.random.Generator) -> Float32Array:
    strength = rng.choice([0.0, 0.01, 0.04])
    grain = strength * rng.standard_normal((size, size))
    return np.asarray(grain, dtype=np.float32)


def _resized(plane: Plane, size: int) -> Plane:
    picture = Image.fromarray(np.ascontiguousarray(plane))
    return unit(np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)))
