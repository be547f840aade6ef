"""95 % intervals of metrics that hold where few knees or patients are left, and at 0 and 1.

Every interval starts from the resamples of patients, which know how alike a patient's knees are.

- A share of knees is a Beta interval (Jeffreys') at its effective number of knees: how many
  independent knees would make it as uncertain as the resamples do (Korn and Graubard 1998). Where
  all or none are right the resamples know nothing: the number is then the least possible, that of
  knees wholly alike within a patient, and the bound is Wilson's.
- A mean of shares adds up the distances of their bounds, with the correlations of the resamples
  (MOVER, Zou and Donner 2008), and lies between that and the resamples' own deviation.
- Anything else lies around its value by the resamples' deviation times Student's factor, on a
  scale where the spread does not depend on the value.
- Of fewer than `draws.LEAST_KNEES` knees, and of the calibration error, no interval is shown: each
  that was tried misses the truth too often, or never (decision 23). The estimate says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from kellgren.arrays import Float64Array
from kellgren.evaluation import confusion, reliability
from kellgren.evaluation.beta import Z, beta_quantile, student_factor, wilson
from kellgren.evaluation.bootstrap import Estimate
from kellgren.evaluation.draws import (
    Draws,
    Knees,
    Tallies,
    around,
    bounds_around,
    least_number,
    too_few,
    too_few_for_area,
    variance_of,
)

Interval = Callable[[Draws], Estimate]

Counts = Callable[[Float64Array], tuple[Float64Array, Float64Array]]
"""Of confusion matrices (R, 5, 5): knees counted and knees in question, both (R,) or (R, 5)."""


def share(right: Float64Array, knees: Float64Array, patients: int, which: str = "") -> Estimate:
    """A share of knees with its interval, where the knees are enough for one.

    Args:
        right: (1 + R,) knees counted, in the sample and its resamples.
        knees: (1 + R,) knees in question.
        patients: of the sample.
        which: of the knees these are, for people: ``given grade 4``.
    """
    if knees[0] <= 0:
        return Estimate(math.nan, math.nan, math.nan)
    reason = "a single patient" if patients < 2 else too_few(float(knees[0]), which)
    if reason:
        return Estimate.without_interval(float(right[0] / knees[0]), reason)
    return _share(right, knees, patients)


def _share(right: Float64Array, knees: Float64Array, patients: int) -> Estimate:
    """The interval of a share of however few knees, as part of a mean of shares."""
    value = float(right[0] / knees[0])
    least = least_number(knees, patients)
    if value in (0.0, 1.0):
        return Estimate(value, *wilson(value, least))
    drawn = confusion.ratio(right[1:], knees[1:])
    variance = variance_of(drawn, patients)
    number = value * (1 - value) / variance if variance > 0 else math.inf
    number *= (Z / student_factor(patients)) ** 2
    number = min(max(number, least), float(knees[0]))
    counted = value * number
    low, high = (beta_quantile(at, counted + 0.5, number - counted + 0.5) for at in (0.025, 0.975))
    return Estimate(value, min(low, value), max(high, value))


def of_share(
    counts: Counts, which: str = "", shown: Callable[[float], float] = lambda share: share
) -> Interval:
    """The interval of a metric that is a share, or a rising function ``shown`` of one.

    Args:
        counts: the knees.
        which: of a grade's own metric, the knees in question, for people: ``given grade``.
        shown: of the share, the metric.
    """

    def interval(draws: Draws) -> Estimate:
        if (nothing := draws.without_interval()) is not None:
            return nothing
        right, knees = (draws.column(it) for it in counts(draws.tallies.confusion))
        whose = "" if draws.grade is None else f"{which} {draws.grade}"
        found = share(right, knees, draws.bootstrap.patient_count, whose)
        return Estimate(draws.value, shown(found.low), shown(found.high), found.reason)

    return interval


def of_mean_share(
    counts: Counts, shown: Callable[[float], float] = lambda share: share
) -> Interval:
    """The interval of the mean, over the grades that have one, of shares or functions of them."""

    def interval(draws: Draws) -> Estimate:
        patients = draws.bootstrap.patient_count
        right, knees = counts(draws.tallies.confusion)
        grades = np.flatnonzero(knees[0] > 0)
        if (nothing := draws.without_interval()) is not None:
            return nothing
        found = [_share(right[:, grade], knees[:, grade], patients) for grade in grades]
        below = np.array([shown(it.value) - shown(it.low) for it in found])
        above = np.array([shown(it.high) - shown(it.value) for it in found])
        alike = _correlation(confusion.ratio(right[1:, grades], knees[1:, grades]))
        factor = student_factor(patients) / Z / len(grades)
        down, up = (factor * math.sqrt(max(0.0, it @ alike @ it)) for it in (below, above))
        if not draws.is_constant:
            # Alone, either misses too often, and the longer one too rarely (see decision 23).
            spread = student_factor(patients) * math.sqrt(variance_of(draws.values[1:], patients))
            down, up = (math.sqrt((spread**2 + it**2) / 2) for it in (down, up))
        return Estimate(draws.value, max(0.0, draws.value - down), min(1.0, draws.value + up))

    return interval


def plain(draws: Draws) -> Estimate:
    """The usual interval: as far to either side as the resamples' deviation says."""
    if (nothing := draws.without_interval()) is not None:
        return nothing
    if draws.is_constant:
        return _beside_perfection(draws)
    return around(draws.values, draws.bootstrap.patient_count)


