"""A metric in a sample of patients and in its resamples, and how uncertain these say that it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kellgren.arrays import Float64Array, IntArray
from kellgren.evaluation import confusion
from kellgren.evaluation.beta import student_factor, wilson
from kellgren.evaluation.bootstrap import Estimate, PatientBootstrap

Loss = Callable[[IntArray, Float64Array], Float64Array]
"""Of each knee: from true grades (N,) and probabilities (N, 5) to (N,) numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Tallies:
    """What was counted in R samples of the same knees; None, or empty, without probabilities."""

    confusion: Float64Array  # (R, 5, 5) knees, rows true grades
    bins: Float64Array | None  # (R, 15, 3), see reliability
    losses: Mapping[Loss, Float64Array]  # (R,) the mean over the knees of each loss
    areas: Float64Array | None  # (R, 6, 2) AUC, average precision of each grade and of grade >= 2


Source = Callable[[Tallies], Float64Array | None]
"""The metric in every sample: (R,), or (R, 5) of each grade; None without probabilities."""

LEAST_KNEES = 20
"""Of fewer knees no interval is shown: none was found that holds there (decision 23)."""

Knees = Callable[[Float64Array], Float64Array]
"""Of confusion matrices (R, 5, 5): how many knees, (R,) or (R, 5)."""


@dataclass(frozen=True, eq=False)
class Draws:
    """One metric in the sample and its resamples.

    Attributes:
        values: (1 + R,), the sample's own first.
        tallies: of the same samples.
        bootstrap: what drew them.
        source: computed the values from the tallies.
        grade: 0..4 of a grade's own metric; None of a metric of all knees.
    """

    values: Float64Array
    tallies: Tallies
    bootstrap: PatientBootstrap
    source: Source
    grade: int | None = None

    @property
    def value(self) -> float:
        """Of the sample itself; nan if undefined."""
        return float(self.values[0])

    @property
    def is_constant(self) -> bool:
        """Whether no resample differs from the sample."""
        defined = self.values[~np.isnan(self.values)]
        return bool(np.ptp(defined) < 1e-12) if defined.size else True

    def column(self, values: Float64Array) -> Float64Array:
        """(1 + R,): the grade's own column of (1 + R, 5), or values (1 + R,) as they are."""
        return values if self.grade is None else values[:, self.grade]

    @cached_property
    def unseen(self) -> float:
        """The share of wrong knees that cannot be excluded where none is wrong; else 0."""
        right, knees = confusion.accuracy_counts(self.tallies.confusion)
        if right[0] < knees[0]:
            return 0.0
        return 1.0 - wilson(1.0, least_number(knees, self.bootstrap.patient_count))[0]

    def without_interval(self) -> Estimate | None:
        """The value without an interval, and why, where there is none; None where there is one.

        There is none where the value is undefined, where a single patient has all knees, and where
        there are too few knees.
        """
        if math.isnan(self.value):
            return Estimate.without_interval(self.value, "")
        if self.bootstrap.patient_count < 2:
            return Estimate.without_interval(self.value, "a single patient")
        if np.isnan(self.values[1:]).all():
            return Estimate.without_interval(self.value, "undefined in every resample")
        reason = too_few(float(self.tallies.confusion[0].sum()))
        return Estimate.without_interval(self.value, reason) if reason else None


def too_few(knees: float, which: str = "") -> str:
    """Why so many knees have no interval; empty where they have one.

    Args:
        knees: their number.
        which: of the knees, such as ``of grade 4``.
    """
    if knees >= LEAST_KNEES:
        return ""
    return f"too few knees{which and f' {which}'}: {knees:.0f}"


def too_few_for_area(having: float, others: float, grade: int | None) -> str:
    """Why so many knees with a finding and without it have no interval of an area; or empty.

    Args:
        having: knees of the grade, or of grade 2 and higher.
        others: all others.
        grade: 0..4; None for grade 2 and higher.
    """
    named = "2 or higher" if grade is None else str(grade)
    return too_few(having, f"of grade {named}") or too_few(others, f"not of grade {named}")


def around(values: Float64Array, patients: int, reason: str = "") -> Estimate:
    """As far to either side of (1 + R,) values' first as the deviation of the others says.

    Args:
        values: of the sample and its resamples.
        patients: of the sample.
        reason: why there is no interval, as `too_few` tells; empty: there is one.
    """
    if reason:
        return Estimate.without_interval(float(values[0]), reason)
    if math.isnan(values[0]) or patients < 2:
        return Estimate.without_interval(float(values[0]), "a single patient")
    return Estimate(float(values[0]), *bounds_around(values, patients))


def least_number(knees: Float64Array, patients: int) -> float:
    """The effective number of the sample's knees if a patient's are wholly alike.

    It is n^2 / sum of n_i^2 over the patients; the resamples' variance of n is that sum less
    n^2 / P.
    """
    total = float(knees[0])
    if total <= 0.0:
        return 0.0
    squares = float(np.var(knees[1:])) + total**2 / patients
    return min(total, total**2 / squares)


def variance_of(drawn: Float64Array, patients: int) -> float:
    """Of a statistic, from its resamples (R,), which spread too little by P - 1 in P."""
    defined = drawn[~np.isnan(drawn)]
    return float(np.var(defined)) * patients / (patients - 1) if defined.size else 0.0


def bounds_around(values: Float64Array, patients: int, factor: float = 0.0) -> tuple[float, float]:
    """Around the first of the values, by the spread of the others; Student's without a factor."""
    reach = (factor or student_factor(patients)) * math.sqrt(variance_of(values[1:], patients))
    return float(values[0]) - reach, float(values[0]) + reach
