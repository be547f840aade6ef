"""How often the shift watch cries wolf, and from how many patients on it notices a change.

    python benchmarks/shift_watch.py [--tables results/shift] [--draws 1000]

False alarms: the patients of the held-out table are split at random, one part against the other.
Power: the same split, the smaller part altered: by knees that were altered and graded again (whose
patients are none of the table's), or drawn so that grades have another frequency.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kellgren.shift.quantities import QUANTITIES
from kellgren.shift.sample import Sample, WatchedKnees, one_per_patient
from kellgren.shift.tables import read_watched
from kellgren.shift.two_samples import Shift, compare

PERMUTATIONS = 399
SIZES = (25, 50, 100, 150)
ODDS = 2.0  # of grades 2 to 4 against 0 and 1, for another frequency of grades

Split = Callable[[np.random.Generator, int], tuple[Sample, Sample]]


def part(knees: WatchedKnees, places: np.ndarray) -> Sample:
    values = {it.key: knees.values[it.key][places] for it in QUANTITIES}
    return one_per_patient(WatchedKnees(tuple(knees.patients[at] for at in places), values))


def random_split(knees: WatchedKnees) -> Split:
    def split(rng: np.random.Generator, count: int) -> tuple[Sample, Sample]:
        order = rng.permutation(len(knees.patients))
        return part(knees, order[:count]), part(knees, order[count:])

    return split


def more_arthritis(knees: WatchedKnees) -> Split:
    """Knees of grades 2 to 4 are drawn with `ODDS`."""
    weights = np.where(knees.values["grade"] >= 2, ODDS, 1.0)

    def split(rng: np.random.Generator, count: int) -> tuple[Sample, Sample]:
        order = np.argsort(rng.exponential(size=len(weights)) / weights)
        return part(knees, order[:count]), part(knees, rng.permutation(order[count:]))

    return split


def altered(knees: WatchedKnees, changed: WatchedKnees) -> Split:
    """Some of the altered patients, each once, against all of the table."""

    def split(rng: np.random.Generator, count: int) -> tuple[Sample, Sample]:
        drawn = rng.permutation(len(changed.patients))[:count]
        values = {it.key: changed.values[it.key][drawn] for it in QUANTITIES}
        now = one_per_patient(WatchedKnees(tuple(map(str, range(count))), values))
        return now, part(knees, rng.permutation(len(knees.patients)))

    return split


def line(name: str, split: Split, count: int, draws: int) -> str:
    found: list[Shift] = []
    for seed in range(draws):
        now, reference = split(np.random.default_rng(seed), count)
        found.append(compare(now, reference, permutations=PERMUTATIONS, seed=seed))
    any_of = np.mean([bool(it.noticed) for it in found])
    each = [
        np.mean([any(change.key == it.key for change in shift.noticed) for shift in found])
        for it in QUANTITIES
    ]
    return f"| {name} | {count} | {any_of:.3f} | " + " | ".join(f"{x:.3f}" for x in each) + " |"


def of_variant(path: Path, name: str) -> WatchedKnees:
    """The rows of one alteration."""
    with gzip.open(path, "rt", newline="") as stream:
        kept = np.array([row["image"].startswith(f"{name}/") for row in csv.DictReader(stream)])
    every, _ = read_watched(path)
    values = {it.key: every.values[it.key][kept] for it in QUANTITIES}
    return WatchedKnees(tuple(np.array(every.patients)[kept]), values)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--tables", type=Path, default=Path("results/shift"))
    words.add_argument("--draws", type=int, default=1000)
    given = words.parse_args()
    knees, _ = read_watched(given.tables / "held_out.csv.gz")
    print("| change | patients | any | grades | certainty | gate distance | exposure |")
    print("|---|---|---|---|---|---|---|")
    for count in SIZES:
        print(line("none", random_split(knees), count, given.draws), flush=True)
    few = max(1, given.draws // 5)
    for count in SIZES:
        print(line("twice the odds of grade 2 to 4", more_arthritis(knees), count, few), flush=True)
    path = given.tables / "altered.csv.gz"
    for name in ("gamma 1.4", "blur 2"):
        changed = of_variant(path, name)
        for count in (it for it in SIZES if it <= len(changed.patients)):
            print(line(name, altered(knees, changed), count, few), flush=True)


if __name__ == "__main__":
    main()
