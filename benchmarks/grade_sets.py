"""What grade sets and unnamed grades are worth out of fold: coverage, size, gain, with intervals.

    python benchmarks/grade_sets.py --labels kneeKL299 --members results/oof
    python benchmarks/grade_sets.py --labels kneeKL299 --table results/oof/inception-288.csv.gz

Every knee is told by thresholds of other patients' knees, in ten parts; intervals resample
patients. Knees are the bundle's own table out of fold; with ``--table`` those of one network,
whose temperature and biases are fitted to other patients' knees first, in the same parts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kellgren.arrays import Float64Array, IntArray, Mask
from kellgren.data.manifest import Knee, index
from kellgren.data.matching import Label, Labels, match
from kellgren.data.predictions import read_predictions
from kellgren.evaluation import score, selective
from kellgren.evaluation.bootstrap import PatientBootstrap, patient_indices
from kellgren.evaluation.intervals import share
from kellgren.grading.bundle import default_bundle, open_bundle
from kellgren.grading.calibration import fit_calibration
from kellgren.grading.grade_sets import (
    LEVELS,
    cross_fitted_sets,
    median_scores,
    parts_of_patients,
)
from kellgren.grading.naming import HeldOut, cross_fitted_naming
from kellgren.grading.voting import softmax
from kellgren.training.selection.cards.refit import PREDICTIONS, held_out

Scores = Callable[[Float64Array], Float64Array]


def cumulative(probabilities: Float64Array) -> Float64Array:
    """``(N, 5)`` what more probable grades hold (adaptive prediction sets)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sorted_shares = np.take_along_axis(probabilities, order, axis=1)
    before = np.empty_like(probabilities)
    np.put_along_axis(before, order, sorted_shares.cumsum(axis=1) - sorted_shares, axis=1)
    return before


SCORES: dict[str, Scores] = {
    "distance from the median": median_scores,
    "1 - p": lambda shares: 1 - shares,
    "what more probable grades hold": cumulative,
    "1 - p / largest p": lambda shares: 1 - shares / shares.max(axis=1, keepdims=True),
}


def estimate(inside: Mask, among: Mask, patients: tuple[str, ...]) -> str:
    """The share of some knees that are inside, with its 95 % interval over patients."""
    whose, count = patient_indices(patients)
    sums = np.zeros((count, 2))
    np.add.at(sums, whose, np.stack([inside & among, among], axis=1))
    held, knees = PatientBootstrap(count, len(whose), 2000, 42)(lambda counts: counts @ sums).T
    return str(share(held, knees, count))


def show_scores(knees: HeldOut) -> None:
    """Mean size and coverage of each score's sets; all take the same thresholds' rule."""
    print("score | level | coverage | least of a grade | grades in a set")
    for name, one in SCORES.items():
        told = cross_fitted_sets(knees.probabilities, knees.labels, knees.patients, score=one)
        for level, (low, high) in zip(LEVELS, told, strict=True):
            inside = (low <= knees.labels) & (knees.labels <= high)
            least = min(inside[knees.labels == grade].mean() for grade in range(5))
            size = (high - low + 1).mean()
            print(f"{name} | {level:g} | {inside.mean():.3f} | {least:.3f} | {size:.3f}")


def show_sets(knees: HeldOut, groups: dict[str, Mask]) -> None:
    """Coverage of all knees, of every true grade and of subgroups, and how large the sets are."""
    told = cross_fitted_sets(knees.probabilities, knees.labels, knees.patients)
    print("\nlevel | knees | number | coverage | grades in a set")
    every = {"all": np.ones(len(knees.labels), bool)}
    every |= {f"grade {grade}": knees.labels == grade for grade in range(5)} | groups
    for level, (low, high) in zip(LEVELS, told, strict=True):
        inside, size = (low <= knees.labels) & (knees.labels <= high), high - low + 1
        for name, among in every.items():
            held = estimate(inside, among, knees.patients)
            print(f"{level:g} | {name} | {among.sum()} | {held} | {size[among].mean():.2f}")
        counts = ", ".join(f"{(size == k).mean():.3f} of {k}" for k in range(1, 6))
        print(f"{level:g} | sizes: {counts}")


