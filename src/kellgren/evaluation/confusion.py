"""Confusion matrices, one or thousands at once, and every metric that follows from them.

A confusion matrix holds knees: rows are true grades, columns predicted grades. All functions take
matrices of shape (..., 5, 5) and drop the last one or two axes, so that one matrix and all those
of a bootstrap go the same way. A metric whose denominator is zero is nan here: undefined.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array, IntArray
from kellgren.errors import InvalidPredictions
from kellgren.grades import GRADE_COUNT

Pair = tuple[Float64Array, Float64Array]
_DISTANCE = np.abs(np.subtract.outer(np.arange(GRADE_COUNT), np.arange(GRADE_COUNT))).astype(float)


def checked_grades(grades: npt.ArrayLike, name: str) -> IntArray:
    """Grades as an integer array of shape (N,), N >= 1.

    Raises:
        InvalidPredictions: not one-dimensional, empty, not integers, or outside 0 to 4.
    """
    array = np.asarray(grades)
    if array.ndim != 1 or array.size == 0:
        raise InvalidPredictions(
            name, f"shape {array.shape}, expected (N,) with N >= 1", "Give one grade per knee."
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidPredictions(
            name, f"grades of type {array.dtype}", "Give grades as integers, 0 to 4."
        )
    if array.min() < 0 or array.max() >= GRADE_COUNT:
        raise InvalidPredictions(
            name, f"grades from {array.min()} to {array.max()}", "Give grades from 0 to 4."
        )
    return array.astype(np.int64)


def checked_pair(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """True and predicted grades, both (N,).

    Raises:
        InvalidPredictions: either is invalid, or their lengths differ.
    """
    true_grades = checked_grades(truth, "truth")
    predicted_grades = checked_grades(predicted, "predicted")
    if len(true_grades) != len(predicted_grades):
        raise InvalidPredictions(
            "predicted",
            f"{len(predicted_grades)} predicted grades for {len(true_grades)} true grades",
            "Give both in the same order, one per knee.",
        )
    return true_grades, predicted_grades


def ratio(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    """Elementwise quotient, nan where the denominator is not positive."""
    undefined: Float64Array = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0)


def accuracy_counts(confusion: Float64Array) -> Pair:
    """Knees with exactly the true grade, and all knees: (...,) each."""
    return _diagonal(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1))


def accuracy(confusion: Float64Array) -> Float64Array:
    """Share of knees with exactly the true grade, 0..1."""
    return ratio(*accuracy_counts(confusion))


def precision_counts(confusion: Float64Array) -> Pair:
    """For every grade, knees that have it and were given it, and all given it: (..., 5) each."""
    return _diagonal(confusion), confusion.sum(axis=-2)


def precision(confusion: Float64Array) -> Float64Array:
    """For every grade, the share of knees given it that have it: (..., 5), 0..1."""
    return ratio(*precision_counts(confusion))


def support(confusion: Float64Array) -> Float64Array:
    """For every grade, the knees that have it: (..., 5)."""
    knees: Float64Array = confusion.sum(axis=-1)
    return knees


def knees_with_grade2(confusion: Float64Array) -> Float64Array:
    """Knees that have grade 2 or a higher one: (...,)."""
    knees: Float64Array = confusion[..., 2:, :].sum(axis=(-2, -1))
    return knees


def recall_counts(confusion: Float64Array) -> Pair:
    """For every grade, knees that have it and were given it, and all having it: (..., 5) each."""
    return _diagonal(confusion), support(confusion)


def recall(confusion: Float64Array) -> Float64Array:
    """For every grade, the share of knees having it that were given it: (..., 5), 0..1."""
    return ratio(*recall_counts(confusion))


def overlap_counts(confusion: Float64Array) -> Pair:
    """For every grade, knees that have it and were given it, and all with either: (..., 5) each."""
    both = _diagonal(confusion)
    return both, confusion.sum(axis=-1) + confusion.sum(axis=-2) - both


def f1_of_overlap(share: float) -> float:
    """F1, 0..1, of the share of the knees with either that have both."""
    return 2 * share / (1 + share)


def f1(confusion: Float64Array) -> Float64Array:
    """For every grade, the harmonic mean of precision and recall: (..., 5), 0..1."""
    occurrences = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return ratio(2 * _diagonal(confusion), occurrences)


def macro_f1(confusion: Float64Array) -> Float64Array:
    """Mean F1, 0..1, of the grades that some knee has or was given."""
    each = f1(confusion)
    occurring = (~np.isnan(each)).sum(axis=-1).astype(np.float64)
    return ratio(np.nan_to_num(each, nan=0.0).sum(axis=-1), occurring)


def weighted_f1(confusion: Float64Array) -> Float64Array:
    """Mean F1 of the grades, each weighted by how many knees have it, 0..1."""
    knees = support(confusion)
    weighted = (np.nan_to_num(f1(confusion), nan=0.0) * knees).sum(axis=-1)
    return ratio(weighted, knees.sum(axis=-1))


def balanced_accuracy(confusion: Float64Array) -> Float64Array:
    """Mean recall of the grades that some knee has, 0..1."""
    occurring = (confusion.sum(axis=-1) > 0).sum(axis=-1).astype(np.float64)
    return ratio(np.nan_to_num(recall(confusion), nan=0.0).sum(axis=-1), occurring)


def qwk(confusion: Float64Array) -> Float64Array:
    """Quadratic weighted kappa, -1..1; nan when truth and prediction are one and the same grade."""
    weights = _DISTANCE**2
    total = confusion.sum(axis=(-2, -1))
    observed = (weights * confusion).sum(axis=(-2, -1))
    by_chance = np.einsum(
        "...i,ij,...j->...", confusion.sum(axis=-1), weights, confusion.sum(axis=-2)
    )
    return 1.0 - ratio(observed * total, by_chance)


def mae(confusion: Float64Array) -> Float64Array:
    """Mean absolute error in grades, 0..4."""
    return ratio((_DISTANCE * confusion).sum(axis=(-2, -1)), confusion.sum(axis=(-2, -1)))


def mse(confusion: Float64Array) -> Float64Array:
    """Mean squared error in grades squared, 0..16."""
    return ratio((_DISTANCE**2 * confusion).sum(axis=(-2, -1)), confusion.sum(axis=(-2, -1)))


def one_off_counts(confusion: Float64Array) -> Pair:
    """Knees at most one grade off the true one, and all knees: (...,) each."""
    near: Float64Array = np.where(_DISTANCE <= 1, confusion, 0.0).sum(axis=(-2, -1))
    return near, confusion.sum(axis=(-2, -1))


def one_off(confusion: Float64Array) -> Float64Array:
    """Share of knees at most one grade off the true one, 0..1."""
    return ratio(*one_off_counts(confusion))


def errors(confusion: Float64Array) -> Float64Array:
    """Share of knees by predicted minus true grade, -4 to 4: (..., 9), 0..1."""
    offsets = range(1 - GRADE_COUNT, GRADE_COUNT)
    counted = np.stack([np.trace(confusion, by, axis1=-2, axis2=-1) for by in offsets], axis=-1)
    total = np.broadcast_to(confusion.sum(axis=(-2, -1))[..., None], counted.shape)
    return ratio(counted, total)


def _diagonal(confusion: Float64Array) -> Float64Array:
    return np.diagonal(confusion, axis1=-2, axis2=-1)