def of_proportion(draws: Draws) -> Estimate:
    """The interval of a metric from 0 to 1 that is no share: Wilson's at its effective number."""
    if (nothing := draws.without_interval()) is not None:
        return nothing
    if draws.is_constant or not 0.0 < draws.value < 1.0:
        return _beside_perfection(draws)
    patients = draws.bootstrap.patient_count
    variance = variance_of(draws.values[1:], patients)
    number = draws.value * (1 - draws.value) / variance if variance > 0 else math.inf
    return Estimate(draws.value, *wilson(draws.value, number, student_factor(patients)))


def on_logarithms(most: float) -> Interval:
    """The interval of a positive metric up to ``most``, even on the scale of its logarithm."""

    def interval(draws: Draws) -> Estimate:
        if (nothing := draws.without_interval()) is not None:
            return nothing
        if draws.is_constant or draws.value <= 0.0:
            beside = _beside_perfection(draws).high
            if beside <= draws.value:  # a loss of probabilities, which errors do not tell
                beside = draws.value + most * draws.unseen
            return Estimate(draws.value, draws.value, min(most, beside))
        positive = draws.values[draws.values > 0]
        low, high = bounds_around(np.log(positive), draws.bootstrap.patient_count)
        return Estimate(draws.value, math.exp(low), min(most, math.exp(high)))

    return interval


def of_kappa(draws: Draws) -> Estimate:
    """The interval of a kappa, -1 to 1, even on Fisher's scale.

    Where one grade is given throughout, or all knees have one, a kappa is 0 whatever the knees:
    there is nothing to be uncertain of.
    """
    if (nothing := draws.without_interval()) is not None:
        return nothing
    for axis, verb in ((0, "is given"), (1, "has")):
        if np.count_nonzero(draws.tallies.confusion[0].sum(axis=axis)) == 1:
            return Estimate.without_interval(draws.value, f"every knee {verb} the same grade")
    if draws.is_constant or abs(draws.value) >= 1.0:
        return _beside_perfection(draws)
    inner = draws.values[np.abs(draws.values) < 1.0]
    low, high = bounds_around(np.arctanh(inner), draws.bootstrap.patient_count)
    return Estimate(draws.value, math.tanh(low), math.tanh(high))


def of_auc(positives: Knees) -> Interval:
    """The interval of an area under a ROC curve, even on the scale of log-odds.

    At 1 it is Wilson's for a share of twice the knees of the rarer class, as Hanley and McNeil's
    variance has it there (Radiology 1982), a patient's knees being wholly alike.

    Args:
        positives: the knees with the finding.
    """
    return _of_area(positives, doubled=True)


def of_average_precision(positives: Knees) -> Interval:
    """The interval of an average precision: of a grade on the scale of log-odds, else Wilson's.

    Few positives make it too large; the resamples tell by how much, and it is moved back. It is as
    wide as their middle 95 %: their deviation is too large, as some are in perfect order. Of grade
    2 or higher, which about half of the knees have, it is Wilson's at its effective number. At 1
    it is Wilson's for a share of the positives, a patient's knees being wholly alike.

    Args:
        positives: the knees with the finding.
    """
    return _of_area(positives, doubled=False)


