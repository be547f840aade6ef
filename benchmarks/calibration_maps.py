"""Whether a further map of the probabilities calibrates a bundle better: chosen within the nesting.

    python benchmarks/calibration_maps.py results/oof/inception-refine-288.csv.gz
        results/oof/lite2-256.csv.gz --labels kneeKL299
        --learn results/oof/dinov2-308.csv.gz results/oof/inception-288.csv.gz

Each knee is told by a vote, and a map behind it, that were chosen and fitted without its group of
patients, as ``kellgren bundle build`` chooses votes. Within the other groups the votes are fitted
without each group in turn; on what they say the maps compete by log loss, cross-fitted by the same
groups, and of those within one standard error of the best, over patients, the simplest is taken.

The maps are ``softmax(exponent * log p + bias)``, fitted with a small ridge towards no change. The
exponent is one number (temperature), linear or quadratic in the log-odds of the largest
probability, one number for each most probable grade, or one number beside a bias for each grade.

``--learn`` chooses and fits one map on the calibrated knees of other networks' tables, of patients
that are not among those judged, and applies it to all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kellgren.arrays import Float64Array, IntArray, Mask
from kellgren.data.manifest import Knee, index
from kellgren.evaluation import Grades, compare, reliability
from kellgren.evaluation.bootstrap import patient_indices
from kellgren.evaluation.metrics import ece
from kellgren.evaluation.reliability import log_loss
from kellgren.grading.combiner import RULES, fit_combiner
from kellgren.grading.multinomial import fit_multinomial, shares
from kellgren.grading.voting import logs
from kellgren.training.selection.out_of_fold import predicted
from kellgren.training.selection.subsets import compare_subsets, deal

RIDGE, LEAST_EXPONENT, SURENESS = 1e-3, 0.25, (-1.0, 4.0)
LIMIT, DRAWS = 0.03, 2000


def powers(degree: int) -> Callable[[Float64Array], Float64Array]:
    def terms(told: Float64Array) -> Float64Array:
        top = np.clip(told.max(axis=1), 1e-6, 1 - 1e-6)
        sureness = np.clip(np.log(top) - np.log1p(-top), *SURENESS)
        return np.asarray(sureness[:, None] ** np.arange(degree + 1))

    return terms


def most_probable(told: Float64Array) -> Float64Array:
    return np.asarray(np.eye(5)[told.argmax(axis=1)])


KINDS: dict[str, tuple[Callable[[Float64Array], Float64Array], list[float], int]] = {
    "temperature": (powers(0), [1], 0),
    "linear": (powers(1), [1, 0], 0),
    "quadratic": (powers(2), [1, 0, 0], 0),
    "by grade": (most_probable, [1] * 5, 0),
    "biases": (powers(0), [1], 5),
}
"""From the simplest: what the exponent is a sum of, its numbers without a change, and biases."""


@dataclass(frozen=True)
class Map:
    """A fitted map; ``none`` changes nothing."""

    kind: str = "none"
    numbers: tuple[float, ...] = ()

    def apply(self, told: Float64Array) -> Float64Array:
        if self.kind == "none":
            return told
        terms, prior, _ = KINDS[self.kind]
        exponent = np.maximum(terms(told) @ self.numbers[: len(prior)], LEAST_EXPONENT)
        biases = np.array(self.numbers[len(prior) :] or (0.0,))
        return shares(exponent[:, None] * np.log(np.maximum(told, 1e-300)) + biases)

    def keeps_order(self, told: Float64Array) -> bool:
        terms, prior, _ = KINDS[self.kind]
        return bool((terms(told) @ self.numbers[: len(prior)] > LEAST_EXPONENT).all())


@dataclass(frozen=True)
class Knees:
    """N knees: members' distributions ``(M, N, 5)``, labels, patients, and their groups."""

    members: Float64Array
    truth: IntArray
    patients: list[str]
    group: IntArray

    @classmethod
    def of(cls, tables: Sequence[Path], knees: Sequence[Knee]) -> Knees:
        rows = [predicted(table, knees) for table in tables]
        kept = [knee for knee in knees if all(str(knee.image) in of_it for of_it in rows)]
        members = np.array([[of_it[str(knee.image)] for knee in kept] for of_it in rows])
        truth = np.array([int(knee.grade or 0) for knee in kept], np.int64)
        patients = [knee.patient for knee in kept]
        return cls(members, truth, patients, deal(patients))


