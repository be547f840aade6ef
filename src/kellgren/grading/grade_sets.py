"""Sets of neighbouring grades that hold the label at a stated rate, for each true grade.

Split conformal prediction, class-conditional (Vovk, 2012; Angelopoulos and Bates, 2023): a grade is
in the set of a knee when its score is not above the threshold of that grade, which is a quantile of
the scores of held-out knees that have it. The score of grade k is its distance from the median of
the knee's distribution, ``|P(grade < k) + P(grade = k) / 2 - 1/2|``, 0 to 1/2: it knows the grades'
order, so that what it admits lies side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kellgren.arrays import Distributions, Float64Array, FloatArray, GradeArray, IntArray, Mask
from kellgren.errors import InvalidOption

LEVELS = (0.8, 0.9, 0.95)
DEFAULT_LEVEL = 0.9
FEWEST_OF_A_GRADE = 20
"""Knees of a grade below which its threshold is that of all knees together: 19 are the fewest whose
quantile at 0.95 is a number."""
FEWEST_KNEES = 40
"""Knees below which nothing is fitted."""
_COUNT = 5
_FOLDS = 10
_SEED = 42
_DIGITS = 7
Thresholds = Callable[[Float64Array, IntArray, float], Float64Array]
"""``(N, 5)`` scores, ``(N,)`` labels and a level give the threshold of each grade, ``(5,)``."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MeasuredSets(_Part):
    """How sets of one level held on knees whose patients had no part in their thresholds.

    Attributes:
        knees: how many.
        patients: whose knees these are.
        coverage: share of knees whose label is in the set, 0..1.
        per_grade: the same of the knees of each true grade; ``None`` where there is none.
        mean_size: grades in a set, 1..5.
        single: share of knees whose set is one grade.
    """

    knees: int
    patients: int
    coverage: float = Field(ge=0, le=1)
    per_grade: tuple[float | None, ...] = Field(min_length=_COUNT, max_length=_COUNT)
    mean_size: float = Field(ge=1, le=_COUNT)
    single: float = Field(ge=0, le=1)


class LevelSets(_Part):
    """The sets of one level.

    Attributes:
        level: share of labels that they are to hold, above 0 and below 1.
        thresholds: of each grade: the largest score with which it is in the set.
        measured: how they held, cross-fitted by patient.
    """

    level: float = Field(gt=0, lt=1)
    thresholds: tuple[float, ...] = Field(min_length=_COUNT, max_length=_COUNT)
    measured: MeasuredSets


class GradeSets(_Part):
    """Fitted sets, as a bundle's card keeps them.

    Attributes:
        levels: from the lowest to the highest; a set of one level lies in that of a higher one.
        pooled: grades with too few knees for a threshold of their own.
    """

    levels: tuple[LevelSets, ...] = Field(min_length=1)
    pooled: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _nested(self) -> Self:
        thresholds = np.array([one.thresholds for one in self.levels])
        levels = [one.level for one in self.levels]
        if levels != sorted(set(levels)) or (np.diff(thresholds, axis=0) < 0).any():
            raise ValueError("a higher level needs higher thresholds, and comes later")
        return self

    def at(self, level: float) -> LevelSets:
        """The sets of a level.

        Raises:
            InvalidOption: none were fitted at that level.
        """
        for one in self.levels:
            if math.isclose(one.level, level, abs_tol=1e-9):
                return one
        there = ", ".join(f"{one.level:g}" for one in self.levels)
        raise InvalidOption(
            "level", f"{level:g} is not among those the bundle was fitted for", f"Choose {there}"
        )

    def sets(
        self, probabilities: FloatArray, level: float = DEFAULT_LEVEL
    ) -> tuple[IntArray, IntArray]:
        """Lowest and highest grade ``(N,)`` of the set of each knee.

        The most probable grade is always in it.

        Args:
            probabilities: ``(N, 5)``, calibrated as those that the sets were fitted on.
            level: one of the fitted ones.

        Raises:
            InvalidOption: none were fitted at that level.
        """
        told, thresholds = np.asarray(probabilities), np.array(self.at(level).thresholds)
        return _ends(told, median_scores(told), thresholds)

    def set_of(
        self, probabilities: FloatArray | Sequence[float], level: float = DEFAULT_LEVEL
    ) -> tuple[int, int]:
        """Lowest and highest grade of the set of one knee, ``(5,)`` probabilities."""
        lowest, highest = self.sets(np.asarray(probabilities, np.float64)[None], level)
        return int(lowest[0]), int(highest[0])


def median_scores(probabilities: FloatArray) -> Distributions:
    """``(N, 5)`` distance of each grade from the median of the knee's distribution, 0..1/2."""
    shares = np.asarray(probabilities, np.float64)
    shares = shares / shares.sum(axis=-1, keepdims=True)
    return np.asarray(np.abs(shares.cumsum(axis=-1) - shares / 2 - 0.5))


def conformal_quantile(scores: Float64Array, level: float) -> float:
    """The ``ceil((n + 1) * level)``-th smallest of n scores; infinite where there are too few.

    A further score drawn like the others lies at or below it with a probability of ``level`` or
    more.
    """
    rank = math.ceil((len(scores) + 1) * level - 1e-9)
    return math.inf if rank > len(scores) else float(np.sort(scores)[rank - 1])


