"""Implants and growth plates of shapes that the gate's training did not draw: to try it on."""

from __future__ import annotations

import math

import numpy as np

from kellgren.knee import Plane
from kellgren.training.gate_making.painting import Shape, blurred, lay_cement, lay_metal

JOINT = 0.575


def prosthesis(knee: Plane, rng: np.random.Generator) -> Plane:
    """A hinged, a curved or a faceted prosthesis, with stems, cones or augments."""
    draw = (_hinged, _curved, _faceted)[int(rng.integers(3))]
    mask = draw(Shape(knee.shape[0]), rng).mask()
    if rng.random() < 0.3:
        knee = lay_cement(knee, mask, rng)
    return lay_metal(knee, mask, rng)


def osteosynthesis(knee: Plane, rng: np.random.Generator) -> Plane:
    """A blade plate, an anatomical plate with holes, or the pins and rods of a fixator."""
    draw = (_blade, _with_holes, _fixator)[int(rng.integers(3))]
    return lay_metal(knee, draw(Shape(knee.shape[0]), rng).mask(), rng)


def growth_plates(knee: Plane, rng: np.random.Generator) -> Plane:
    """Zigzag gaps of sharp edges in femur and tibia, of uneven width, in two or three pieces."""
    size = knee.shape[0]
    shown = knee
    depth = rng.uniform(0.15, 0.5)
    for low, high in ((0.22, 0.36), (0.7, 0.84)):
        shape, y = Shape(size), rng.uniform(low, high)
        x = np.linspace(rng.uniform(0.06, 0.18), rng.uniform(0.82, 0.94), 9)
        line = y + rng.uniform(-0.02, 0.02, 9) + rng.uniform(-0.03, 0.03) * (x - 0.5)
        half = rng.uniform(0.005, 0.016, 9)
        above = list(zip(x.tolist(), (line - half).tolist(), strict=True))
        below = list(zip(x.tolist(), (line + half).tolist(), strict=True))
        shape.polygon([*above, *reversed(below)])
        if rng.random() < 0.4:
            at = rng.uniform(0.3, 0.7)
            shape.box(at, low - 0.1, at + 0.05, high + 0.1, value=0)
        shown = shown * (1 - depth * blurred(shape.mask(), rng.uniform(0, 1.5)))
    return shown.astype(np.float32)


def _hinged(shape: Shape, rng: np.random.Generator) -> Shape:
    joint = JOINT + rng.normal(0, 0.02)
    wide, tall = rng.uniform(0.2, 0.4), rng.uniform(0.14, 0.26)
    shape.box(0.5 - wide, joint - tall, 0.5 + wide, joint - 0.03)
    shape.box(0.5 - wide * 0.35, joint - tall * 0.6, 0.5 + wide * 0.35, joint, value=0)
    shape.oval(0.5, joint - tall * 0.4, wide * 1.05, 0.025)
    shape.box(0.5 - 0.04, joint - tall * 0.5, 0.5 + 0.04, joint + 0.05)
    shape.box(0.5 - wide * 1.1, joint + 0.02, 0.5 + wide * 1.1, joint + 0.06)
    _stem(shape, joint - tall, -0.05, rng)
    _stem(shape, joint + 0.05, 1.05, rng)
    return shape


def _curved(shape: Shape, rng: np.random.Generator) -> Shape:
    """An outline of smooth waves, as a real femoral component's, over a dished tray."""
    joint = JOINT + rng.normal(0, 0.02)
    half, tall = rng.uniform(0.34, 0.44), rng.uniform(0.16, 0.3)
    x = np.linspace(-1, 1, 61)
    low = joint - 0.02 - 0.06 * (np.abs(x) - 0.55) ** 2 * 4 - 0.1 * np.exp(-((x / 0.22) ** 2))
    top = joint - tall * (1 - 0.45 * x**2) + 0.02 * np.cos(6 * x)
    places = (0.5 + half * x).tolist()
    shape.polygon(
        [
            *zip(places, top.tolist(), strict=True),
            *reversed(list(zip(places, low.tolist(), strict=True))),
        ]
    )
    floor = joint + 0.035 + 0.02 * x**2
    under = floor + 0.03 + 0.06 * np.exp(-((x / rng.uniform(0.1, 0.4)) ** 2))
    shape.polygon(
        [
            *zip(places, floor.tolist(), strict=True),
            *reversed(list(zip(places, under.tolist(), strict=True))),
        ]
    )
    if rng.random() < 0.5:
        _stem(shape, joint + 0.08, joint + rng.uniform(0.15, 0.5), rng)
    return shape


