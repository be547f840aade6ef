"""Graded knees as checked arrays, and all that is counted of them in every resample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array, IntArray, Mask
from kellgren.errors import InvalidPredictions
from kellgren.evaluation import reliability
from kellgren.evaluation.bootstrap import patient_indices
from kellgren.evaluation.catalogue import losses
from kellgren.evaluation.confusion import checked_pair, ratio
from kellgren.evaluation.draws import Tallies
from kellgren.evaluation.ranking import RankedKnees, at_least, checked_probabilities
from kellgren.grades import GRADE_COUNT, Grade

_CELLS = GRADE_COUNT**2


@dataclass(frozen=True, slots=True, eq=False)
class GradedKnees:
    """N knees of P patients."""

    truth: IntArray  # (N,) 0..4
    predicted: IntArray  # (N,) 0..4
    probabilities: Float64Array | None  # (N, 5)
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

    def findings(self) -> list[tuple[Mask, Float64Array]]:
        """Who has each grade, and grade 2 or higher, with the probability of it: six pairs.

        Empty without probabilities.
        """
        if self.probabilities is None:
            return []
        each = [(self.truth == grade, self.probabilities[:, grade]) for grade in Grade]
        threshold = Grade.MINIMAL
        return [*each, (self.truth >= threshold, at_least(threshold, self.probabilities))]


class Tally:
    """Counts in samples that hold patients several times, or not at all.

    Everything that adds up is added up by patient first, so that a thousand samples are one matrix
    product; only ranks need all knees.
    """

    def __init__(self, knees: GradedKnees) -> None:
        count = len(knees.truth)
        cell = knees.truth * GRADE_COUNT + knees.predicted
        parts = [np.eye(_CELLS)[cell]]
        self._losses = [] if knees.probabilities is None else losses()
        if knees.probabilities is not None:
            parts.append(reliability.binned(knees.truth, knees.probabilities).reshape(count, -1))
            each = [loss(knees.truth, knees.probabilities) for loss in self._losses]
            parts.append(np.stack(each, axis=1))
        entries = np.concatenate(parts, axis=1)
        self._sums = np.zeros((knees.patient_count, entries.shape[1]))
        np.add.at(self._sums, knees.patients, entries)
        self._ranked = [RankedKnees.rank(*pair, knees.patients) for pair in knees.findings()]

    def __call__(self, counts: Float64Array) -> Float64Array:
        """(R, K) numbers of R samples, for `unpacked`.

        Args:
            counts: (R, P) how often each sample holds each patient.
        """
        drawn = np.ascontiguousarray(counts.T)
        areas = [ranked.areas(drawn) for ranked in self._ranked]
        return np.concatenate([counts @ self._sums, *areas], axis=1)

    def unpacked(self, numbers: Float64Array) -> Tallies:
        """The (R, K) numbers by their meaning."""
        rows = len(numbers)
        matrices = numbers[:, :_CELLS].reshape(rows, GRADE_COUNT, GRADE_COUNT)
        if not self._ranked:
            return Tallies(matrices, None, {}, None)
        in_bins = 3 * reliability.BINS
        bins, sums, areas = np.split(
            numbers[:, _CELLS:], [in_bins, in_bins + len(self._losses)], axis=1
        )
        total = matrices.sum(axis=(1, 2))
        return Tallies(
            confusion=matrices,
            bins=bins.reshape(rows, reliability.BINS, 3),
            losses={loss: ratio(sums[:, at], total) for at, loss in enumerate(self._losses)},
            areas=areas.reshape(rows, -1, 2),
        )
