"""Metrics of predicted grades. Each equals the scikit-learn function of the same name.

Conventions: all five grades always take part, whether they occur or not, and a ratio with a zero
denominator counts as 0 (scikit-learn's ``labels=range(5), zero_division=0``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array, IntArray, Mask
from kellgren.evaluation import confusion, reliability
from kellgren.evaluation.confusion import checked_grades, checked_pair
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


def precision(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Float64Array:
    """Precision of each grade: (5,), 0..1; 0 for a grade that was never predicted."""
    return np.nan_to_num(confusion.precision(_counts(truth, predicted)), nan=0.0)


def recall(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Float64Array:
    """Recall of each grade: (5,), 0..1; 0 for a grade that no knee has."""
    return np.nan_to_num(confusion.recall(_counts(truth, predicted)), nan=0.0)


def f1(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Float64Array:
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


def mse(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean squared error in grades squared, 0..16."""
    return float(confusion.mse(_counts(truth, predicted)))


def weighted_f1(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean F1 of the grades weighted by their number of knees, 0..1."""
    return float(confusion.weighted_f1(_counts(truth, predicted)))


def balanced_accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean recall of the grades that some knee has, 0..1."""
    return float(confusion.balanced_accuracy(_counts(truth, predicted)))


def one_off(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Share of knees at most one grade off, 0..1."""
    return float(confusion.one_off(_counts(truth, predicted)))


def auc_at_least(truth: npt.ArrayLike, probabilities: npt.ArrayLike, grade: int = 2) -> float:
    """Area under the ROC curve for "this grade or higher", 0..1.

    Args:
        truth: (N,) integers 0..4.
        probabilities: (N, 5), 0..1; the score of a knee is the sum from ``grade`` upwards.
        grade: 1..4; 2 is the usual threshold of radiographic osteoarthritis.

    Returns:
        The AUC, ties counting one half; nan when all knees are on one side of the threshold.
    """
    grades, shares = _shares(truth, probabilities)
    return _areas(grades >= grade, at_least(grade, shares))[0]


def average_precision_at_least(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, grade: int = 2
) -> float:
    """Average precision for "this grade or higher", 0..1; arguments as in `auc_at_least`."""
    grades, shares = _shares(truth, probabilities)
    return _areas(grades >= grade, at_least(grade, shares))[1]


def auc(truth: npt.ArrayLike, probabilities: npt.ArrayLike, grade: int) -> float:
    """Area under the ROC curve for this grade against all others, 0..1; nan without a contrast."""
    grades, shares = _shares(truth, probabilities)
    return _areas(grades == grade, shares[:, grade])[0]


def average_precision(truth: npt.ArrayLike, probabilities: npt.ArrayLike, grade: int) -> float:
    """Average precision for this grade against all others, 0..1; nan where no knee has it."""
    grades, shares = _shares(truth, probabilities)
    return _areas(grades == grade, shares[:, grade])[1]


def brier(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean over knees of the squared errors of the five probabilities, 0..2."""
    return float(reliability.brier(*_shares(truth, probabilities)).mean())


def log_loss(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean over knees of minus the logarithm of the true grade's probability, 0..36."""
    return float(reliability.log_loss(*_shares(truth, probabilities)).mean())


def ece(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Expected calibration error of the most probable grade, 15 equal bins, 0..1."""
    return float(reliability.ece(reliability.binned(*_shares(truth, probabilities)).sum(axis=0)))


def overconfidence(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean largest probability minus the share of knees whose most probable grade is true."""
    bins = reliability.binned(*_shares(truth, probabilities)).sum(axis=0)
    return float(-reliability.gaps(bins).sum())


def _counts(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Float64Array:
    return confusion_matrix(truth, predicted).astype(np.float64)


def _shares(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[IntArray, Float64Array]:
    grades = checked_grades(truth, "truth")
    return grades, checked_probabilities(probabilities, len(grades))


def _areas(positive: Mask, score: Float64Array) -> tuple[float, float]:
    knees = np.arange(len(positive))
    auc, precision = RankedKnees.rank(positive, score, knees).areas(np.ones((len(knees), 1)))[0]
    return float(auc), float(precision)
