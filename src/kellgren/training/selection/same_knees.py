"""Several graders of the same knees, scored in the same resamples of their patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Distributions, Mask
from kellgren.evaluation import Estimate
from kellgren.evaluation.bootstrap import PatientBootstrap, patient_indices
from kellgren.evaluation.catalogue import METRICS
from kellgren.evaluation.draws import Draws, Tallies, around, too_few
from kellgren.training.selection.subsets import MEASURES, Measure

RESAMPLES, SEED = 2000, 42


class SameKnees:
    """N knees of P patients in their resamples, which every grader of them meets alike.

    Args:
        truth: ``(N,)`` grades.
        patients: whose knees they are; both knees of a patient are drawn together.

    Raises:
        InvalidPredictions: a knee has no patient.
    """

    def __init__(self, truth: npt.NDArray[np.integer], patients: Sequence[str]) -> None:
        self._truth = np.asarray(truth, dtype=np.int64)
        self._patients, self._count = patient_indices(patients)
        self._bootstrap = PatientBootstrap(self._count, len(patients), RESAMPLES, SEED)
        self._drawn: Distributions = self._bootstrap(lambda counts: counts)

    def draws(
        self, measure: Measure, grades: npt.NDArray[np.integer], among: Mask | None = None
    ) -> Distributions:
        """``(1 + R,)`` a grader's score: of the knees themselves, then of each resample.

        Args:
            measure: to score by.
            grades: ``(N,)`` that the grader gives.
            among: ``(N,)`` the knees that count; ``None``: all.
        """
        return MEASURES[measure](self._confusions(grades, among))

    def estimate(
        self, measure: Measure, grades: npt.NDArray[np.integer], among: Mask | None = None
    ) -> Estimate:
        """A grader's score with its interval; arguments as of `draws`."""
        confusions = self._confusions(grades, among)
        metric = next((metric for metric in METRICS if metric.key == measure), None)
        values = MEASURES[measure](confusions)
        if metric is None:
            return self.of_difference(values)
        tallies = Tallies(confusions, None, {}, None)
        return metric.interval(Draws(values, tallies, self._bootstrap, metric.source))

    def difference(
        self,
        measure: Measure,
        this: npt.NDArray[np.integer],
        other: npt.NDArray[np.integer],
    ) -> Estimate:
        """One grader's score less another's, paired: both meet the same resamples.

        Args:
            measure: to score by.
            this: ``(N,)`` grades.
            other: ``(N,)`` grades.
        """
        values = self.draws(measure, this) - self.draws(measure, other)
        metric = next((metric for metric in METRICS if metric.key == measure), None)
        if metric is None:
            return self.of_difference(values)
        tallies = Tallies(self._confusions(this, None), None, {}, None)
        drawn = Draws(values, tallies, self._bootstrap, metric.source)
        return metric.difference(drawn, same=bool(np.array_equal(this, other)))

    def of_mean(self, draws: Distributions) -> Estimate:
        """The estimate of a mean of several graders' shares, 0..1, from their mean draws."""
        it = self.of_difference(draws)
        return replace(it, low=float(np.clip(it.low, 0, 1)), high=float(np.clip(it.high, 0, 1)))

    def of_difference(self, draws: Distributions) -> Estimate:
        """The estimate of a difference of such means, from its draws."""
        return around(draws, self._count, too_few(len(self._truth)))

    def _confusions(self, grades: npt.NDArray[np.integer], among: Mask | None) -> Distributions:
        sums = np.zeros((self._count, 25))
        kept = slice(None) if among is None else among
        cells = self._truth * 5 + np.asarray(grades, dtype=np.int64)
        np.add.at(sums, (self._patients[kept], cells[kept]), 1.0)
        return np.asarray(self._drawn @ sums).reshape(-1, 5, 5)