def fitted(kind: str, told: Float64Array, truth: IntArray) -> Map:
    terms, start, biases = KINDS[kind]
    design = logs(told)[:, :, None] * terms(told)[:, None, :]
    if biases:
        design = np.concatenate([design, np.tile(np.eye(5), (len(told), 1, 1))], axis=2)
    prior = np.array([*start, *[0.0] * biases], np.float64)
    numbers = fit_multinomial(design, truth, prior, np.full(len(prior), RIDGE))
    return Map(kind, tuple(float(number) for number in numbers))


def chosen_map(
    told: Float64Array, truth: IntArray, patients: Sequence[str], group: IntArray
) -> tuple[Map, dict[str, float]]:
    """The map, and the cross-fitted log loss of each kind."""
    losses = {"none": log_loss(truth, told)}
    maps = {"none": Map()} | {kind: fitted(kind, told, truth) for kind in KINDS}
    for kind in KINDS:
        if maps[kind].keeps_order(told):
            mapped = np.empty_like(told)
            for held in np.unique(group):
                mine = group == held
                mapped[mine] = fitted(kind, told[~mine], truth[~mine]).apply(told[mine])
            losses[kind] = log_loss(truth, mapped)
    best = min(losses.values(), key=lambda loss: float(loss.mean()))
    whose, count = patient_indices(patients)
    for kind, loss in losses.items():
        worse = loss - best
        sums = np.bincount(whose, worse - worse.mean(), count)
        if worse.mean() <= np.sqrt((sums**2).sum()) / len(worse):
            return maps[kind], {name: float(one.mean()) for name, one in losses.items()}
    raise AssertionError("the best is within one error of itself")


def nested(knees: Knees) -> tuple[Float64Array, Float64Array]:
    """``(N, 5)`` of each knee without its group: by the vote, and by the chosen map behind it."""
    compared = compare_subsets(knees.members, knees.truth, knees.group, RULES)
    voted, mapped = np.empty(knees.members.shape[1:]), np.empty(knees.members.shape[1:])

    def vote(best: int, learnt: Mask) -> Float64Array:
        candidate = compared.candidates[best]
        members = knees.members[list(candidate.members)]
        rule = next(rule for rule in RULES if rule == candidate.rule)
        names = [str(member) for member in candidate.members]
        combiner = fit_combiner(rule, names, members[:, learnt], knees.truth[learnt])
        return np.asarray(combiner.combine(members))

    for held in np.unique(knees.group):
        mine, best = knees.group == held, compared.best("qwk", int(held))
        others, crossed = ~mine, np.empty_like(voted)
        for inner in np.unique(knees.group[others]):
            out = knees.group == inner
            crossed[out] = vote(best, others & ~out)[out]
        patients = [one for one, kept in zip(knees.patients, others, strict=True) if kept]
        given = (crossed[others], knees.truth[others], patients, knees.group[others])
        chosen, losses = chosen_map(*given)
        told = vote(best, others)[mine]
        voted[mine], mapped[mine] = told, chosen.apply(told)
        print(f"group {held}: {chosen.kind}", {k: round(v, 4) for k, v in losses.items()})
    return voted, mapped