def fit_grade_sets(
    probabilities: FloatArray,
    labels: GradeArray,
    patients: Sequence[str],
    levels: Sequence[float] = LEVELS,
    *,
    thresholds: Thresholds | None = None,
    fewest: int = FEWEST_KNEES,
) -> GradeSets:
    """Fit the thresholds on knees that no member learnt from, and measure how such sets hold.

    The measure is cross-fitted: the knees of a tenth of the patients at a time are told by
    thresholds of the others'.

    Args:
        probabilities: ``(N, 5)``, out of fold and calibrated.
        labels: ``(N,)`` true grades.
        patients: ``(N,)``; a patient's knees are never on both sides of a cross-fit.
        levels: above 0 and below 1.
        thresholds: another rule than the quantile of a grade's own knees, or of all where it has
            few.
        fewest: knees below which nothing is fitted.

    Raises:
        InvalidOption: fewer than ``fewest`` knees, or of fewer than two patients.
    """
    told_by = thresholds or quantile_thresholds
    truth = np.asarray(labels, np.int64)
    if len(truth) < fewest or len(set(patients)) < 2:
        raise InvalidOption(
            "knees",
            f"{len(truth)} of {len(set(patients))} patients are too few to fit grade sets",
            f"Give at least {fewest} graded knees of several patients",
        )
    scores = median_scores(probabilities)
    ordered = sorted(levels)
    told = cross_fitted_sets(probabilities, truth, patients, ordered, thresholds=told_by)
    return GradeSets(
        levels=tuple(
            LevelSets(
                level=level,
                thresholds=tuple(_rounded_up(one) for one in told_by(scores, truth, level)),
                measured=_measured(truth, patients, *ends),
            )
            for level, ends in zip(ordered, told, strict=True)
        ),
        pooled=tuple(int(grade) for grade in np.flatnonzero(_few(truth))),
    )


def cross_fitted_sets(
    probabilities: FloatArray,
    labels: GradeArray,
    patients: Sequence[str],
    levels: Sequence[float] = LEVELS,
    seed: int = _SEED,
    score: Callable[[Float64Array], Float64Array] | None = None,
    *,
    thresholds: Thresholds | None = None,
) -> list[tuple[IntArray, IntArray]]:
    """Of each level the lowest and highest grade ``(N,)``, by thresholds of other patients' knees.

    Args:
        probabilities: ``(N, 5)``.
        labels: ``(N,)`` true grades.
        patients: ``(N,)``.
        levels: above 0 and below 1.
        seed: of the patients' deal into ten parts.
        score: ``(N, 5)`` of probabilities, in place of `median_scores`, to compare with.
        thresholds: as of `fit_grade_sets`.
    """
    told_by = thresholds or quantile_thresholds
    told = np.asarray(probabilities, np.float64)
    truth = np.asarray(labels, np.int64)
    scores = (score or median_scores)(told)
    part = parts_of_patients(patients, seed)
    ends = [(np.zeros(len(truth), np.int64), np.zeros(len(truth), np.int64)) for _ in levels]
    for one in np.unique(part):
        out, kept = part == one, part != one
        for level, (lowest, highest) in zip(levels, ends, strict=True):
            limits = told_by(scores[kept], truth[kept], level)
            lowest[out], highest[out] = _ends(told[out], scores[out], limits)
    return ends


def parts_of_patients(patients: Sequence[str], seed: int = _SEED) -> IntArray:
    """``(N,)`` which of ten equal parts of the patients each knee's patient is in."""
    names, position = np.unique(np.asarray(patients), return_inverse=True)
    dealt = np.random.default_rng(seed).permutation(len(names)) % min(_FOLDS, len(names))
    return np.asarray(dealt[position], np.int64)


def can_be_measured(patients: Sequence[str]) -> bool:
    """Whether sets can be fitted to the knees ``(N,)`` of any nine of the patients' ten parts."""
    kept = len(patients) - np.bincount(parts_of_patients(patients), minlength=1)
    return len(set(patients)) > 2 and bool(kept.min() >= FEWEST_KNEES)


def _few(truth: IntArray) -> Mask:
    return np.asarray(np.bincount(truth, minlength=_COUNT) < FEWEST_OF_A_GRADE)


def quantile_thresholds(scores: Float64Array, truth: IntArray, level: float) -> Float64Array:
    """``(5,)`` of ``(N, 5)`` scores: a quantile of each grade's knees, of all where it has few."""
    own = scores[np.arange(len(truth)), truth]
    few = _few(truth)
    return np.array(
        [
            min(1.0, conformal_quantile(own if few[grade] else own[truth == grade], level))
            for grade in range(_COUNT)
        ]
    )


def _ends(
    probabilities: FloatArray, scores: Float64Array, thresholds: Float64Array
) -> tuple[IntArray, IntArray]:
    inside = scores <= thresholds
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside.argmax(axis=1), _COUNT - 1 - inside[:, ::-1].argmax(axis=1)


def _rounded_up(threshold: float) -> float:
    """No score that reached the threshold may fall above the kept one."""
    steps = 10.0**_DIGITS
    return min(0.5, round(math.ceil(threshold * steps) / steps, _DIGITS))


def _measured(
    truth: IntArray, patients: Sequence[str], lowest: IntArray, highest: IntArray
) -> MeasuredSets:
    inside = (lowest <= truth) & (truth <= highest)
    of_grade = [inside[truth == grade] for grade in range(_COUNT)]
    return MeasuredSets(
        knees=len(truth),
        patients=len(set(patients)),
        coverage=round(float(inside.mean()), 4),
        per_grade=tuple(round(float(one.mean()), 4) if len(one) else None for one in of_grade),
        mean_size=round(float((highest - lowest + 1).mean()), 4),
        single=round(float((highest == lowest).mean()), 4),
    )
