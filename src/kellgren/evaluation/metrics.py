"""Metrics of predicted grades. Each equals the scikit-learn function of the same name.

Conventions: all five grades always take part, whether they occur or not, and a ratio with a zero
denominator counts as 0 (scikit-learn's ``labels=range(5), zero_division=0``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kellgren.evaluation import confusion
from kellgren.evaluation.confusion import FloatArray, IntArray, checked_grades, checked_pair
from kellgren.evaluation.ranking import RankedKnees, at_least, checked_probabilities
from kellgren.grades import GRADE_COUNT


def confusion_matrix(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> IntArray:
    """Count knees by true grade (row) and predicted grade (column).

    Args:
        truth: (N,) integers 0..4.
        predicted: (N,) integers 0..4.

    Returns:
        (5, 5) integers that sum to N.

    Raises:
        InvalidPredictions: from this and every other metric here, when an argument is empty, out
            of range or of another length.
    """
    true_grades, predicted_grades = checked_pair(truth, predicted)
    cells = np.bincount(true_grades * GRADE_COUNT + predicted_grades, minlength=GRADE_COUNT**2)
    return cells.reshape(GRADE_COUNT, GRADE_COUNT).astype(np.int64)


def accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Share of knees with exactly the true grade, 0..1."""
    return float(confusion.accuracy(_counts(truth, predicted)))


def precision(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    """Precision of each grade: (5,), 0..1; 0 for a grade that was never predicted."""
    return np.nan_to_num(confusion.precision(_counts(truth, predicted)), nan=0.0)


def recall(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    """Recall of each grade: (5,), 0..1; 0 for a grade that no knee has."""
    return np.nan_to_num(confusion.recall(_counts(truth, predicted)), nan=0.0)


def f1(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    """F1 of each grade: (5,), 0..1; 0 for a grade that occurs nowhere."""
    return np.nan_to_num(confusion.f1(_counts(truth, predicted)), nan=0.0)


def macro_f1(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean F1 of all five grades, 0..1."""
    return float(confusion.macro_f1(_counts(truth, predicted)))


def qwk(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Quadratic weighted kappa, -1..1; nan when all grades, true and predicted, are the same."""
    return float(confusion.qwk(_counts(truth, predicted)))


def mae(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean absolute error in grades, 0..4."""
    return float(confusion.mae(_counts(truth, predicted)))


def auc_at_least(truth: npt.ArrayLike, probabilities: npt.ArrayLike, grade: int = 2) -> float:
    """Area under the ROC curve for "this grade or higher", 0..1.

    Args:
        truth: (N,) integers 0..4.
        probabilities: (N, 5), 0..1; the score of a knee is the sum from ``grade`` upwards.
        grade: 1..4; 2 is the usual threshold of radiographic osteoarthritis.

    Returns:
        The AUC, ties counting one half; nan when all knees are on one side of the threshold.
    """
    true_grades = checked_grades(truth, "truth")
    scores = at_least(grade, checked_probabilities(probabilities, len(true_grades)))
    ranked = RankedKnees.rank(true_grades >= grade, scores, np.arange(len(true_grades)))
    return float(ranked.auc(np.ones((1, len(true_grades))))[0])


def _counts(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    return confusion_matrix(truth, predicted).astype(np.float64)
