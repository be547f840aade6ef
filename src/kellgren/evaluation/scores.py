"""All metrics of a set of graded knees, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.errors import InvalidPredictions
from kellgren.evaluation import confusion
from kellgren.evaluation.bootstrap import (
    Estimate,
    patient_confusions,
    patient_indices,
    resample,
)
from kellgren.evaluation.confusion import FloatArray, IntArray, checked_pair
from kellgren.evaluation.ranking import RankedKnees, at_least, checked_probabilities
from kellgren.grades import GRADE_COUNT, Grade


@dataclass(frozen=True, slots=True)
class GradeScore:
    """How well one grade was recognised; nan where no knee has it, or none was given it."""

    grade: Grade
    precision: Estimate
    recall: Estimate
    f1: Estimate
    support: int

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "grade": int(self.grade),
            "precision": self.precision.to_dict(),
            "recall": self.recall.to_dict(),
            "f1": self.f1.to_dict(),
            "support": self.support,
        }


@dataclass(frozen=True, slots=True)
class Scores:
    """Agreement of predicted with true grades, with 95% intervals over patients."""

    accuracy: Estimate
    macro_f1: Estimate
    qwk: Estimate
    mae: Estimate
    auc_grade2: Estimate | None  # grade 2 or higher; None without probabilities
    per_grade: tuple[GradeScore, ...]
    confusion: tuple[tuple[int, ...], ...]  # 5 x 5 knees, rows true grades
    knees: int
    patients: int
    resamples: int
    seed: int

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON: every estimate as value, low and high, null where undefined."""
        return {
            "accuracy": self.accuracy.to_dict(),
            "macro_f1": self.macro_f1.to_dict(),
            "qwk": self.qwk.to_dict(),
            "mae": self.mae.to_dict(),
            "auc_grade2": None if self.auc_grade2 is None else self.auc_grade2.to_dict(),
            "per_grade": [grade.to_dict() for grade in self.per_grade],
            "confusion": [list(row) for row in self.confusion],
            "knees": self.knees,
            "patients": self.patients,
            "resamples": self.resamples,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class _PatientBootstrap:
    """One draw of resamples, applied to whatever has to be estimated."""

    patients: IntArray
    patient_count: int
    resamples: int
    seed: int

    def __call__(self, statistic: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """(1 + R, ...): the statistic of the sample itself, then of every resample."""
        whole = statistic(np.ones((1, self.patient_count)))
        drawn = resample(
            statistic,
            self.patient_count,
            len(self.patients),
            resamples=self.resamples,
            seed=self.seed,
        )
        return np.concatenate([whole, drawn])

    def estimate(self, values: FloatArray) -> Estimate:
        """The estimate from (1 + R,) values, the sample's own first."""
        # All resamples of a single patient are alike: their spread says nothing.
        drawn = values[1:] if self.patient_count > 1 else values[:0]
        return Estimate.from_resamples(float(values[0]), drawn)


def score(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    probabilities: npt.ArrayLike | None,
    patients: Iterable[object],
    *,
    resamples: int = 2000,
    seed: int = 42,
) -> Scores:
    """Score N knees; intervals come from resampling patients.

    Args:
        truth: (N,) integers 0..4.
        predicted: (N,) integers 0..4.
        probabilities: (N, 5), 0..1, or None when only grades are known.
        patients: N identifiers; knees of one patient share theirs.
        resamples: how many times the patients are drawn with replacement.
        seed: of the draws; recorded in the result.

    Raises:
        InvalidPredictions: an argument is empty, out of range or of another length.
    """
    true_grades, predicted_grades = checked_pair(truth, predicted)
    indices, patient_count = patient_indices(patients)
    if len(indices) != len(true_grades):
        raise InvalidPredictions(
            "patients",
            f"{len(indices)} patients for {len(true_grades)} knees",
            "Give the patient of every knee, in the same order.",
        )
    bootstrap = _PatientBootstrap(indices, patient_count, resamples, seed)
    shares = patient_confusions(true_grades, predicted_grades, indices, patient_count)
    matrices = bootstrap(lambda counts: counts @ shares).reshape(-1, GRADE_COUNT, GRADE_COUNT)
    return Scores(
        accuracy=bootstrap.estimate(confusion.accuracy(matrices)),
        macro_f1=bootstrap.estimate(confusion.macro_f1(matrices)),
        qwk=bootstrap.estimate(confusion.qwk(matrices)),
        mae=bootstrap.estimate(confusion.mae(matrices)),
        auc_grade2=_auc(bootstrap, true_grades, probabilities, Grade.MINIMAL),
        per_grade=_per_grade(bootstrap, matrices),
        confusion=tuple(tuple(int(knees) for knees in row) for row in matrices[0]),
        knees=len(true_grades),
        patients=patient_count,
        resamples=resamples,
        seed=seed,
    )


def _per_grade(bootstrap: _PatientBootstrap, matrices: FloatArray) -> tuple[GradeScore, ...]:
    precision = confusion.precision(matrices)
    recall = confusion.recall(matrices)
    f1 = confusion.f1(matrices)
    support = matrices[0].sum(axis=-1)
    return tuple(
        GradeScore(
            grade=grade,
            precision=bootstrap.estimate(precision[:, grade]),
            recall=bootstrap.estimate(recall[:, grade]),
            f1=bootstrap.estimate(f1[:, grade]),
            support=int(support[grade]),
        )
        for grade in Grade
    )


def _auc(
    bootstrap: _PatientBootstrap,
    truth: IntArray,
    probabilities: npt.ArrayLike | None,
    grade: Grade,
) -> Estimate | None:
    if probabilities is None:
        return None
    scores = at_least(grade, checked_probabilities(probabilities, len(truth)))
    ranked = RankedKnees.rank(truth >= grade, scores, bootstrap.patients)
    return bootstrap.estimate(bootstrap(ranked.auc))
