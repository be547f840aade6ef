"""Whether labels follow the order in which the model puts the knees."""

from __future__ import annotations

import math

import numpy as np

from kellgren.arrays import Distributions, Float64Array, FloatArray, GradeArray

LEAST_ORDER = 0.3
"""Rank correlation below which labels are taken for noise, however many there are."""
WEAK_ORDER = 0.6
"""Rank correlation below which those who calibrate are warned: readers of knees agree better."""
_LEAST_Z = 2.6  # of chance orders, one in two hundred is as good


def expected_grade(probabilities: Distributions) -> Float64Array:
    """``(N,)`` mean of each distribution ``(N, 5)``, 0..4."""
    return np.asarray(probabilities @ np.arange(probabilities.shape[-1]))


def rank_correlation(one: FloatArray, other: FloatArray) -> float:
    """Spearman's, -1..1, ties at their mean rank; 0 where either has a single value."""
    ranks = [_mean_ranks(np.asarray(it, dtype=np.float64)) for it in (one, other)]
    away = [it - it.mean() for it in ranks]
    spread = math.sqrt(float(away[0] @ away[0]) * float(away[1] @ away[1]))
    return float(away[0] @ away[1]) / spread if spread > 0 else 0.0


def is_noise(correlation: float, knees: int) -> bool:
    """Whether labels in no relation to the model would often agree as well with its order."""
    return correlation < max(LEAST_ORDER, _LEAST_Z / math.sqrt(max(1, knees - 1)))


def order_of(probabilities: Distributions, grades: GradeArray) -> float:
    """Rank correlation of labels with the model's expected grades."""
    return rank_correlation(expected_grade(probabilities), grades.astype(np.float64))


def _mean_ranks(values: Float64Array) -> Float64Array:
    _, where, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2.0)[where])
