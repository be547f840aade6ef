"""Graded knees as checked arrays, and all that is counted of them in every resample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.errors import InvalidPredictions
from kellgren.evaluation import confusion, reliability
from kellgren.evaluation.bootstrap import patient_indices
from kellgren.evaluation.confusion import FloatArray, IntArray, checked_pair, ratio
from kellgren.evaluation.ranking import Mask, RankedKnees, at_least, checked_probabilities
from kellgren.grades import GRADE_COUNT, Grade

_CELLS = GRADE_COUNT**2


@dataclass(frozen=True, slots=True, eq=False)
class GradedKnees:
    """N knees of P patients."""

    truth: IntArray  # (N,) 0..4
    predicted: IntArray  # (N,) 0..4
    probabilities: FloatArray | None  # (N, 5)
    patients: IntArray  # (N,) 0..P-1
    patient_count: int

    @classmethod
    def checked(
        cls,
        truth: npt.ArrayLike,
        predicted: npt.ArrayLike,
        probabilities: npt.ArrayLike | None,
        patients: Iterable[object],
    ) -> GradedKnees:
        """Arrays as they come from outside.

        Raises:
            InvalidPredictions: an argument is empty, out of range or of another length.
        """
        true_grades, predicted_grades = checked_pair(truth, predicted)
        indices, patient_count = patient_indices(patients)
        knees = len(true_grades)
        if len(indices) != knees:
            raise InvalidPredictions(
                "patients",
                f"{len(indices)} patients for {knees} knees",
                "Give the patient of every knee, in the same order.",
            )
        known = None if probabilities is None else checked_probabilities(probabilities, knees)
        return cls(true_grades, predicted_grades, known, indices, patient_count)

    def findings(self) -> list[tuple[Mask, FloatArray]]:
        """Who has each grade, and grade 2 or higher, with the probability of it: six pairs.

        Empty without probabilities.
        """
        if self.probabilities is None:
            return []
        each = [(self.truth == grade, self.probabilities[:, grade]) for grade in Grade]
        threshold = Grade.MINIMAL
        return [*each, (self.truth >= threshold, at_least(threshold, self.probabilities))]


@dataclass(frozen=True, slots=True, eq=False)
class Tallies:
    """What was counted in R samples of the same knees; None without probabilities."""

    confusion: FloatArray  # (R, 5, 5) knees, rows true grades
    bins: FloatArray | None  # (R, 15, 3), see reliability
    losses: FloatArray | None  # (R, 2) mean Brier score and log loss
    areas: FloatArray | None  # (R, 6, 2) AUC, average precision of each grade and of grade >= 2

    def metrics(self) -> dict[str, FloatArray]:
        """Every metric by its key: (R,), or (R, 5) for what each grade has its own of."""
        matrices = self.confusion
        found = {
            metric.__name__: metric(matrices)
            for metric in (
                *(confusion.accuracy, confusion.balanced_accuracy, confusion.macro_f1),
                *(confusion.weighted_f1, confusion.qwk, confusion.one_off),
                *(confusion.mae, confusion.mse),
                *(confusion.precision, confusion.recall, confusion.f1),
            )
        }
        if self.bins is not None and self.losses is not None and self.areas is not None:
            found |= {"ece": reliability.ece(self.bins)}
            found |= {"overconfidence": -reliability.gaps(self.bins).sum(axis=-1)}
            found |= {"brier": self.losses[:, 0], "log_loss": self.losses[:, 1]}
            found |= {"auc": self.areas[:, :-1, 0], "auc_grade2": self.areas[:, -1, 0]}
            found["average_precision"] = self.areas[:, :-1, 1]
            found["average_precision_grade2"] = self.areas[:, -1, 1]
        return found


class Tally:
    """Counts in samples that hold patients several times, or not at all.

    Everything that adds up is added up by patient first, so that a thousand samples are one matrix
    product; only ranks need all knees.
    """

    def __init__(self, knees: GradedKnees) -> None:
        count = len(knees.truth)
        cell = knees.truth * GRADE_COUNT + knees.predicted
        parts = [np.eye(_CELLS)[cell]]
        if knees.probabilities is not None:
            bins = reliability.binned(knees.truth, knees.probabilities)
            parts += [bins.reshape(count, -1), reliability.losses(knees.truth, knees.probabilities)]
        entries = np.concatenate(parts, axis=1)
        self._sums = np.zeros((knees.patient_count, entries.shape[1]))
        np.add.at(self._sums, knees.patients, entries)
        self._ranked = [RankedKnees.rank(*pair, knees.patients) for pair in knees.findings()]

    def __call__(self, counts: FloatArray) -> FloatArray:
        """(R, K) numbers of R samples, for `unpacked`.

        Args:
            counts: (R, P) how often each sample holds each patient.
        """
        drawn = np.ascontiguousarray(counts.T)
        areas = [ranked.areas(drawn) for ranked in self._ranked]
        return np.concatenate([counts @ self._sums, *areas], axis=1)

    def unpacked(self, numbers: FloatArray) -> Tallies:
        """The (R, K) numbers by their meaning."""
        rows = len(numbers)
        matrices = numbers[:, :_CELLS].reshape(rows, GRADE_COUNT, GRADE_COUNT)
        if not self._ranked:
            return Tallies(matrices, None, None, None)
        bins, losses, areas = np.split(
            numbers[:, _CELLS:], [3 * reliability.BINS, 3 * reliability.BINS + 2], axis=1
        )
        total = np.repeat(matrices.sum(axis=(1, 2))[:, None], 2, axis=1)
        return Tallies(
            confusion=matrices,
            bins=bins.reshape(rows, reliability.BINS, 3),
            losses=ratio(losses, total),
            areas=areas.reshape(rows, -1, 2),
        )
