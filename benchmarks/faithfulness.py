"""Does the map matter to the grade? Deletion and insertion curves against a random map.

    python benchmarks/faithfulness.py [--knees examples] [--model BUNDLE] [--steps 10] [--seed 0]

One line a knee: areas under the curves (mean probability of the grade while pixels are blurred away
or brought back), and the gain over the random map; then their means. One look at each picture: with
the look at the mirror image it would take twice the time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kellgren import Ensemble
from kellgren.explanation.faithfulness import faithfulness
from kellgren.grading.bundle import default_bundle


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--knees", type=Path, default=Path("examples"))
    words.add_argument("--model", type=Path, default=default_bundle())
    words.add_argument("--steps", type=int, default=10)
    words.add_argument("--seed", type=int, default=0)
    given = words.parse_args()

    ensemble = Ensemble.open(given.model, mirror=False)
    names = ("deletion", "random_deletion", "insertion", "random_insertion")
    print(f"{'knee':<14} grade {' '.join(f'{name:>16}' for name in names)}    gain")
    rows = []
    for number, path in enumerate(sorted(given.knees.glob("*.png"))):
        reading = ensemble.read(path)[0]
        curves = faithfulness(
            lambda crop: ensemble.panel.examine(crop).probabilities,
            reading.crop,
            reading.activation,
            steps=given.steps,
            seed=given.seed + number,
        )
        areas = [curves.area(getattr(curves, name)) for name in names]
        rows.append([*areas, curves.gain])
        line = " ".join(f"{area:16.3f}" for area in areas)
        print(f"{path.stem:<14} {curves.grade:>5} {line} {curves.gain:+7.3f}", flush=True)
    means = np.mean(rows, axis=0)
    line = " ".join(f"{area:16.3f}" for area in means[:-1])
    better = sum(row[-1] > 0 for row in rows)
    print(f"{'mean':<14} {'':>5} {line} {means[-1]:+7.3f}")
    print(f"better than the random map: {better} of {len(rows)} knees")


if __name__ == "__main__":
    main()
