"""How members become one calibrated distribution; shared by fitting and grading, kept in a card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kellgren.arrays import Distributions, FloatArray, GradeArray
from kellgren.grading.calibration import fit_calibration
from kellgren.grading.voting import fit_stack, fit_weights, logs, soft_vote, softmax, stacked_vote

Rule = Literal["soft", "weighted", "stacked"]
RULES: tuple[Rule, ...] = ("soft", "weighted", "stacked")
_DIGITS = 6


class Combiner(BaseModel):
    """A rule with its numbers.

    Hard and mix voting give no usable probabilities, so a bundle never uses them.

    Attributes:
        rule: ``soft`` and ``weighted`` sum the members' distributions by weight, ``stacked`` sums
            their logarithms.
        members: whose distributions it takes, in this order.
        weights: of each member; of a sum of distributions they are 0 or larger and sum to 1.
        temperature: divides the logarithm of the sum, fitted out of fold; 1 where stacked.
        bias: of each grade, added to that, fitted out of fold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule = "soft"
    members: tuple[str, ...] = Field(min_length=1)
    weights: tuple[float, ...] = Field(min_length=1)
    temperature: float = Field(default=1.0, gt=0.05, lt=20.0)
    bias: tuple[float, ...] = Field(default=(0.0,) * 5, min_length=5, max_length=5)

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if len(self.weights) != len(self.members) or len(set(self.members)) != len(self.members):
            raise ValueError("one weight for each of several different members is needed")
        if not np.isfinite((*self.weights, *self.bias)).all():
            raise ValueError("a weight or a bias is not a number")
        summed = self.rule in ("soft", "weighted")
        if summed and (min(self.weights) < 0 or abs(sum(self.weights) - 1) > 1e-3):
            raise ValueError("weights must be 0 or larger and sum to 1")
        return self

    @property
    def map_weights(self) -> tuple[float, ...]:
        """The weight of each member's map: the weights' positive part, summing to 1."""
        positive = np.maximum(self.weights, 0.0)
        total = float(positive.sum())
        if total == 0:
            return (1.0 / len(self.weights),) * len(self.weights)
        return tuple(float(weight) / total for weight in positive)

    def combine(self, members: FloatArray | Sequence[FloatArray]) -> Distributions:
        """Members' distributions ``(M, ..., 5)`` become calibrated ones ``(..., 5)``."""
        if self.rule == "stacked":
            return stacked_vote(members, self.weights, self.bias)
        summed = soft_vote(members, np.asarray(self.weights) / sum(self.weights))
        return softmax(np.log(np.maximum(summed, 1e-300)), self.temperature, self.bias)


def fit_combiner(
    rule: Rule, names: Sequence[str], members: FloatArray, grades: GradeArray
) -> Combiner:
    """Fit a rule's numbers on knees that no member learnt from.

    Args:
        rule: ``soft``, ``weighted`` or ``stacked``.
        names: of the M members.
        members: ``(M, N, 5)`` distributions.
        grades: ``(N,)``.
    """
    if rule == "stacked":
        weights, bias = fit_stack(members, grades)
        return Combiner(
            rule=rule, members=tuple(names), weights=_rounded(weights), bias=_rounded(bias)
        )
    equal = np.full(len(names), 1.0 / len(names))
    weights = equal if rule == "soft" else fit_weights(members, grades)
    calibration = fit_calibration(logs(soft_vote(members, weights)), grades)
    return Combiner(
        rule=rule,
        members=tuple(names),
        weights=_rounded(weights),
        temperature=round(calibration.temperature, _DIGITS),
        bias=_rounded(np.asarray(calibration.bias)),
    )


def _rounded(numbers: FloatArray) -> tuple[float, ...]:
    return tuple(round(float(number), _DIGITS) for number in numbers)
