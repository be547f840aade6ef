"""When a grade is named, and when a reading ends in "not sure enough to name a grade".

A grade is not named where any of these is true: its set is wide, its probability is small, the
members disagree, or a check refused the picture. The limits are fitted on held-out knees, so that
few knees go without a named grade and those are the ones whose most probable grade is often wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kellgren.arrays import Float64Array, FloatArray, GradeArray, IntArray, Mask
from kellgren.grading.calibration import CERTAINTY_WORDS, certainty
from kellgren.grading.grade_sets import (
    DEFAULT_LEVEL,
    GradeSets,
    cross_fitted_sets,
    fit_grade_sets,
    parts_of_patients,
)

MOST_UNNAMED = 0.2
"""Largest share of knees without a named grade that a rule may lead to."""
RIGHT_AT_MOST = 0.6
"""Of the knees that are not named, the most probable grade is right in at most this share."""
_FITTED_UNNAMED = 0.18  # below the limit by what chance adds on other knees
_DISAGREEING = 0.02  # share of the knees whose members disagree most
_NARROWEST_WIDE = 3
_DIGITS = 4


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MeasuredNaming(_Part):
    """How a rule held on knees whose patients had no part in its limits.

    Attributes:
        knees: how many.
        patients: whose knees these are.
        unnamed: share without a named grade, 0..1.
        right: share whose most probable grade is right, of all.
        right_named: the same, of those with a named grade; ``None`` where there is none.
        right_unnamed: the same, of those without.
    """

    knees: int
    patients: int
    unnamed: float = Field(ge=0, le=1)
    right: float = Field(ge=0, le=1)
    right_named: float | None
    right_unnamed: float | None


class NamingRule(_Part):
    """The fitted limits.

    Attributes:
        level: of the sets that may be wide.
        wide: grades in a set from which on it is wide; 6: none is.
        least_probability: of the most probable grade, below which it is not named.
        most_disagreement: of the members, in nats, above which none is named; ``None``: no limit.
        measured: how the rule held, cross-fitted by patient.
    """

    level: float = DEFAULT_LEVEL
    wide: int = Field(ge=2, le=6)
    least_probability: float = Field(ge=0, le=1)
    most_disagreement: float | None = None
    measured: MeasuredNaming

    def doubts(
        self, probability: float, size: int, disagreement: float | None, refused: bool = False
    ) -> tuple[str, ...]:
        """Why a knee's grade is not named; empty where it is.

        Args:
            probability: of the most probable grade.
            size: grades in the knee's set at the rule's level.
            disagreement: of the members, see `disagreement`; ``None`` where there is one only.
            refused: whether a check refused the picture, which was graded all the same.
        """
        limit = self.most_disagreement
        said = (
            (size >= self.wide, f"the {100 * self.level:g} % set holds {size} grades"),
            (
                probability < self.least_probability,
                f"the most probable grade has {probability:.1%}, "
                f"less than {self.least_probability:.1%}",
            ),
            (
                limit is not None and disagreement is not None and disagreement > limit,
                f"the members disagree by {disagreement or 0:.3f} nats, more than {limit or 0:.3f}",
            ),
            (refused, "a check refused the picture"),
        )
        return tuple(words for holds, words in said if holds)

    def unnamed(
        self, probability: Float64Array, size: IntArray, disagreement: Float64Array | None
    ) -> Mask:
        """``(N,)`` which knees get no named grade; arguments as of `doubts`, ``(N,)`` each."""
        doubted = (size >= self.wide) | (probability < self.least_probability)
        if self.most_disagreement is not None and disagreement is not None:
            doubted |= disagreement > self.most_disagreement
        return doubted


def disagreement(votes: FloatArray) -> Float64Array:
    """How far members disagree, in nats: the mutual information of grade and member.

    The entropy of the members' mean less the mean of their entropies: 0 where all say the same,
    at most the logarithm of their number. It is the part of the doubt that better training could
    remove (epistemic), unlike the breadth that all of them agree on.

    Args:
        votes: ``(M, ..., 5)`` distributions.
    """
    members = np.asarray(votes, np.float64)
    mean = _entropy(members.mean(axis=0))
    return np.asarray(np.maximum(0.0, mean - _entropy(members).mean(axis=0)), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Knees that no member learnt from.

    Attributes:
        probabilities: ``(N, 5)`` calibrated.
        labels: ``(N,)`` true grades.
        patients: ``(N,)``.
        disagreement: ``(N,)`` of the members; ``None`` where it is not known.
    """

    probabilities: Float64Array
    labels: IntArray
    patients: tuple[str, ...]
    disagreement: Float64Array | None = None

    @classmethod
    def of(
        cls,
        probabilities: FloatArray,
        labels: GradeArray,
        patients: Sequence[str],
        votes: FloatArray | None = None,
    ) -> HeldOut:
        """The same from the members' distributions, ``(M, N, 5)``; one member cannot disagree."""
        several = votes is not None and len(votes) > 1
        return cls(
            np.asarray(probabilities, np.float64),
            np.asarray(labels, np.int64),
            tuple(patients),
            disagreement(votes) if several and votes is not None else None,
        )

    @property
    def right(self) -> Mask:
        """``(N,)`` whether the most probable grade is the label."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels)

    def among(self, kept: Mask) -> HeldOut:
        """Only some of the knees."""
        return HeldOut(
            self.probabilities[kept],
            self.labels[kept],
            tuple(np.asarray(self.patients)[kept]),
            None if self.disagreement is None else self.disagreement[kept],
        )


def fit_naming(knees: HeldOut, level: float = DEFAULT_LEVEL) -> NamingRule:
    """Fit the limits, and measure the rule on patients that had no part in them.

    Args:
        knees: held out.
        level: of the sets.

    Raises:
        InvalidOption: the knees are too few for grade sets.
    """
    fit_grade_sets(knees.probabilities, knees.labels, knees.patients, [level])
    lowest, highest = cross_fitted_sets(knees.probabilities, knees.labels, knees.patients, [level])[
        0
    ]
    rule = naming_rule(knees, highest - lowest + 1, level)
    measured = measured_naming(knees, cross_fitted_naming(knees, level))
    return rule.model_copy(update={"measured": measured})


def cross_fitted_naming(knees: HeldOut, level: float = DEFAULT_LEVEL, seed: int = 42) -> Mask:
    """``(N,)`` which knees get no named grade by limits and sets of other patients' knees.

    Args:
        knees: held out.
        level: of the sets.
        seed: of the patients' deal into ten parts.
    """
    part = parts_of_patients(knees.patients, seed)
    unnamed = np.zeros(len(part), bool)
    for one in np.unique(part):
        out, kept = knees.among(part == one), knees.among(part != one)
        sets = fit_grade_sets(kept.probabilities, kept.labels, kept.patients, [level])
        rule = naming_rule(kept, _sizes(sets, kept), level)
        unnamed[part == one] = rule.unnamed(
            out.probabilities.max(axis=1), _sizes(sets, out), out.disagreement
        )
    return unnamed


_NOTHING = MeasuredNaming(
    knees=0, patients=0, unnamed=0, right=0, right_named=None, right_unnamed=None
)


def _entropy(shares: Float64Array) -> Float64Array:
    return np.asarray(-(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=-1))


def _sizes(sets: GradeSets, knees: HeldOut) -> IntArray:
    lowest, highest = sets.sets(knees.probabilities, sets.levels[0].level)
    return np.asarray(highest - lowest + 1)


def naming_rule(knees: HeldOut, size: IntArray, level: float) -> NamingRule:
    """The limits, not measured: first the width and the disagreement, then the probability."""
    count = len(knees.labels)
    room = int(_FITTED_UNNAMED * count)
    wide = next(width for width in range(_NARROWEST_WIDE, 7) if (size >= width).sum() <= room // 2)
    doubted = size >= wide
    most = None
    if knees.disagreement is not None:
        most = float(np.quantile(knees.disagreement, 1 - _DISAGREEING))
        most = round(most, _DIGITS)
        doubted |= knees.disagreement > most
    return NamingRule(
        level=level,
        wide=wide,
        most_disagreement=most,
        least_probability=_least_probability(knees, doubted, room),
        measured=_NOTHING,
    )


def _least_probability(knees: HeldOut, doubted: Mask, room: int) -> float:
    """As high as room and `RIGHT_AT_MOST` allow, given those that are in doubt already."""
    top, right = knees.probabilities.max(axis=1), knees.right
    order = np.flatnonzero(~doubted)[np.argsort(top[~doubted], kind="stable")]
    more = np.arange(1, len(order) + 1)
    share = (right[doubted].sum() + np.cumsum(right[order])) / (doubted.sum() + more)
    allowed = np.flatnonzero((share <= RIGHT_AT_MOST) & (doubted.sum() + more <= room))
    if not len(allowed):
        return 0.0
    last = int(allowed[-1])
    return round(float(top[order[min(last + 1, len(order) - 1)]]), _DIGITS)


def measured_naming(knees: HeldOut, unnamed: Mask) -> MeasuredNaming:
    """How it held that some of the knees, ``(N,)``, got no named grade."""

    def share(mask: Mask) -> float | None:
        return round(float(knees.right[mask].mean()), 4) if mask.any() else None

    return MeasuredNaming(
        knees=len(unnamed),
        patients=len(set(knees.patients)),
        unnamed=round(float(unnamed.mean()), 4),
        right=share(np.ones(len(unnamed), bool)) or 0.0,
        right_named=share(~unnamed),
        right_unnamed=share(unnamed),
    )


def certainty_shares(knees: HeldOut) -> dict[str, dict[str, dict[str, int | float | None]]]:
    """How many knees bear each word for certainty, and the share of right grades among them."""
    words = np.array([certainty(row) for row in knees.probabilities])
    return {
        "certainty": {
            word: {
                "knees": int((words == word).sum()),
                "accuracy": round(float(knees.right[words == word].mean()), 4)
                if (words == word).any()
                else None,
            }
            for word, _ in CERTAINTY_WORDS
        }
    }