def without_chance(truth: IntArray, told: Float64Array) -> float:
    """Root mean square gap of the bins, less what chance adds to its square."""
    bins = reliability.binned(truth, told).sum(axis=0)
    bins = bins[bins[:, 0] > 1]
    count, mean, right = bins[:, 0], bins[:, 1] / bins[:, 0], bins[:, 2] / bins[:, 0]
    squares = (right - mean) ** 2 - right * (1 - right) / (count - 1)
    return float(np.sqrt(max(0.0, float((count * squares).sum() / count.sum()))))


def show(name: str, knees: Knees, told: Float64Array) -> None:
    random, sums = np.random.default_rng(42), told.cumsum(axis=1)
    drawn = [
        ece((sums < random.random((len(sums), 1))).sum(axis=1).clip(0, 4), told)
        for _ in range(DRAWS)
    ]
    bins = reliability.binned(knees.truth, told)
    whose, count = patient_indices(knees.patients)
    by_patient = np.zeros((count, *bins.shape[1:]))
    np.add.at(by_patient, whose, bins)
    weights = random.multinomial(count, np.full(count, 1 / count), DRAWS).astype(float)
    resampled = reliability.ece(np.tensordot(weights, by_patient, axes=1))
    found = ece(knees.truth, told)
    low, high = np.quantile(resampled, (0.025, 0.975))
    print(f"{name}: calibration error {found:.4f}; of resampled patients {low:.3f} to {high:.3f}")
    print(f"  root mean square gap without chance {without_chance(knees.truth, told):.4f}")
    middle, most = np.quantile(drawn, (0.5, 0.95))
    print(
        f"  if calibrated: {middle:.3f}, in 5 % above {most:.3f}; at most {LIMIT} in "
        f"{np.mean(np.array(drawn) <= LIMIT):.2f}, as much as here in "
        f"{np.mean(np.array(drawn) >= found):.2f} of {DRAWS} draws"
    )
    print(f"  log loss {log_loss(knees.truth, told).mean():.4f}")


def show_gain(knees: Knees, before: Float64Array, after: Float64Array) -> None:
    this, other = (Grades(told.argmax(axis=1), told) for told in (after, before))
    found = compare(knees.truth, this, other, knees.patients, permutations=1).metrics
    for key in ("accuracy", "qwk", "log_loss"):
        print(f"  {key} with the map less without: {found[key].difference}")


def learnt(tables: Sequence[Path], labelled: Sequence[Knee], judged: Knees) -> Map:
    """A map from other networks' knees, of patients that are not judged."""
    held, parts = set(judged.patients), []
    for table in tables:
        knees = Knees.of([table], [one for one in labelled if one.patient not in held])
        told = np.empty(knees.members.shape[1:])
        for group in np.unique(knees.group):
            out = knees.group == group
            vote = fit_combiner("soft", ["one"], knees.members[:, ~out], knees.truth[~out])
            told[out] = vote.combine(knees.members)[out]
        parts.append((told, knees.truth, knees.patients))
    told, truth = (np.concatenate([part[at] for part in parts]) for at in (0, 1))
    patients = [one for part in parts for one in part[2]]
    chosen, losses = chosen_map(told, truth, patients, deal(patients))
    numbers = [round(number, 3) for number in chosen.numbers]
    print(f"\nlearnt from {len(truth)} knees: {chosen.kind} {numbers}", losses)
    return chosen


def main() -> None:
    """Print the choices and what they bring."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("tables", type=Path, nargs="+", help="of the bundle's networks, out of fold")
    words.add_argument("--labels", type=Path, required=True)
    words.add_argument("--learn", type=Path, nargs="*", default=[], help="of other networks")
    given = words.parse_args()
    labelled = [knee for knee in index(given.labels) if knee.grade is not None]
    knees = Knees.of(given.tables, labelled)
    before, after = nested(knees)
    show("vote", knees, before)
    show("with the chosen map", knees, after)
    show_gain(knees, before, after)
    if given.learn:
        moved = learnt(given.learn, labelled, knees).apply(before)
        show("with the map of other networks", knees, moved)
        show_gain(knees, before, moved)


if __name__ == "__main__":
    main()
