"""The thresholds, temperature and pull that make local grades most likely, drawn towards no change.

A cumulative logit model whose only predictor is the model's own distribution, with a Gaussian prior
around no change. Whether to change anything at all is decided by the same prior: the evidence for a
change (Laplace's approximation of the marginal likelihood) against that for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kellgren.arrays import Distributions, Float64Array, GradeArray
from kellgren.grading.calibration import FURTHEST, OrdinalShift, cumulative_log_odds
from kellgren.local_calibration.order import is_noise, order_of

Verdict = Literal["calibrated", "no change shown", "noise"]
LEAST_EVIDENCE = 1.0
"""Logarithm of how much likelier the labels must be with a change than without."""

# Deviations within which a change is thought likely before any local grade is seen: the shift that
# all thresholds share, each one's own beside it, the slope 1 / temperature around 1, and the pull.
# Chosen on out-of-fold predictions with made readers (decision 28).
COMMON, OWN, SLOPE, PULL = 3.0, 1.0, 0.5, 0.25
_STEEPEST, _FLATTEST = 10.0, 0.1
_MOST_STEPS, _SMALLEST_STEP, _MOST_HALVINGS = 60, 1e-8, 30
_DIGITS = 6
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class LocalFit:
    """What local grades say of the model.

    Attributes:
        shift: that they call for; none unless the verdict is ``calibrated``.
        verdict: ``noise`` where the labels do not follow the model's order; ``no change shown``
            where they are about as likely without any change.
        order: rank correlation of the labels with the model's expected grades, -1..1.
        evidence: logarithm of how much likelier the labels are with a change than without.
    """

    shift: OrdinalShift
    verdict: Verdict
    order: float
    evidence: float


def fit_local(probabilities: Distributions, grades: GradeArray) -> LocalFit:
    """Fit a shift to local grades, unless they are noise or show no change.

    Args:
        probabilities: ``(N, 5)`` the bundle's distributions of knees.
        grades: ``(N,)`` the local readers' grades of them.
    """
    order = order_of(probabilities, grades)
    if is_noise(order, len(grades)):
        return LocalFit(OrdinalShift(), "noise", order, 0.0)
    shift, evidence = fit_shift(probabilities, grades)
    if evidence < LEAST_EVIDENCE:
        return LocalFit(OrdinalShift(), "no change shown", order, evidence)
    return LocalFit(shift, "calibrated", order, evidence)


def fit_shift(probabilities: Distributions, grades: GradeArray) -> tuple[OrdinalShift, float]:
    """The most likely shift given local grades and the prior, and the evidence for it.

    The problem is convex, and solved by Newton's method with halved steps.

    Args:
        probabilities: ``(N, 5)``; N is 1 or larger.
        grades: ``(N,)``.
    """
    odds = cumulative_log_odds(probabilities)
    precision, fitted = _prior()
    unchanged = _loss(fitted, odds, grades, precision)
    now = unchanged
    for _ in range(_MOST_STEPS):
        slope, curve = _derivatives(fitted, odds, grades, precision)
        step = np.linalg.solve(curve, slope)
        for _ in range(_MOST_HALVINGS):
            then = _loss(fitted - step, odds, grades, precision)
            if then <= now:
                fitted, now = fitted - step, then
                break
            step = step / 2
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    curve = _derivatives(fitted, odds, grades, precision)[1]
    volume = np.linalg.slogdet(precision)[1] - np.linalg.slogdet(curve)[1]
    steepness = float(np.clip(fitted[0], _FLATTEST, _STEEPEST))
    one, two, three, four = (
        round(float(shift), _DIGITS) for shift in np.clip(fitted[1:5], -FURTHEST, FURTHEST)
    )
    shift = OrdinalShift(
        temperature=round(1.0 / steepness, _DIGITS),
        shifts=(one, two, three, four),
        pull=round(float(np.clip(fitted[5], -FURTHEST, FURTHEST)), _DIGITS),
    )
    return shift, float(unchanged - now + volume / 2)


def _prior() -> tuple[Float64Array, Float64Array]:
    """``(6, 6)`` precision and ``(6,)`` centre of slope, four shifts and pull."""
    covariance = np.zeros((6, 6))
    covariance[0, 0] = SLOPE**2
    covariance[1:5, 1:5] = COMMON**2 + OWN**2 * np.eye(4)
    covariance[5, 5] = PULL**2
    precision = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    return precision, np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])


def _ends(
    numbers: Float64Array, odds: Float64Array, grades: GradeArray
) -> tuple[Float64Array, Float64Array]:
    """Log-odds above the grade below each label and above the label: ``(N,)`` both, or infinite."""
    shifted = numbers[0] * odds + numbers[5] * odds.mean(axis=1, keepdims=True) - numbers[1:5]
    edge = np.full((len(odds), 1), np.inf)
    framed = np.concatenate([edge, shifted, -edge], axis=1)
    rows = np.arange(len(grades))
    return framed[rows, grades], framed[rows, grades + 1]


def _chance(log_odds: Float64Array) -> Float64Array:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def _loss(
    numbers: Float64Array, odds: Float64Array, grades: GradeArray, precision: Float64Array
) -> float:
    """Minus the log-posterior; infinite where thresholds cross at a label."""
    above, below = _ends(numbers, odds, grades)
    share = _chance(above) - _chance(below)
    if share.min() <= _LEAST:
        return float("inf")
    away = numbers - _prior()[1]
    return float(-np.log(share).sum() + away @ precision @ away / 2)


def _derivatives(
    numbers: Float64Array, odds: Float64Array, grades: GradeArray, precision: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Gradient ``(6,)`` and Hessian ``(6, 6)`` of `_loss`."""
    ends = _ends(numbers, odds, grades)
    chances = [_chance(end) for end in ends]
    share = np.maximum(chances[0] - chances[1], _LEAST)
    designs = [_design(odds, grades - 1), _design(odds, grades)]
    rate = [sign * p * (1 - p) / share for sign, p in zip((1, -1), chances, strict=True)]
    along = rate[0][:, None] * designs[0] + rate[1][:, None] * designs[1]
    bend = np.zeros((6, 6))
    for steepness, chance, design in zip(rate, chances, designs, strict=True):
        bend += (design * (steepness * (1 - 2 * chance))[:, None]).T @ design
    slope = -along.sum(axis=0) + precision @ (numbers - _prior()[1])
    return slope, along.T @ along - bend + precision


def _design(odds: Float64Array, thresholds: GradeArray) -> Float64Array:
    """``(N, 6)`` how a threshold's log-odds follow the numbers; 0 beyond the outermost."""
    knees = len(odds)
    design = np.zeros((knees, 6))
    inner = np.flatnonzero((thresholds >= 0) & (thresholds < 4))
    design[inner, 0] = odds[inner, thresholds[inner]]
    design[inner, 1 + thresholds[inner]] = -1.0
    design[inner, 5] = odds[inner].mean(axis=1)
    return design
