"""Drawn joints whose widths are known, to try a rater or a method on.

    python benchmarks/drawn_joints.py FOLDER [--count 6] [--seed 1]

Writes joint-N.png, the manifest knees.csv and, to be read afterwards, widths.csv: the narrowest
vertical width of the left and the right compartment between 0.15 and 0.4 of the condylar width.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, FINE = 299, 4
ENDS = (28.0, 270.0)
MIDDLES = (0.15, 0.4)


def main() -> None:
    """Draw them."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("folder", type=Path)
    words.add_argument("--count", type=int, default=6)
    words.add_argument("--seed", type=int, default=1)
    given = words.parse_args()
    given.folder.mkdir(parents=True)
    rng = np.random.default_rng(given.seed)
    widths = []
    for number in range(1, given.count + 1):
        pixels, left, right = drawn(rng)
        Image.fromarray(pixels).save(given.folder / f"joint-{number}.png")
        widths.append((f"joint-{number}.png", f"{left:.3f}", f"{right:.3f}"))
    _table(given.folder / "widths.csv", [("image", "left", "right"), *widths])
    rows = [(name, name[:-4], "R", 0) for name, *_ in widths]
    _table(given.folder / "knees.csv", [("image", "patient", "side", "grade"), *rows])


def drawn(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """The grey values ``(299, 299)`` of a joint, and the true widths left and right, in pixels.

    Two convex condyles above a plateau of two dishes and an eminence, both with a bright
    subchondral line, blurred by 0.9 pixels and with noise, as in the published crops.
    """
    x = (np.arange(SIDE * FINE) + 0.5) / FINE - 0.5
    place = (x - ENDS[0]) / (ENDS[1] - ENDS[0])
    level, tilt = rng.uniform(168, 182), rng.uniform(-6, 6)
    left_half = place < 0.5
    lowest = np.where(left_half, rng.uniform(0.2, 0.32), rng.uniform(0.68, 0.8))
    bend = np.where(left_half, rng.uniform(300, 600), rng.uniform(300, 600))
    gap = np.where(left_half, rng.uniform(1.5, 18), rng.uniform(1.5, 18))
    dish = np.where(left_half, rng.uniform(0, 120), rng.uniform(0, 120))
    line = level + tilt * (place - 0.5)
    femur = np.maximum(line - bend * (place - lowest) ** 2, level - 40)
    spine = 22 * np.exp(-(((place - 0.5) / 0.06) ** 2))
    tibia = np.maximum(line + gap - dish * np.abs(place - lowest) ** 2 - spine, femur)
    rows = x[:, None]
    inside = (place > 0) & (place < 1)
    edge = rng.uniform(10, 45)  # how much brighter the plateau's line is than its bone
    grey = np.full((len(x), len(x)), 70.0)
    grey[(rows < femur) & inside] = 165
    grey[(rows < femur) & (rows > femur - 1.5) & inside] = 180
    grey[(rows > tibia) & inside] = 160
    grey[(rows > tibia) & (rows < tibia + rng.uniform(2, 5)) & inside] = 160 + edge
    small = grey.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))
    noisy = blurred(small, 0.9) + blurred(rng.normal(0, 8, small.shape), 0.5)
    widths = [
        float((tibia - femur)[(at > MIDDLES[0]) & (at < MIDDLES[1])].min())
        for at in (place, 1 - place)
    ]
    return np.clip(noisy, 0, 255).astype(np.uint8), widths[0], widths[1]


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian, mirrored at the border."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    for axis in (0, 1):
        padded = np.pad(
            values, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], "symmetric"
        )
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=axis)
        values = windows @ (kernel / kernel.sum())
    return values


def _table(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("x", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
