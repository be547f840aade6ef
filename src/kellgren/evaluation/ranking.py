"""Area under the ROC curve from ranks, for one sample or for thousands of resamples at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.errors import InvalidPredictions
from kellgren.evaluation.confusion import FloatArray, IntArray, ratio
from kellgren.grades import GRADE_COUNT


@dataclass(frozen=True, slots=True, eq=False)
class RankedKnees:
    """Knees with and without a finding, ranked once by score, so that resampling needs no sort."""

    positive: IntArray  # (A,) patient of each knee with the finding
    negative: IntArray  # (B,) patient of each knee without it, by ascending score
    below: IntArray  # (A,) how many negatives score lower than this positive
    up_to: IntArray  # (A,) how many negatives score lower or the same

    @classmethod
    def rank(
        cls, positive: npt.NDArray[np.bool_], score: FloatArray, patients: IntArray
    ) -> RankedKnees:
        """Rank N knees.

        Args:
            positive: (N,) whether the knee has the finding.
            score: (N,) higher means more likely to have it.
            patients: (N,) index of the knee's patient, 0..P-1.
        """
        order = np.argsort(score, kind="stable")
        with_finding, without = order[positive[order]], order[~positive[order]]
        return cls(
            positive=patients[with_finding],
            negative=patients[without],
            below=np.searchsorted(score[without], score[with_finding], side="left"),
            up_to=np.searchsorted(score[without], score[with_finding], side="right"),
        )

    def auc(self, counts: FloatArray) -> FloatArray:
        """AUC of every resample, 0..1; nan where one of the two classes is missing.

        Args:
            counts: (R, P) how often each patient was drawn in each resample.

        Returns:
            (R,) the share of positive-negative pairs in the right order, ties counting one half.
        """
        weights = counts[:, self.positive]
        negatives = np.zeros((len(counts), len(self.negative) + 1))
        np.cumsum(counts[:, self.negative], axis=1, out=negatives[:, 1:])
        beaten = negatives[:, self.below] + negatives[:, self.up_to]
        ordered = np.einsum("rk,rk->r", weights, beaten) / 2
        return ratio(ordered, weights.sum(axis=1) * negatives[:, -1])


def checked_probabilities(probabilities: npt.ArrayLike, knees: int) -> FloatArray:
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


def at_least(grade: int, probabilities: FloatArray) -> FloatArray:
    """Probability of this grade or a higher one: (N, 5) in, (N,) out."""
    summed: FloatArray = probabilities[:, grade:].sum(axis=1)
    return summed
