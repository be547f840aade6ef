"""95 % intervals of paired differences of two graders of the same knees."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from kellgren.evaluation.beta import student_factor
from kellgren.evaluation.bootstrap import Estimate
from kellgren.evaluation.draws import Draws, Knees, too_few_for_area, variance_of


class DifferenceInterval(Protocol):
    """Makes the estimate of a paired difference of two graders."""

    def __call__(self, draws: Draws, *, same: bool) -> Estimate:
        """From the draws of the difference; ``same``: both gave the same grades throughout."""


def of_difference(draws: Draws, *, same: bool) -> Estimate:
    """The interval of a paired difference, never narrower than one differing knee makes it.

    That one knee is Agresti and Min's (Statistics in Medicine 2005): where no knee tells two
    graders apart, one of so many and two more may.

    Args:
        draws: differences of the metric of all knees; the tallies are one of the graders'.
        same: both graders gave the same grades throughout.
    """
    if (nothing := _not_shown(draws)) is not None:
        return nothing
    least = 0.0 if same else 1 / (float(draws.tallies.confusion[0].sum()) + 2)
    patients = draws.bootstrap.patient_count
    spread = math.sqrt(variance_of(draws.values[1:], patients))
    reach = student_factor(patients) * max(least, spread)
    return Estimate(draws.value, draws.value - reach, draws.value + reach)


def of_calibration_error_difference(draws: Draws, *, same: bool) -> Estimate:
    """No interval: how much of either error is chance cannot be told (decision 23)."""
    del same
    return Estimate.without_interval(draws.value, "part of either calibration error is chance")


def _not_shown(draws: Draws) -> Estimate | None:
    """The difference without an interval where there is none, as no report shows single grades."""
    if draws.grade is not None:
        return Estimate.without_interval(draws.value, "of a single grade the p-value tells")
    return draws.without_interval()


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
        if (nothing := _not_shown(draws)) is not None:
            return nothing
        having = float(positives(draws.tallies.confusion)[0])
        others = float(draws.tallies.confusion[0].sum()) - having
        if reason := too_few_for_area(having, others, None):
            return Estimate.without_interval(draws.value, reason)
        if same and draws.is_constant:
            return Estimate(draws.value, draws.value, draws.value)
        patients = draws.bootstrap.patient_count
        reach = student_factor(patients) * math.sqrt(patients / (patients - 1))
        tail = 50 * math.erfc(reach / math.sqrt(2))
        drawn = draws.values[1:]
        low, high = np.percentile(drawn[~np.isnan(drawn)], [tail, 100 - tail])
        least = student_factor(patients) / max(1.0, pairs(having, others))
        return Estimate(
            draws.value, min(float(low), draws.value - least), max(float(high), draws.value + least)
        )

    return interval