def _of_area(positives: Knees, *, doubled: bool) -> Interval:
    def interval(draws: Draws) -> Estimate:
        if (nothing := draws.without_interval()) is not None:
            return nothing
        patients = draws.bootstrap.patient_count
        having = draws.column(positives(draws.tallies.confusion))
        others = draws.tallies.confusion.sum(axis=(1, 2)) - having
        if reason := too_few_for_area(having[0], others[0], draws.grade):
            return Estimate.without_interval(draws.value, reason)
        rarer = others if doubled and others[0] < having[0] else having
        if not 0.0 < draws.value < 1.0 or draws.is_constant:
            number = (1 + doubled) * max(1.0, least_number(rarer, patients))
            return Estimate(draws.value, *wilson(draws.value, number))
        if draws.grade is None and not doubled:
            return of_proportion(draws)
        # A resample in perfect order has no log-odds: it counts as half the least error short.
        pairs = having[0] * (max(1.0, others[0]) if doubled else having[0] + 1)
        inner = np.clip(draws.values, 0.5 / pairs, 1.0 - 0.5 / pairs)
        odds = np.log(inner / (1 - inner))
        low, high = bounds_around(odds, patients, Z) if doubled else _moved_back(odds, patients)
        return Estimate(draws.value, 1 / (1 + math.exp(-low)), 1 / (1 + math.exp(-high)))

    return interval


def _moved_back(odds: Float64Array, patients: int) -> tuple[float, float]:
    """The middle 95 % of the resamples, laid around the value less what resampling adds to it."""
    drawn = odds[1:][~np.isnan(odds[1:])]
    low, high = np.percentile(drawn, [2.5, 97.5])
    reach = (high - low) / 2 * student_factor(patients) / Z * math.sqrt(patients / (patients - 1))
    middle = 2 * odds[0] - drawn.mean()
    return float(middle - reach), float(middle + reach)


def of_overconfidence(draws: Draws) -> Estimate:
    """The usual interval, as far upwards as the wrong knees that may have been missed."""
    found = plain(draws)
    if math.isnan(found.low):
        return found
    return Estimate(found.value, found.low, max(found.high, found.value + draws.unseen))


def of_calibration_error(draws: Draws) -> Estimate:
    """The calibration error, without an interval, beside what chance alone would make of it."""
    if (nothing := draws.without_interval()) is not None or draws.tallies.bins is None:
        return nothing or Estimate(draws.value, math.nan, math.nan)
    chance = reliability.chance_ece(draws.tallies.bins, draws.bootstrap.patient_count)
    return Estimate.without_interval(
        draws.value, f"calibration error by chance alone: {chance:.3f}"
    )


def _correlation(drawn: Float64Array) -> Float64Array:
    """(K, K) of K statistics in R resamples, (R, K); 0 where one does not vary."""
    known = (~np.isnan(drawn)).sum(axis=0)
    centred = np.nan_to_num(drawn - np.nansum(drawn, axis=0) / np.maximum(1, known))
    covariance = centred.T @ centred
    spread = np.sqrt(np.diag(covariance))
    alike = confusion.ratio(covariance, np.outer(spread, spread))
    return np.where(np.eye(len(alike)) > 0, 1.0, np.nan_to_num(alike))


def _beside_perfection(draws: Draws) -> Estimate:
    """From the value to that of a sample with as many errors as cannot be excluded.

    They are errors of one grade, equally in every grade.
    """
    tallies = Tallies(_with_errors(draws.tallies.confusion[:1], draws.unseen), None, {}, None)
    other = draws.source(tallies)
    if other is None or draws.unseen == 0.0:
        return Estimate(draws.value, draws.value, draws.value)
    moved = float(draws.column(other)[0])
    return Estimate(draws.value, min(draws.value, moved), max(draws.value, moved))


def _with_errors(matrices: Float64Array, wrong: float) -> Float64Array:
    """Confusion matrices (R, 5, 5) of which this share of every row moved to the next grades."""
    grades = matrices.shape[-1]
    step = np.zeros((grades, grades))
    for grade in range(grades):
        beside = [other for other in (grade - 1, grade + 1) if 0 <= other < grades]
        step[grade, beside] = 1 / len(beside)
    return (1 - wrong) * matrices + wrong * matrices @ step