def _faceted(shape: Shape, rng: np.random.Generator) -> Shape:
    """Straight cuts, an augment under one side of the tray, a porous cone."""
    joint = JOINT + rng.normal(0, 0.02)
    for side in (-1, 1):
        cuts = [
            (0.06, -0.1),
            (0.1, -0.22),
            (0.3, -0.26),
            (0.42, -0.16),
            (0.38, -0.03),
            (0.14, -0.02),
        ]
        shape.polygon(
            [
                (0.5 + side * x * rng.uniform(0.9, 1.1), joint + y * rng.uniform(0.85, 1.15))
                for x, y in cuts
            ]
        )
    shape.box(0.42, joint - 0.2, 0.58, joint - 0.1)
    shape.box(0.1, joint + 0.03, 0.9, joint + 0.06)
    side = rng.choice([-1, 1])
    left, right = sorted((0.5 + side * 0.1, 0.5 + side * 0.4))
    shape.box(left, joint + 0.06, right, joint + 0.06 + rng.uniform(0.02, 0.08))
    for ring in range(int(rng.integers(2, 6))):
        y, wide = joint + 0.1 + 0.04 * ring, 0.2 - 0.03 * ring
        shape.line([(0.5 - wide, y), (0.5 + wide, y)], 0.012)
    return shape


def _stem(shape: Shape, start: float, end: float, rng: np.random.Generator) -> None:
    wide = rng.uniform(0.025, 0.06)
    shape.line([(0.5, start), (0.5, end)], 2 * wide)
    for flute in (-0.5, 0.5):
        shape.line([(0.5 + flute * wide, start), (0.5 + flute * wide, end)], 0.008, value=0.4)


def _blade(shape: Shape, rng: np.random.Generator) -> Shape:
    side, y = rng.choice([-1, 1]), JOINT - rng.uniform(0.12, 0.24)
    outer, inner = 0.5 + side * rng.uniform(0.34, 0.42), 0.5 - side * rng.uniform(0.05, 0.25)
    shape.line([(inner, y), (outer, y), (0.5 + side * 0.26, -0.02)], rng.uniform(0.04, 0.07))
    return shape


def _with_holes(shape: Shape, rng: np.random.Generator) -> Shape:
    side = rng.choice([-1, 1])
    x = np.array([0.22, 0.4, 0.38, 0.3, 0.26, 0.18])
    y = JOINT + np.array([0.04, 0.05, 0.16, 0.3, 0.5, 0.5])
    outline = [(0.5 + side * a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    shape.polygon(outline)
    for step in np.linspace(0.08, 0.4, int(rng.integers(3, 7))):
        shape.oval(0.5 + side * (0.34 - 0.25 * step), JOINT + step, 0.016, 0.016, value=0)
    return shape


def _fixator(shape: Shape, rng: np.random.Generator) -> Shape:
    side = rng.choice([-1, 1])
    rod = 0.5 + side * rng.uniform(0.4, 0.47)
    shape.line([(rod, 0), (rod + rng.uniform(-0.03, 0.03), 1)], rng.uniform(0.03, 0.05))
    for y in rng.uniform(0.05, 0.95, int(rng.integers(2, 5))):
        tilt = rng.uniform(-0.1, 0.1)
        shape.line([(rod, y), (0.5 - side * rng.uniform(0, 0.3), y + tilt)], 0.018)
        shape.oval(rod, y, 0.035, 0.035 * math.cos(tilt))
    return shape
