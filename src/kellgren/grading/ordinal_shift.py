"""A reader's other thresholds: the cumulative log-odds of a distribution, shifted and scaled."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kellgren.arrays import Distributions, Float64Array, FloatArray

LEAST_SHARE = 1e-6
"""Cumulative probabilities nearer to 0 or 1, and smaller probabilities, count as this one."""
FURTHEST = 12.0


class OrdinalShift(BaseModel):
    """``logit P(grade > k) / temperature - shifts[k]`` in place of ``logit P(grade > k)``.

    Attributes:
        temperature: above 1 makes the distribution less sure; 1 leaves it.
        shifts: of the thresholds between grades 0 and 1, 1 and 2, 2 and 3, 3 and 4. A positive one
            means that the local readers ask for more before they name the higher grade.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=1.0, gt=0.05, lt=20.0)
    shifts: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @model_validator(mode="after")
    def _within_reach(self) -> Self:
        if not (np.abs(self.shifts) <= FURTHEST).all():
            raise ValueError(f"a shift is not a number from -{FURTHEST:g} to {FURTHEST:g}")
        return self

    @property
    def changes(self) -> bool:
        """Whether it changes any distribution."""
        return self.temperature != 1.0 or any(self.shifts)

    def apply(self, probabilities: FloatArray) -> Distributions:
        """Distributions ``(..., 5)`` as the local readers would have them, of the same shape.

        Where shifted thresholds would cross, the grade between them gets next to nothing.
        """
        if not self.changes:
            return np.asarray(probabilities, dtype=np.float64)
        odds = cumulative_log_odds(probabilities) / self.temperature - np.asarray(self.shifts)
        above = np.minimum.accumulate(1.0 / (1.0 + np.exp(-odds)), axis=-1)
        edge = np.ones((*above.shape[:-1], 1))
        shares = np.concatenate([edge, above], axis=-1) - np.concatenate([above, 0 * edge], axis=-1)
        shares = np.maximum(shares, LEAST_SHARE)
        return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def cumulative_log_odds(probabilities: FloatArray) -> Float64Array:
    """``(..., 4)`` log-odds that the grade is above 0, 1, 2 and 3, of ``(..., 5)``."""
    upwards = np.asarray(probabilities, dtype=np.float64)[..., ::-1].cumsum(axis=-1)[..., ::-1]
    above = np.clip(upwards[..., 1:], LEAST_SHARE, 1.0 - LEAST_SHARE)
    return np.asarray(np.log(above) - np.log1p(-above))
