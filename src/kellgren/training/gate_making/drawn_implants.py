"""Implants as they are drawn on real knees, to learn from: prostheses, plates, screws, nails.

Coordinates are those of a crop as published: the joint line lies at 0.575 of the height, the
condyles reach from 0.07 to 0.93 of the width.
"""

from __future__ import annotations

import math

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.knee import Plane
from kellgren.training.gate_making.painting import Shape, lay_cement, lay_metal

JOINT = 0.575
"""Height of the joint line in a crop."""


def with_implant(knee: Plane, rng: np.random.Generator) -> tuple[Plane, Float32Array]:
    """A square knee with one implant of any kind, and where the metal lies, ``(S, S)`` 0..1."""
    size = knee.shape[0]
    kinds = (total, partial, patellofemoral, plate, screws, nail, wires)
    chosen = int(rng.choice(len(kinds), p=[0.36, 0.16, 0.08, 0.14, 0.12, 0.08, 0.06]))
    mask = kinds[chosen](Shape(size), rng).mask()
    if chosen < 2 and rng.random() < 0.4:
        knee = lay_cement(knee, mask, rng)
    return lay_metal(knee, mask, rng), mask


def total(shape: Shape, rng: np.random.Generator) -> Shape:
    """Femoral component of two condyles, tibial tray with its keel."""
    joint = JOINT + rng.normal(0, 0.02)
    _femoral(shape, joint, rng)
    _tray(
        shape,
        joint + rng.uniform(0.02, 0.07),
        (0.5 - rng.uniform(0.35, 0.44), 0.5 + rng.uniform(0.35, 0.44)),
        rng,
    )
    return shape


def partial(shape: Shape, rng: np.random.Generator) -> Shape:
    """One compartment: a runner on a condyle, half a tray with a fin."""
    joint = JOINT + rng.normal(0, 0.02)
    middle = 0.5 + rng.choice([-1, 1]) * rng.uniform(0.2, 0.27)
    wide = rng.uniform(0.1, 0.18)
    tall = rng.uniform(0.06, 0.15)
    if rng.random() < 0.5:  # seen as a solid
        shape.oval(middle, joint - tall, wide, tall, rng.uniform(2, 4))
    else:  # a thin shell, concave above
        shape.oval(middle, joint - tall, wide, tall)
        thick = rng.uniform(0.02, 0.04)
        shape.oval(middle, joint - tall - thick, wide - thick * 0.7, tall, value=0)
        shape.box(middle - 0.01, joint - tall - 0.08, middle + 0.01, joint - thick)
    y = joint + rng.uniform(0.02, 0.06)
    thick = rng.uniform(0.015, 0.035)
    half = rng.uniform(0.1, 0.18)
    shape.box(middle - half, y, middle + half, y + thick)
    deep = rng.uniform(0.04, 0.12)
    for _ in range(int(rng.integers(0, 3))):
        x = middle + rng.uniform(-0.6, 0.6) * half
        shape.box(x - 0.01, y, x + 0.01, y + deep)
    return shape


def patellofemoral(shape: Shape, rng: np.random.Generator) -> Shape:
    """A shield on the trochlea."""
    y = JOINT - rng.uniform(0.2, 0.32)
    top, low = rng.uniform(0.1, 0.24), rng.uniform(0.03, 0.12)
    down, bulge = rng.uniform(0.14, 0.26), rng.uniform(0, 0.06)
    outline = [
        (0.5 - top, y),
        (0.5 + top, y),
        (0.5 + top + bulge, y + down / 2),
        (0.5 + low, y + down),
        (0.5 - low, y + down),
        (0.5 - top - bulge, y + down / 2),
    ]
    return shape.polygon(outline)


def plate(shape: Shape, rng: np.random.Generator) -> Shape:
    """A plate along the side of tibia or femur, with screws across."""
    side = rng.choice([-1, 1])
    below = bool(rng.random() < 0.6)
    near = JOINT + rng.uniform(0.04, 0.1) if below else JOINT - rng.uniform(0.1, 0.2)
    far = 1.02 if below else -0.02
    x = 0.5 + side * rng.uniform(0.26, 0.4)
    end = 0.5 + side * rng.uniform(0.12, 0.25)
    wide = rng.uniform(0.025, 0.06)
    bend = (0.5 + side * rng.uniform(0.2, 0.36), (near + far) / 2)
    shape.line([(x, near), bend, (end, far)], wide)
    for step in np.linspace(0.05, 0.9, int(rng.integers(3, 8))):
        y = near + (far - near) * step
        start = np.interp(step, [0, 0.5, 1], [x, bend[0], end])
        reach = rng.uniform(0.2, 0.6) * (1 if step < 0.5 else 0.5)
        tilt = rng.uniform(-0.05, 0.05)
        _screw(shape, (float(start), y), (float(start - side * reach), y + tilt), rng)
    return shape


def screws(shape: Shape, rng: np.random.Generator) -> Shape:
    """One to four screws, anchors or staples."""
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(0.15, 0.85), JOINT + rng.choice([-1, 1]) * rng.uniform(0.05, 0.35)
        turn, long = rng.uniform(0, 2 * math.pi), rng.uniform(0.08, 0.4)
        end = (x + long * math.cos(turn), y + long * math.sin(turn) * 0.6)
        if rng.random() < 0.25:
            wide, thick = rng.uniform(0.05, 0.12), rng.uniform(0.01, 0.02)
            shape.line([(x, y + wide), (x, y), (x + wide, y), (x + wide, y + wide)], thick)
        else:
            _screw(shape, (x, y), end, rng)
    return shape


