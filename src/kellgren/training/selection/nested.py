"""A bundle's combiner, chosen and fitted out of fold, and the estimate of what that is worth.

Each knee is graded once more by a combiner that was chosen and fitted without its group of
patients, alone and with the patient's other knee. Scores of these grades are not flattered by the
choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Distributions, FloatArray, GradeArray
from kellgren.evaluation import Estimate
from kellgren.grading.combiner import RULES, Combiner, Rule, fit_combiner
from kellgren.grading.contralateral import BothKnees, fit_both_knees
from kellgren.training.selection.same_knees import SameKnees
from kellgren.training.selection.subsets import (
    Candidate,
    Measure,
    SubsetComparison,
    compare_subsets,
    deal,
)

FEWEST_PAIRED = 200
"""Knees with a contralateral knee; below so many it is not used."""
REPORTED: tuple[Measure, ...] = ("qwk", "accuracy", "macro_f1")
"""Measures that are always reported; another one is where it chooses."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimated:
    """What was chosen, and the nested estimate of it.

    Attributes:
        combiner: chosen and fitted on all knees.
        both_knees: fitted on all pairs; ``None`` where they are too few.
        single: ``(N, 5)`` calibrated, each knee's without its group of patients.
        paired: the same, with the contralateral knee's evidence where there is one.
        gain: of paired over single on all knees, by measure.
    """

    combiner: Combiner
    both_knees: BothKnees | None
    single: Distributions
    paired: Distributions
    gain: dict[Measure, Estimate]

    def other_knee_helps(self, measure: Measure) -> bool:
        """Whether the other knee helps: the gain's interval lies above 0."""
        return self.both_knees is not None and self.gain[measure].low > 0


def estimate(
    names: Sequence[str],
    members: FloatArray,
    truth: GradeArray,
    patients: Sequence[str],
    other: npt.NDArray[np.int64],
    *,
    measure: Measure = "qwk",
    rules: Sequence[Rule] = RULES,
    smallest: int = 1,
) -> Estimated:
    """Choose and fit the combiner of a bundle, and estimate it by nested cross-validation.

    Args:
        names: of the M members.
        members: ``(M, N, 5)`` distributions on knees that no member learnt from.
        truth: ``(N,)`` grades.
        patients: whose knees they are.
        other: ``(N,)`` position of each knee's contralateral knee, -1 where there is none.
        measure: to choose by.
        rules: to choose among.
        smallest: members that vote, at least.
    """
    group = deal(patients)
    compared = compare_subsets(members, truth, group, rules, smallest)
    single = np.empty(members.shape[1:])
    paired = np.empty(members.shape[1:])
    for held in np.unique(group):
        mine = group == held
        others = ~mine if not mine.all() else mine
        combiner = _fitted(
            compared, compared.best(measure, int(held)), names, members, truth, others
        )
        alone = combiner.combine(members[_places(combiner, names)])
        single[mine] = alone[mine]
        paired[mine] = with_the_other(_pairs(alone, truth, other, others), alone, other)[mine]
    everyone = np.ones(len(truth), dtype=np.bool_)
    combiner = _fitted(compared, compared.best(measure), names, members, truth, everyone)
    alone = combiner.combine(members[_places(combiner, names)])
    reported = tuple(dict.fromkeys((*REPORTED, measure)))
    gained = gain(truth, single.argmax(axis=1), paired.argmax(axis=1), patients, reported)
    return Estimated(combiner, _pairs(alone, truth, other, everyone), single, paired, gained)


def with_the_other(
    both_knees: BothKnees | None, alone: Distributions, other: npt.NDArray[np.int64]
) -> Distributions:
    """``(N, 5)``: with the contralateral knee's evidence where there is one, else as read alone."""
    if both_knees is None:
        return alone
    combined = alone.copy()
    there = other >= 0
    combined[there] = both_knees.combine(alone[there], alone[other[there]])
    return combined


def gain(
    truth: GradeArray,
    before: GradeArray,
    after: GradeArray,
    patients: Sequence[str],
    measures: Sequence[Measure] = REPORTED,
) -> dict[Measure, Estimate]:
    """By how much grades got better, each measure with its interval over resampled patients.

    Args:
        truth: ``(N,)`` true grades.
        before: ``(N,)``.
        after: ``(N,)``.
        patients: whose knees they are; both knees of a patient are drawn together.
        measures: to compare by.
    """
    knees = SameKnees(truth, patients)
    return {measure: knees.difference(measure, after, before) for measure in measures}


def _fitted(
    compared: SubsetComparison,
    best: int,
    names: Sequence[str],
    members: FloatArray,
    truth: GradeArray,
    knees: npt.NDArray[np.bool_],
) -> Combiner:
    candidate: Candidate = compared.candidates[best]
    chosen = list(candidate.members)
    rule = next(rule for rule in RULES if rule == candidate.rule)
    kept = [names[member] for member in chosen]
    return fit_combiner(rule, kept, members[chosen][:, knees], truth[knees])


def _places(combiner: Combiner, names: Sequence[str]) -> list[int]:
    return [list(names).index(member) for member in combiner.members]


def _pairs(
    alone: Distributions,
    truth: GradeArray,
    other: npt.NDArray[np.int64],
    knees: npt.NDArray[np.bool_],
) -> BothKnees | None:
    learnt = knees & (other >= 0)
    if learnt.sum() < FEWEST_PAIRED:
        return None
    return fit_both_knees(alone[learnt], alone[other[learnt]], truth[learnt])
