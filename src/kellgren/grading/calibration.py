"""Calibration of probabilities, also to other readers; certainty and likely grades from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kellgren.arrays import Distributions, Float64Array, FloatArray, GradeArray
from kellgren.grading.multinomial import fit_multinomial

LIKELY_MASS = 0.9
FEWEST_FOR_BIASES = 200
"""Knees below which only a temperature is fitted: a few cannot tell how often a grade occurs."""
CERTAINTY_WORDS = (("high", 0.75), ("moderate", 0.5), ("low", 0.0))
LEAST_CUMULATIVE = 1e-6
"""Cumulative probabilities nearer to 0 or 1, and smaller probabilities, count as this one."""
FURTHEST = 12.0


def fit_temperature(logits: FloatArray, grades: GradeArray) -> float:
    """The temperature that makes held-out labels most likely (Guo et al., ICML 2017).

    Args:
        logits: ``(N, 5)`` on knees that the model did not learn from.
        grades: ``(N,)`` their labels.

    Returns:
        A positive number; the logits divided by it are best calibrated in log-likelihood.
    """
    rows = np.arange(len(grades))
    golden = (np.sqrt(5.0) - 1.0) / 2.0

    def loss(log_temperature: float) -> float:
        scaled = np.asarray(logits, dtype=np.float64) / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, grades]))

    low, high = np.log(0.1), np.log(10.0)
    for _ in range(60):  # golden section: the loss has one minimum in log temperature
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2.0))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns logits into calibrated probabilities: ``softmax(logits / temperature + bias)``.

    Attributes:
        temperature: above 1 makes them less sure.
        bias: of each grade; they sum to 0. Training towards soft targets favours the grades in
            the middle, and this takes it back.
    """

    temperature: float
    bias: tuple[float, ...]


def fit_calibration(logits: FloatArray, grades: GradeArray, shrinkage: float = 1e-3) -> Calibration:
    """The temperature and biases that make held-out labels most likely.

    Bias-corrected temperature scaling (Alexandari et al., ICML 2020): a convex problem in the
    inverse temperature and the biases, solved by Newton's method from the temperature alone.

    Args:
        logits: ``(N, 5)`` on knees that the model did not learn from; with few of them, or a
            grade missing among them, the biases stay 0.
        grades: ``(N,)`` their labels.
        shrinkage: penalty on the squared biases, relative to the mean loss.
    """
    knees, count = logits.shape
    temperature = fit_temperature(logits, grades)
    unbiased = Calibration(temperature, (0.0,) * count)
    if knees < FEWEST_FOR_BIASES or len(np.unique(grades)) < count:
        return unbiased
    # Parameter 0 is the inverse temperature, the others are the biases.
    design = np.concatenate([logits[:, :, None], np.tile(np.eye(count), (knees, 1, 1))], axis=2)
    start = np.array([1.0 / temperature, *[0.0] * count])
    fitted = fit_multinomial(design, grades, start, np.array([0.0, *[2 * shrinkage] * count]))
    if not 0.1 <= fitted[0] <= 10.0:  # logits without information, or reversed
        return unbiased
    biases = fitted[1:] - fitted[1:].mean()
    return Calibration(float(1.0 / fitted[0]), tuple(float(bias) for bias in biases))


class OrdinalShift(BaseModel):
    """``logit P(grade > k) / temperature + pull * mean - shifts[k]`` for ``logit P(grade > k)``.

    The mean is that of the knee's four log-odds, which tells its severity as a whole.

    Attributes:
        temperature: above 1 makes the distribution less sure; 1 leaves it.
        shifts: of the thresholds between grades 0 and 1, 1 and 2, 2 and 3, 3 and 4. A positive one
            means that the local readers ask for more before they name the higher grade.
        pull: how much a knee's severity as a whole has a say at each threshold, beside that
            threshold's own log-odds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=1.0, gt=0.05, lt=20.0)
    shifts: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    pull: float = Field(default=0.0, ge=-FURTHEST, le=FURTHEST)

    @model_validator(mode="after")
    def _within_reach(self) -> Self:
        if not (np.abs(self.shifts) <= FURTHEST).all():
            raise ValueError(f"a shift is not a number from -{FURTHEST:g} to {FURTHEST:g}")
        return self

    @property
    def changes(self) -> bool:
        """Whether it changes any distribution."""
        return self.temperature != 1.0 or any(self.shifts) or self.pull != 0.0

    def apply(self, probabilities: FloatArray) -> Distributions:
        """Distributions ``(..., 5)`` as the local readers would have them, of the same shape.

        Where shifted thresholds would cross, the grade between them gets next to nothing.
        """
        if not self.changes:
            return np.asarray(probabilities, dtype=np.float64)
        told = cumulative_log_odds(probabilities)
        severity = told.mean(axis=-1, keepdims=True)
        odds = told / self.temperature + self.pull * severity - np.asarray(self.shifts)
        above = np.minimum.accumulate(1.0 / (1.0 + np.exp(-odds)), axis=-1)
        edge = np.ones((*above.shape[:-1], 1))
        shares = np.concatenate([edge, above], axis=-1) - np.concatenate([above, 0 * edge], axis=-1)
        shares = np.maximum(shares, LEAST_CUMULATIVE)
        return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def cumulative_log_odds(probabilities: FloatArray) -> Float64Array:
    """``(..., 4)`` log-odds that the grade is above 0, 1, 2 and 3, of ``(..., 5)``."""
    upwards = np.asarray(probabilities, dtype=np.float64)[..., ::-1].cumsum(axis=-1)[..., ::-1]
    above = np.clip(upwards[..., 1:], LEAST_CUMULATIVE, 1.0 - LEAST_CUMULATIVE)
    return np.asarray(np.log(above) - np.log1p(-above))


def likely_grades(probabilities: FloatArray, mass: float = LIKELY_MASS) -> tuple[int, int]:
    """The shortest run of neighbouring grades that holds at least ``mass``.

    Args:
        probabilities: ``(5,)``.
        mass: 0..1.

    Returns:
        Its lowest and highest grade; of two equally short runs, the more probable one.
    """
    total = np.concatenate([[0.0], np.cumsum(probabilities)])
    count = len(probabilities)
    for length in range(1, count + 1):
        held = total[length:] - total[: count + 1 - length]
        if held.max() >= mass:
            low = int(held.argmax())
            return low, low + length - 1
    return 0, count - 1


def certainty(probabilities: FloatArray) -> str:
    """A word for how sure the grade is: ``high``, ``moderate`` or ``low``.

    Args:
        probabilities: ``(5,)``, calibrated.
    """
    top = float(np.max(probabilities))
    return next(word for word, least in CERTAINTY_WORDS if top >= least)