def nail(shape: Shape, rng: np.random.Generator) -> Shape:
    """A rod in the shaft of femur or tibia, with screws that lock it."""
    below = bool(rng.random() < 0.5)
    x, wide = 0.5 + rng.uniform(-0.08, 0.08), rng.uniform(0.05, 0.1)
    end = JOINT + rng.uniform(0.05, 0.15) if below else JOINT - rng.uniform(0.05, 0.2)
    far = (x + rng.uniform(-0.06, 0.06), 1.02 if below else -0.02)
    shape.line([(x, end), far], wide)
    for _ in range(int(rng.integers(1, 4))):
        y = end + (far[1] - end) * rng.uniform(0.1, 0.7)
        tilt = rng.uniform(-0.1, 0.1)
        _screw(shape, (x - rng.uniform(0.1, 0.35), y), (x + rng.uniform(0.1, 0.35), y + tilt), rng)
    return shape


def wires(shape: Shape, rng: np.random.Generator) -> Shape:
    """Pins, and wire bent into loops."""
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.9)
        turn, long = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 0.8)
        end = (x + long * math.cos(turn), y + long * math.sin(turn))
        shape.line([(x, y), end], rng.uniform(0.008, 0.02))
    if rng.random() < 0.5:
        x, y = rng.uniform(0.35, 0.65), rng.uniform(0.3, 0.5)
        across, down = rng.uniform(0.06, 0.15), rng.uniform(0.08, 0.2)
        turns = np.linspace(0, 2 * np.pi, 24)
        loop = [(x + across * math.sin(t), y + down * math.sin(2 * t)) for t in turns]
        shape.line(loop, rng.uniform(0.008, 0.015))
    return shape


def _femoral(shape: Shape, joint: float, rng: np.random.Generator) -> None:
    power, half = rng.uniform(2, 5), rng.uniform(0.17, 0.25)
    across, down = rng.uniform(0.14, 0.22), rng.uniform(0.08, 0.17)
    corners = int(rng.integers(6, 11)) if rng.random() < 0.4 else 0
    for side in (-1, 1):
        x, y = 0.5 + side * half, joint - down * rng.uniform(0.85, 1.1)
        if corners:
            turns = np.sort(rng.uniform(0, 2 * np.pi, corners))
            shape.polygon(
                [(x + across * 1.15 * math.cos(t), y + down * 1.15 * math.sin(t)) for t in turns]
            )
        else:
            shape.oval(x, y, across * rng.uniform(0.9, 1.1), down, power)
    top = joint - down * rng.uniform(1.2, 2.4)
    narrow = rng.uniform(0.12, 0.3)
    shape.polygon(
        [
            (0.5 - narrow, top),
            (0.5 + narrow, top),
            (0.5 + half + across * 0.5, joint - down),
            (0.5 - half - across * 0.5, joint - down),
        ]
    )
    if rng.random() < 0.8:  # the notch between the condyles
        deep = rng.uniform(0.6, 1.6) * down
        shape.oval(0.5, joint, rng.uniform(0.05, 0.12), deep, rng.uniform(2, 5), value=0)
    if rng.random() < 0.25:  # hollow: only the shell is metal
        shape.oval(0.5, joint - down * 1.6, half, down, 3, value=rng.uniform(0, 0.5))
    for _ in range(int(rng.integers(0, 3))):
        x = 0.5 + rng.uniform(-0.25, 0.25)
        shape.box(x - 0.015, top - rng.uniform(0, 0.1), x + 0.015, joint - down)


def _tray(shape: Shape, y: float, ends: tuple[float, float], rng: np.random.Generator) -> None:
    thick = rng.uniform(0.02, 0.05)
    tilt = rng.normal(0, 0.01)
    left, right = ends
    shape.polygon(
        [(left, y + tilt), (right, y - tilt), (right, y - tilt + thick), (left, y + tilt + thick)]
    )
    x, wide, deep = 0.5 + rng.normal(0, 0.02), rng.uniform(0.03, 0.1), rng.uniform(0.08, 0.4)
    kind = int(rng.integers(0, 4))
    if kind == 0:  # tapered
        shape.polygon(
            [
                (x - wide, y),
                (x + wide, y),
                (x + wide * 0.4, y + deep),
                (x - wide * 0.4, y + deep),
            ]
        )
    elif kind == 1:  # a cylinder
        shape.box(x - wide * 0.6, y, x + wide * 0.6, y + deep)
    elif kind == 2:  # a stem with wings
        shape.box(x - wide * 0.4, y, x + wide * 0.4, y + deep)
        wing = rng.uniform(1.5, 3)
        shape.polygon([(x - wide * wing, y), (x + wide * wing, y), (x, y + deep * 0.6)])
    else:  # pegs
        for place in np.linspace(left + 0.1, right - 0.1, int(rng.integers(2, 5))):
            shape.box(place - 0.02, y, place + 0.02, y + deep * 0.4)


def _screw(
    shape: Shape, head: tuple[float, float], tip: tuple[float, float], rng: np.random.Generator
) -> None:
    """A shaft, at times with thread, at times with a head."""
    wide = rng.uniform(0.012, 0.035)
    shape.line([head, tip], wide)
    along = np.subtract(tip, head)
    long = float(np.hypot(*along))
    if long > 0 and rng.random() < 0.5:
        across = np.array([-along[1], along[0]]) / long * wide * 0.9
        for step in np.arange(0.3, 1.0, 0.025 / max(long, 0.05)):
            middle = np.array(head) + step * along
            ends = [tuple(middle - across), tuple(middle + across)]
            shape.line([(float(p[0]), float(p[1])) for p in ends], 0.006)
    if rng.random() < 0.6:
        shape.oval(*head, wide * 1.1, wide * 1.1)
