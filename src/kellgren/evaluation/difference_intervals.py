"""95 % intervals of paired differences of two graders of the same knees."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from kellgren.evaluation import confusion
from kellgren.evaluation.beta import student_factor
from kellgren.evaluation.bootstrap import Estimate
from kellgren.evaluation.draws import Draws, Knees, variance_of


class DifferenceInterval(Protocol):
    """Makes the estimate of a paired difference of two graders."""

    def __call__(self, draws: Draws, *, same: bool) -> Estimate:
        """From the draws of the difference; ``same``: both gave the same grades throughout."""


def of_difference(draws: Draws, *, same: bool) -> Estimate:
    """The interval of a paired difference, never narrower than one differing knee makes it.

    That one knee is Agresti and Min's (Statistics in Medicine 2005): where no knee tells two
    graders apart, one of so many and two more may.

    Args:
        draws: differences of the metric; the tallies are one of the graders'.
        same: both graders gave the same grades throughout.
    """
    if (nothing := draws.undefined()) is not None:
        return nothing
    support = confusion.support(draws.tallies.confusion)[0]
    knees = support.sum() if draws.grade is None else support[draws.grade]
    return _around(draws, 0.0 if same else 1 / (float(knees) + 2))


def of_mean_difference(draws: Draws, *, same: bool) -> Estimate:
    """The interval of a paired difference of means over grades.

    Each grade is as uncertain as one differing knee makes it at least.
    """
    if (nothing := draws.undefined()) is not None:
        return nothing
    support = confusion.support(draws.tallies.confusion)[0]
    least = [1 / (float(knees) + 2) for knees in support if knees]
    return _around(draws, 0.0 if same else math.hypot(*least) / len(least))


def _around(draws: Draws, least: float) -> Estimate:
    """Student's interval for a deviation of at least so much."""
    patients = draws.bootstrap.patient_count
    spread = math.sqrt(variance_of(draws.values[1:], patients))
    reach = student_factor(patients) * max(least, spread)
    return Estimate(draws.value, draws.value - reach, draws.value + reach)


def of_auc_difference(positives: Knees) -> DifferenceInterval:
    """The interval of a paired difference of areas under ROC curves, see `_of_areas`."""
    return _of_areas(positives, lambda having, others: having * others)


def of_average_precision_difference(positives: Knees) -> DifferenceInterval:
    """The interval of a paired difference of average precisions, see `_of_areas`."""
    return _of_areas(positives, lambda having, _: having * (having + 1))


def _of_areas(positives: Knees, pairs: Callable[[float, float], float]) -> DifferenceInterval:
    """Percentiles, widened by Student's factor; and at least the smallest step of such an area.

    Args:
        positives: the knees with the finding.
        pairs: of the knees with and without it, one over the smallest step.
    """

    def interval(draws: Draws, *, same: bool) -> Estimate:
        if (nothing := draws.undefined()) is not None:
            return nothing
        if same and draws.is_constant:
            return Estimate(draws.value, draws.value, draws.value)
        patients = draws.bootstrap.patient_count
        reach = student_factor(patients) * math.sqrt(patients / (patients - 1))
        tail = 50 * math.erfc(reach / math.sqrt(2))
        drawn = draws.values[1:]
        low, high = np.percentile(drawn[~np.isnan(drawn)], [tail, 100 - tail])
        having = float(draws.column(positives(draws.tallies.confusion))[0])
        others = float(draws.tallies.confusion[0].sum()) - having
        least = student_factor(patients) / max(1.0, pairs(having, others))
        return Estimate(
            draws.value, min(float(low), draws.value - least), max(float(high), draws.value + least)
        )

    return interval
