"""Two graders of the same knees: paired differences, their intervals, and a permutation test.

Differences are drawn over patients: every resample holds the same patients for both graders, so
that what is hard for both cancels. The test asks how often a difference as large would come about
if it did not matter who gave which grades: the two predictions of a patient, with both knees, are
swapped or left at random (Good, Permutation Tests, 2000).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array
from kellgren.errors import InvalidPredictions
from kellgren.evaluation.bootstrap import Estimate, PatientBootstrap, reasons, samples_at_once
from kellgren.evaluation.catalogue import GRADE_METRICS, METRICS, Metric, values
from kellgren.evaluation.draws import Draws, Tallies
from kellgren.evaluation.knees import GradedKnees, Tally
from kellgren.evaluation.matched import MatchedKnees
from kellgren.grades import Grade

# Differences closer than this are equal: sums in another order differ in the last digits.
_EQUAL = 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of both graders; nan where either is undefined."""

    this: float
    other: float
    difference: Estimate  # this - other
    p_value: float  # two-sided, add-one: never 0

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        numbers = {"this": self.this, "other": self.other}
        return {
            **{name: None if math.isnan(value) else value for name, value in numbers.items()},
            "difference": self.difference.to_dict(),
            "p_value": None if math.isnan(self.p_value) else self.p_value,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both graders on the knees that both graded.

    Attributes:
        metrics: by key; those of probabilities only where both graders give them.
        per_grade: by key, one for each grade.
        outcomes: knees that both grade right, only this, only the other, neither.
        knees: that both graded.
        patients: of these knees.
        only_this: knees graded by this grader alone; left out.
        only_other: by the other alone.
        resamples: of patients, for the intervals.
        permutations: for the p-values.
        seed: of both.
    """

    metrics: dict[str, Difference]
    per_grade: dict[str, tuple[Difference, ...]]
    outcomes: tuple[int, int, int, int]
    knees: int
    patients: int
    only_this: int
    only_other: int
    resamples: int
    permutations: int
    seed: int

    @property
    def without_interval(self) -> tuple[str, ...]:
        """Why some differences of metrics of all knees have no interval, each reason once."""
        return reasons(it.difference for it in self.metrics.values())

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        both, this, other, neither = self.outcomes
        grades = [
            {
                "grade": int(grade),
                **{key: row[grade].to_dict() for key, row in self.per_grade.items()},
            }
            for grade in Grade
        ]
        return {
            **{key: difference.to_dict() for key, difference in self.metrics.items()},
            "per_grade": grades,
            "right": {"both": both, "only_this": this, "only_other": other, "neither": neither},
            "knees": self.knees,
            "patients": self.patients,
            "only_this": self.only_this,
            "only_other": self.only_other,
            "resamples": self.resamples,
            "permutations": self.permutations,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Grades:
    """What one grader predicts for N knees: grades (N,) 0..4, and (N, 5) probabilities if known."""

    predicted: npt.ArrayLike
    probabilities: npt.ArrayLike | None = None


def compare(
    truth: npt.ArrayLike,
    this: Grades,
    other: Grades,
    patients: Iterable[object],
    *,
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 42,
    unshared: tuple[int, int] = (0, 0),
) -> Comparison:
    """Compare two graders of the same N knees.

    Args:
        truth: (N,) integers 0..4.
        this: one grader.
        other: the other; its metrics are subtracted.
        patients: N identifiers; knees of one patient share theirs.
        resamples: of the patients.
        permutations: how many random swaps.
        seed: of resamples and permutations.
        unshared: knees that only one of them graded, for the record.

    Raises:
        InvalidPredictions: an argument is empty, out of range or of another length.
    """
    people = list(patients)
    probabilities = this.probabilities is not None and other.probabilities is not None
    pair = [
        GradedKnees.checked(
            truth, grades.predicted, grades.probabilities if probabilities else None, people
        )
        for grades in (this, other)
    ]
    first, second = pair
    bootstrap = PatientBootstrap(first.patient_count, len(first.truth), resamples, seed)
    (mine, tallies), (theirs, _) = (_draws(knees, bootstrap) for knees in pair)
    chance = _permuted(first, second, permutations, seed)
    same = bool((first.predicted == second.predicted).all())
    differences = {
        key: _differences(it, bootstrap, (mine[key], theirs[key]), chance[key], tallies, same)
        for key, it in {it.key: it for it in (*METRICS, *GRADE_METRICS)}.items()
        if key in mine
    }
    return Comparison(
        metrics={
            metric.key: differences[metric.key][0]
            for metric in METRICS
            if metric.key in differences
        },
        per_grade={it.key: differences[it.key] for it in GRADE_METRICS if it.key in differences},
        outcomes=_outcomes(first, second),
        knees=len(first.truth),
        patients=first.patient_count,
        only_this=unshared[0],
        only_other=unshared[1],
        resamples=resamples,
        permutations=permutations,
        seed=seed,
    )


def compare_matched(
    this: MatchedKnees,
    other: MatchedKnees,
    *,
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 42,
) -> Comparison:
    """Compare two tables that were matched to the same labels, on the knees that both graded.

    Raises:
        InvalidPredictions: they share no knee.
    """
    shared = np.intersect1d(this.labels, other.labels)
    if not len(shared):
        raise InvalidPredictions(
            "the other predictions",
            "they grade none of the knees that these predictions grade",
            "Compare tables of the same knees.",
        )
    mine, theirs = this.among(shared), other.among(shared)
    return compare(
        mine.truth,
        Grades(mine.predicted, mine.probabilities),
        Grades(theirs.predicted, theirs.probabilities),
        mine.patients,
        resamples=resamples,
        permutations=permutations,
        seed=seed,
        unshared=(len(this.labels) - len(shared), len(other.labels) - len(shared)),
    )


def _outcomes(this: GradedKnees, other: GradedKnees) -> tuple[int, int, int, int]:
    """Knees that both grade right, only this, only the other, neither."""
    right, others = (knees.truth == knees.predicted for knees in (this, other))
    both, mine, theirs, neither = np.bincount(3 - 2 * right - others, minlength=4)
    return int(both), int(mine), int(theirs), int(neither)


def _draws(
    knees: GradedKnees, bootstrap: PatientBootstrap
) -> tuple[dict[str, Float64Array], Tallies]:
    tally = Tally(knees)
    tallies = tally.unpacked(bootstrap(tally))
    return values(tallies), tallies


def _permuted(
    this: GradedKnees, other: GradedKnees, permutations: int, seed: int
) -> dict[str, Float64Array]:
    """The difference of every metric when it is random who gave a patient's grades: (B, ...).

    Both graders' knees lie in one sample, the other's as those of P more patients: to swap a
    patient is to count the one instead of the other.
    """
    patients = this.patient_count
    both = GradedKnees(
        truth=np.concatenate([this.truth, other.truth]),
        predicted=np.concatenate([this.predicted, other.predicted]),
        probabilities=(
            None
            if this.probabilities is None or other.probabilities is None
            else np.concatenate([this.probabilities, other.probabilities])
        ),
        patients=np.concatenate([this.patients, patients + other.patients]),
        patient_count=2 * patients,
    )
    tally = Tally(both)
    # Another stream than that of the resamples, which start from the seed alone.
    rng = np.random.default_rng([seed, 1])
    blocks: list[dict[str, Float64Array]] = []
    block = samples_at_once(len(both.truth))
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        swapped = rng.integers(0, 2, size=(rows, patients)).astype(np.float64)
        here = values(tally.unpacked(tally(np.hstack([1.0 - swapped, swapped]))))
        there = values(tally.unpacked(tally(np.hstack([swapped, 1.0 - swapped]))))
        blocks.append({key: here[key] - there[key] for key in here})
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def _differences(
    metric: Metric,
    bootstrap: PatientBootstrap,
    both: tuple[Float64Array, Float64Array],
    chance: Float64Array,
    tallies: Tallies,
    same: bool,
) -> tuple[Difference, ...]:
    """One for each column of (1 + R,) or (1 + R, 5) draws, and of as many permutations."""
    mine, theirs = (draws.reshape(len(draws), -1) for draws in both)
    permuted = chance.reshape(len(chance), -1)
    return tuple(
        Difference(
            this=float(mine[0, column]),
            other=float(theirs[0, column]),
            difference=metric.difference(
                Draws(
                    mine[:, column] - theirs[:, column],
                    tallies,
                    bootstrap,
                    metric.source,
                    column if mine.shape[1] > 1 else None,
                ),
                same=same,
            ),
            p_value=_p_value(mine[0, column] - theirs[0, column], permuted[:, column]),
        )
        for column in range(mine.shape[1])
    )


def _p_value(observed: float, permuted: Float64Array) -> float:
    if math.isnan(observed):
        return math.nan
    as_large = np.abs(permuted) >= abs(observed) - _EQUAL
    return float((1 + as_large.sum()) / (1 + len(permuted)))
