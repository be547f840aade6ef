"""What a local calibration brings, told by knees whose patients had no part in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Distributions, GradeArray, IntArray
from kellgren.errors import InvalidPredictions
from kellgren.evaluation import Comparison, Grades, Scores, compare, score
from kellgren.local_calibration.local_fit import LocalFit, fit_local

FEWEST_KNEES, FEWEST_PATIENTS = 20, 10
"""Graded knees, and their patients, below which nothing is fitted."""
FEW_KNEES = 50
"""Knees below which more are advised."""
PARTS = 20
"""Of the patients, in cross-validation."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalEstimate:
    """The fit on all local knees, and what it is worth on others.

    Attributes:
        fit: on all knees.
        after: ``(N, 5)`` each knee as a fit without its part of the patients would have it: the
            same steps, with the same decision whether to change anything.
        truth: ``(N,)`` the local grades.
        patients: whose knees these are.
        unchanged_parts: of the parts of the patients, how many saw no change by the others.
        scores_before: as delivered.
        scores_after: of `after`.
        comparison: of both, paired; after minus before.
    """

    fit: LocalFit
    after: Distributions
    truth: GradeArray
    patients: tuple[str, ...]
    unchanged_parts: int
    scores_before: Scores
    scores_after: Scores
    comparison: Comparison


def estimate(
    probabilities: Distributions,
    grades: GradeArray,
    patients: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 42,
) -> LocalEstimate:
    """Fit on all knees, and estimate by cross-validation over patients what that brings.

    Args:
        probabilities: ``(N, 5)`` the bundle's distributions.
        grades: ``(N,)`` the local grades.
        patients: ``(N,)``; a patient's knees are never on both sides of a fit.
        resamples: of patients for intervals, and permutations.
        seed: of the parts and the resamples.

    Raises:
        InvalidPredictions: too few knees or patients, or a single grade.
    """
    check_enough(grades, patients)
    after, unchanged = cross_fitted(probabilities, grades, patients, seed)
    before = Grades(probabilities.argmax(axis=1), probabilities)
    scores = [
        score(grades, it.argmax(axis=1), it, patients, resamples=resamples, seed=seed)
        for it in (probabilities, after)
    ]
    return LocalEstimate(
        fit=fit_local(probabilities, grades),
        after=after,
        truth=grades,
        patients=tuple(patients),
        unchanged_parts=unchanged,
        scores_before=scores[0],
        scores_after=scores[1],
        comparison=compare(
            grades,
            Grades(after.argmax(axis=1), after),
            before,
            patients,
            resamples=resamples,
            permutations=resamples,
            seed=seed,
        ),
    )


def check_enough(grades: GradeArray, patients: Sequence[str]) -> None:
    """Refuse what no calibration can be fitted to.

    Raises:
        InvalidPredictions: too few knees or patients, or a single grade.
    """
    knees, people = len(grades), len(set(patients))
    if knees < FEWEST_KNEES or people < FEWEST_PATIENTS:
        raise InvalidPredictions(
            "labels",
            f"{knees} graded knees of {people} patients can be used, too few to calibrate on",
            f"Grade at least {FEWEST_KNEES} knees of {FEWEST_PATIENTS} patients; "
            f"{FEW_KNEES} or more are better",
        )
    if len(np.unique(grades)) < 2:
        raise InvalidPredictions(
            "labels",
            f"all {knees} knees have grade {int(grades[0])}: they cannot show where grades begin",
            "Add knees of other grades",
        )


def cross_fitted(
    probabilities: Distributions, grades: GradeArray, patients: Sequence[str], seed: int = 42
) -> tuple[Distributions, int]:
    """``(N, 5)`` each knee by a fit on the other parts' patients; parts that stayed unchanged."""
    part = parts_of_patients(patients, seed)
    after, unchanged = np.empty(probabilities.shape), 0
    for held in np.unique(part):
        out = part == held
        fit = fit_local(probabilities[~out], grades[~out])
        after[out] = fit.shift.apply(probabilities[out])
        unchanged += fit.verdict != "calibrated"
    return after, unchanged


def parts_of_patients(patients: Sequence[str], seed: int = 42) -> IntArray:
    """``(N,)`` which of twenty parts each knee's patient is dealt to, as even as can be."""
    names, position = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    dealt = np.random.default_rng(seed).permutation(len(names)) % min(PARTS, len(names))
    return np.asarray(dealt[position], dtype=np.int64)
