"""Open growth plates as they are drawn on real knees: dark bands across femur and tibia."""

from __future__ import annotations

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.knee import Plane
from kellgren.training.gate_making.painting import noise, unit


def with_growth_plates(knee: Plane, rng: np.random.Generator) -> tuple[Plane, Float32Array]:
    """A square knee with open growth plates in femur, tibia or both, and where, ``(S, S)`` 0..1."""
    covered = np.zeros_like(knee)
    both = rng.random() < 0.8
    first = bool(rng.random() < 0.5)
    depth = rng.uniform(0.12, 0.55)
    wide = rng.uniform(0.006, 0.025)
    for is_femur in (True, False):
        if both or is_femur == first:
            height = rng.uniform(0.24, 0.36) if is_femur else rng.uniform(0.7, 0.82)
            line = _curve(knee.shape[0], height, rng)
            half = wide * rng.uniform(0.7, 1.4)
            knee, here = band(knee, line, half, depth * rng.uniform(0.7, 1.3), rng)
            covered = np.maximum(covered, here)
    return knee, covered


def band(
    knee: Plane, line: Float32Array, wide: float, depth: float, rng: np.random.Generator
) -> tuple[Plane, Float32Array]:
    """A band of cartilage along a line, and where it lies, ``(S, S)`` 0..1.

    Args:
        knee: ``(S, S)``.
        line: ``(S,)`` its height at each column, 0..1.
        wide: half its width, of the picture's.
        depth: share of the grey value that it takes away, in its middle.
        rng: draws its ends, its unevenness and whether bone is denser beside it.
    """
    size = knee.shape[0]
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    left, right = rng.uniform(0.04, 0.18), rng.uniform(0.82, 0.96)
    soft = rng.uniform(0.005, 0.03)
    inside = 1 / (1 + np.exp(-(axis - left) / soft)) / (1 + np.exp((axis - right) / soft))
    uneven = 1 + 0.4 * noise(size, 12, rng)[0]
    off = (axis[:, None] - line[None, :]) / (wide * np.clip(uneven, 0.4, 2))[None, :]
    profile = np.exp(-(np.abs(off) ** rng.uniform(1.6, 4)))
    covered = (profile * inside[None, :]).astype(np.float32)
    dark = knee * (1 - min(depth, 0.9) * covered)
    if rng.random() < 0.5:  # the calcified zone beside it
        beside = np.exp(-((np.abs(off) - 2) ** 2)) * inside[None, :]
        dark = dark + rng.uniform(0.02, 0.1) * beside
    return unit(dark), unit(covered)


def _curve(size: int, height: float, rng: np.random.Generator) -> Float32Array:
    """Height of the plate at each column: tilted, arched, undulating."""
    x = np.linspace(-1, 1, size, dtype=np.float32)
    arch = rng.uniform(-0.05, 0.05) * (1 - x**2)
    waves = sum(
        rng.uniform(0, 0.012) * np.sin(k * np.pi * x + rng.uniform(0, 2 * np.pi))
        for k in (1, 2, 3, 5, 8)
    )
    return np.asarray(height + rng.normal(0, 0.012) * x + arch + waves, dtype=np.float32)
