"""How well probabilities agree with frequencies: calibration error, Brier score, log loss.

The expected calibration error here is the usual one for the most probable grade (Guo et al., ICML
2017): knees are sorted by their largest probability into 15 bins of equal width, closed on the
right, and the gap between mean probability and accuracy is averaged over the knees.
"""

from __future__ import annotations

import math

import numpy as np

from kellgren.arrays import Float64Array, IntArray
from kellgren.evaluation.confusion import ratio
from kellgren.grades import GRADE_COUNT

BINS = 15
EDGES = np.linspace(0.0, 1.0, BINS + 1)
_LEAST = float(np.finfo(np.float64).eps)  # the smallest that a float64 tells from 0 beside 1
LARGEST_LOG_LOSS = -math.log(_LEAST)
# What a bin holds, in this order.
KNEES, CONFIDENCE, CORRECT = range(3)


def binned(truth: IntArray, probabilities: Float64Array) -> Float64Array:
    """Each knee's entry in the bins: (N, 15, 3), in its own bin 1, largest probability, 0 or 1.

    Args:
        truth: (N,) 0..4.
        probabilities: (N, 5), 0..1.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    entries = np.zeros((len(truth), BINS, 3))
    own_bin = np.digitize(confidence, EDGES[1:-1], right=True)
    entries[np.arange(len(truth)), own_bin] = np.stack(
        [np.ones(len(truth)), confidence, correct], axis=1
    )
    return entries


def brier(truth: IntArray, probabilities: Float64Array) -> Float64Array:
    """Each knee's Brier score: (N,), 0..2."""
    summed: Float64Array = ((probabilities - np.eye(GRADE_COUNT)[truth]) ** 2).sum(axis=1)
    return summed


def log_loss(truth: IntArray, probabilities: Float64Array) -> Float64Array:
    """Each knee's minus logarithm of the true grade's probability: (N,), 0..36.

    A probability of 0 for the true grade counts as the smallest that a float64 tells from 0
    beside 1, as in scikit-learn: its loss is 36, not infinite.
    """
    stated = probabilities[np.arange(len(truth)), truth].clip(_LEAST, 1.0 - _LEAST)
    loss: Float64Array = -np.log(stated)
    return loss


def gaps(bins: Float64Array) -> Float64Array:
    """Accuracy minus confidence of every bin, weighted by its share of knees: (..., 15)."""
    total = bins[..., KNEES].sum(axis=-1, keepdims=True)
    return ratio(
        bins[..., CORRECT] - bins[..., CONFIDENCE], np.broadcast_to(total, bins.shape[:-1])
    )


def ece(bins: Float64Array) -> Float64Array:
    """Expected calibration error, 0..1, of bins (..., 15, 3)."""
    error: Float64Array = np.abs(gaps(bins)).sum(axis=-1)
    return error


def chance_ece(bins: Float64Array, patients: int) -> float:
    """The calibration error, 0..1, that so few knees would show of a model without any.

    Chance opens a gap in every bin, and the error adds up their sizes, so that a sample's error is
    too large. How much of it is chance depends on the true gaps, and no interval was found that
    holds for small and large ones alike (decision 23); without true gaps it is what the resampled
    gaps' distances from the sample's add up to.

    Args:
        bins: (1 + R, 15, 3), the sample's own first, then those of its resamples.
        patients: of the sample, at least 2; resamples spread too little by P - 1 in P.
    """
    own, drawn = gaps(bins)[0], gaps(bins)[1:]
    distances = np.abs(drawn - own).sum(axis=1)
    return float(distances.mean()) * math.sqrt(patients / (patients - 1))
