"""Where a rater's marks lie on the steps of the grey values that they are meant to halve.

    python benchmarks/marks_on_steps.py results/joint_space/hand_second.csv --data kneeKL299

Only lone, clear steps count: at least 15 grey levels high, the dark beside them flat, the joint
at least 5 pixels wide. Where a rim lies above the floor there is no such step. Printed for each
pass and margin: how far the mark lies from the half-way towards the joint, in pixels.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

from kellgren.data.manifest import index

HEIGHT, FLATNESS, WIDTH = 15.0, 0.2, 5.0
NEAR, FAR, BONE = np.array([2.0, 2.5, 3.0]), np.array([3.5, 4.0, 4.5]), np.arange(0.5, 3.1, 0.25)
WALK = np.arange(-2.5, 3.0, 0.02)


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("hand", type=Path)
    words.add_argument("--data", type=Path, required=True)
    given = words.parse_args()
    images = {knee.image.name: knee.image for knee in index(given.data)}
    found: dict[tuple[str, str], list[float]] = {}
    with given.hand.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["part"] == "condyles" or not row["x1"]:
                continue
            x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
            if y2 - y1 < WIDTH:
                continue
            with Image.open(images[row["image"]]) as picture:
                pixels = np.asarray(picture.convert("L"), dtype=float)
            for margin, x, y, bone in (("femur", x1, y1, -1), ("tibia", x2, y2, 1)):
                away = from_half_way(pixels, x, y, bone)
                if away is not None:
                    found.setdefault((margin, row["pass"]), []).append(away)
    for (margin, turn), values in sorted(found.items()):
        print(
            f"{margin}, pass {turn}: {len(values)} marks, {np.mean(values):.2f} towards the joint, "
            f"SD {np.std(values, ddof=1):.2f}"
        )


def from_half_way(pixels: np.ndarray, x: float, y: float, bone: int) -> float | None:
    """How far a mark lies from the half-way towards the joint; None without a lone, clear step.

    ``bone`` is 1 where the bone lies below the mark, -1 where above.
    """
    column = round(x)
    profile = pixels[:, column - 1 : column + 2].mean(axis=1)

    def grey(steps: np.ndarray) -> np.ndarray:
        return np.interp(y + bone * steps, np.arange(len(profile)), profile)

    dark, bright = grey(-NEAR).mean(), grey(BONE).max()
    if bright - dark < HEIGHT or abs(dark - grey(-FAR).mean()) > FLATNESS * (bright - dark):
        return None
    above = grey(WALK) >= (bright + dark) / 2
    return float(WALK[above.argmax()]) if above.any() else None


if __name__ == "__main__":
    main()