def show_naming(knees: HeldOut) -> None:
    """What is gained where no grade is named, and the calibration error."""
    unnamed = cross_fitted_naming(knees)
    predicted = knees.probabilities.argmax(axis=1)
    told = (knees.labels, predicted, knees.probabilities)
    it = selective(*told, ~unnamed, knees.patients)
    print(f"\nnamed                    {it.named_share}")
    print(f"right, all               {it.right}")
    print(f"right, named             {it.right_named}")
    print(f"right, not named         {it.right_unnamed}")
    print(f"named over all           {it.gain}")
    print(f"area under risk-coverage {it.area}")
    for name, among in (("all", np.ones(len(unnamed), bool)), ("named", ~unnamed)):
        kept = knees.among(among)
        grades = kept.probabilities.argmax(axis=1)
        scored = score(kept.labels, grades, kept.probabilities, kept.patients)
        print(f"calibration error, {name:<6}{scored.metrics['ece']}")
        print(f"overconfidence, {name:<9}{scored.metrics['overconfidence']}")
    print(f"the same of a model that is calibrated, by chance alone: {chance_of_ece(knees)}")


def chance_of_ece(knees: HeldOut, draws: int = 200) -> str:
    """Median and 95th percentile of the error with labels drawn from the probabilities."""
    from kellgren.evaluation.metrics import ece

    random, sums = np.random.default_rng(42), knees.probabilities.cumsum(axis=1)
    found = []
    for _ in range(draws):
        drawn = (sums < random.random((len(sums), 1))).sum(axis=1).clip(0, 4)
        found.append(ece(drawn, knees.probabilities))
    middle, high = np.percentile(found, [50, 95])
    return f"{middle:.3f}, in 5 % of draws above {high:.3f}"


def subgroups(knees: list[Knee], labels: IntArray) -> dict[str, Mask]:
    """By side, by how wide the joint's bone is in the picture, and by sharpness; in thirds."""
    chosen = [knees[at] for at in labels]
    width, sharpness = np.array([looks(knee) for knee in chosen]).T
    groups = {f"side {side}": np.array([k.side.value == side for k in chosen]) for side in "LR"}
    for name, value in (("bone width", width), ("sharpness", sharpness)):
        low, high = np.quantile(value, [1 / 3, 2 / 3])
        groups |= {f"{name}, lowest third": value <= low, f"{name}, highest third": value > high}
    return groups


def looks(knee: Knee) -> tuple[float, float]:
    """Share of the picture's width where the middle is bright, and the grey values' steepness."""
    from kellgren.imaging.radiograph import read_radiograph

    pixels = np.asarray(read_radiograph(knee.image).pixels, np.float64)
    middle = pixels[int(0.3 * len(pixels)) : int(0.7 * len(pixels))].mean(axis=0)
    bright = middle > (middle.min() + middle.max()) / 2
    steps = np.diff(pixels, axis=0)[:, :-1] ** 2 + np.diff(pixels, axis=1)[:-1] ** 2
    return float(bright.mean()), float(np.sqrt(steps).mean() / max(pixels.std(), 1e-6))


def of_table(path: Path, labels: Labels) -> tuple[HeldOut, IntArray]:
    """One network's knees out of fold, calibrated by other patients'; where their labels are."""
    knees = match(read_predictions(path), labels)
    assert knees.probabilities is not None
    logits = np.log(np.maximum(knees.probabilities, 1e-6))
    part, told = parts_of_patients(knees.patients), np.empty(logits.shape)
    for one in np.unique(part):
        out = part == one
        fit = fit_calibration(logits[~out], knees.truth[~out])
        told[out] = softmax(logits[out] / fit.temperature + np.array(fit.bias))
    return HeldOut.of(told, knees.truth, knees.patients), knees.labels


def main() -> None:
    """Print everything for a bundle, or for a network's table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--members", type=Path, help="folder of the backbones' tables out of fold")
    parser.add_argument("--model", type=Path, default=default_bundle())
    parser.add_argument("--pictures", action="store_true", help="subgroups by what is seen, too")
    parser.add_argument("--table", type=Path, help="of one network, in place of a bundle's")
    asked = parser.parse_args()
    bundle = open_bundle(asked.model)
    listed = [knee for knee in index(asked.labels) if knee.grade is not None]
    labels = Labels([Label(str(k.image), k.patient, int(k.grade or 0), k.side) for k in listed])
    if asked.table is not None:
        knees, found = of_table(asked.table, labels)
    else:
        knees = held_out(bundle, labels, asked.members)
        found = match(read_predictions(bundle.path(PREDICTIONS)), labels).labels
    sides = {f"side {s}": np.array([listed[at].side.value == s for at in found]) for s in "LR"}
    name = bundle.card.name if asked.table is None else asked.table.name
    print(f"{name}: {len(knees.labels)} knees of {len(set(knees.patients))} patients")
    show_scores(knees)
    show_sets(knees, subgroups(listed, found) if asked.pictures else sides)
    show_naming(knees)


if __name__ == "__main__":
    main()
