"""Areas under ROC and precision-recall curves from ranks, for one sample or thousands at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array, IntArray, Mask
from kellgren.errors import InvalidPredictions
from kellgren.evaluation.confusion import ratio
from kellgren.grades import GRADE_COUNT


@dataclass(frozen=True, slots=True, eq=False)
class RankedKnees:
    """N knees ranked once by score, the highest first, so that resampling needs no sort.

    Knees of the same score are tied: they are passed by a threshold all together.
    """

    patients: IntArray  # (N,) in the order of the ranks
    positive: IntArray  # (A,) ranks of the knees with the finding
    above: IntArray  # (A,) how many knees score higher than this positive
    up_to: IntArray  # (A,) how many knees score higher or the same
    positive_above: IntArray  # (A,) how many of those above are positive
    positive_up_to: IntArray  # (A,) how many of those up to it are positive

    @classmethod
    def rank(cls, positive: Mask, score: Float64Array, patients: IntArray) -> RankedKnees:
        """Rank N knees.

        Args:
            positive: (N,) whether the knee has the finding.
            score: (N,) higher means more likely to have it.
            patients: (N,) index of the knee's patient, 0..P-1.
        """
        # Ties lie in the order of their patients, so that sums do not depend on that of the knees.
        order = np.lexsort((patients, -score))
        ascending = -score[order]
        ranks = np.flatnonzero(positive[order])
        above = np.searchsorted(ascending, ascending[ranks], side="left")
        up_to = np.searchsorted(ascending, ascending[ranks], side="right")
        return cls(
            patients=patients[order],
            positive=ranks,
            above=above,
            up_to=up_to,
            positive_above=np.searchsorted(ranks, above),
            positive_up_to=np.searchsorted(ranks, up_to),
        )

    def areas(self, drawn: Float64Array) -> Float64Array:
        """AUC and average precision of R resamples.

        The AUC is the share of positive-negative pairs in the right order, ties counting one
        half. Average precision is the mean, over the positives, of the precision at the threshold
        that just lets them pass.

        Args:
            drawn: (P, R) how often each patient was drawn in each resample.

        Returns:
            (R, 2), 0..1; nan where there is no positive, for the AUC also where no negative.
        """
        weights = drawn[self.patients]
        passed = _running(weights)
        positives = weights[self.positive]
        positives_passed = _running(positives)
        above, up_to = passed[self.above], passed[self.up_to]
        positive_up_to = positives_passed[self.positive_up_to]
        worse_or_tied = above + up_to - positives_passed[self.positive_above] - positive_up_to
        count, negatives = positives_passed[-1], passed[-1] - positives_passed[-1]
        ordered = negatives * count - (positives * worse_or_tied).sum(axis=0) / 2
        precision = np.divide(
            positive_up_to, up_to, out=np.zeros_like(up_to), where=positive_up_to > 0
        )
        auc = ratio(ordered, count * negatives)
        return np.stack([auc, ratio((positives * precision).sum(axis=0), count)], axis=1)


def _running(weights: Float64Array) -> Float64Array:
    """Sums over the first 0, 1, ... N rows: (N, R) in, (N + 1, R) out."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Both curves of one finding, at every threshold that a knee's score gives: (T,) each.

    They start where no knee passes (precision 1 by convention) and end where all do.
    """

    false_positive_rate: Float64Array
    recall: Float64Array
    precision: Float64Array


def curves(positive: Mask, score: Float64Array) -> Curves | None:
    """ROC and precision-recall curve of N knees; None unless both classes occur.

    Args:
        positive: (N,) whether the knee has the finding.
        score: (N,) higher means more likely to have it.
    """
    count = int(positive.sum())
    if count in (0, len(positive)):
        return None
    order = np.argsort(-score, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    positives_passed = np.cumsum(positive[order])[last_of_ties].astype(np.float64)
    passed = last_of_ties + 1.0
    return Curves(
        false_positive_rate=np.append(0.0, (passed - positives_passed) / (len(positive) - count)),
        recall=np.append(0.0, positives_passed / count),
        precision=np.append(1.0, positives_passed / passed),
    )


def checked_probabilities(probabilities: npt.ArrayLike, knees: int) -> Float64Array:
    """Probabilities as a float array of shape (knees, 5).

    Raises:
        InvalidPredictions: another shape, or values that are not finite or outside 0..1.
    """
    array = np.asarray(probabilities, dtype=np.float64)
    if array.shape != (knees, GRADE_COUNT):
        raise InvalidPredictions(
            "probabilities",
            f"shape {array.shape}, expected ({knees}, {GRADE_COUNT})",
            "Give five probabilities per knee.",
        )
    if not ((array >= 0) & (array <= 1)).all():
        raise InvalidPredictions(
            "probabilities",
            "values that are not between 0 and 1",
            "Give probabilities, not logits or percentages.",
        )
    return array


def at_least(grade: int, probabilities: Float64Array) -> Float64Array:
    """Probability of this grade or a higher one: (N, 5) in, (N,) out."""
    summed: Float64Array = probabilities[:, grade:].sum(axis=1)
    return summed
