"""Which members, and which rule: every subset compared, the choice, and what it is really worth.

The best of hundreds of candidates looks better on the knees it was chosen on than it is. So the
choice is estimated by nested cross-validation: patients are dealt into groups, and the knees of
each group are graded by what the other groups alone would have chosen and fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Distributions, FloatArray, IntArray
from kellgren.evaluation import confusion
from kellgren.grading.voting import fit_stack, fit_weights, soft_vote, stacked_vote
from kellgren.training.selection.votes import PAPER_RULES as PAPER_RULES
from kellgren.training.selection.votes import (
    Counts,
    FreeRule,
    check_count,
    count_all_subsets,
    grades_of_subset,
)

AnyRule = Literal[FreeRule, "weighted", "stacked"]
Measure = Literal["qwk", "accuracy", "macro_f1", "paper"]
ALL_RULES: tuple[AnyRule, ...] = (*PAPER_RULES, "weighted", "stacked")
GROUPS = 5


def rounded_accuracy_and_f1(matrices: Distributions) -> Distributions:
    """What Pi et al. chose by: accuracy rounded to 0.01 %, plus macro-F1; 0..2."""
    return np.asarray(np.round(confusion.accuracy(matrices), 4) + confusion.macro_f1(matrices))


MEASURES: dict[Measure, Callable[[Distributions], Distributions]] = {
    "qwk": confusion.qwk,
    "accuracy": confusion.accuracy,
    "macro_f1": confusion.macro_f1,
    "paper": rounded_accuracy_and_f1,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule over some of the members, which are named by their position."""

    rule: AnyRule
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SubsetComparison:
    """How every candidate grades the knees.

    Attributes:
        candidates: C of them, small ones first.
        members: ``(M, N, 5)`` distributions that they vote by.
        fitted: ``(N,)`` grades of each candidate whose rule has weights, by its position; the
            weights were fitted without the knee's group.
        whole: ``(C, 5, 5)`` confusion matrices over all knees, rows true grades.
        without: ``(G, C, 5, 5)`` the same over all groups but one, and with nothing fitted on it.
    """

    candidates: tuple[Candidate, ...]
    members: FloatArray
    fitted: dict[int, npt.NDArray[np.int8]]
    whole: Counts
    without: Counts

    def grades_of(self, at: int) -> npt.NDArray[np.int8]:
        """``(N,)`` grades that the candidate at this position gives."""
        if at in self.fitted:
            return self.fitted[at]
        candidate = self.candidates[at]
        rule = next(rule for rule in PAPER_RULES if rule == candidate.rule)
        return grades_of_subset(self.members, candidate.members, rule)

    def scores(self, measure: Measure, without: int | None = None) -> Distributions:
        """``(C,)`` each candidate's score; not-a-number where it is undefined.

        Args:
            measure: to score by.
            without: a group that is left out.
        """
        matrices = self.whole if without is None else self.without[without]
        return MEASURES[measure](matrices.astype(np.float64))

    def best(
        self, measure: Measure, without: int | None = None, rules: Sequence[AnyRule] = ALL_RULES
    ) -> int:
        """The candidate with the highest score; of equals, the one with the fewest members.

        Args:
            measure: by which to choose.
            without: a group that is left out.
            rules: whose candidates are chosen from.
        """
        scores = np.nan_to_num(self.scores(measure, without), nan=-np.inf)
        if len(rules) < len(ALL_RULES):
            scores[[candidate.rule not in rules for candidate in self.candidates]] = -np.inf
        return int(scores.argmax())

    def nested(
        self, group: IntArray, measure: Measure, rules: Sequence[AnyRule] = ALL_RULES
    ) -> npt.NDArray[np.int8]:
        """``(N,)`` grades, each knee's by what was chosen without its group."""
        grades = np.empty(len(group), dtype=np.int8)
        for held in range(len(self.without)):
            mine = group == held
            grades[mine] = self.grades_of(self.best(measure, held, rules))[mine]
        return grades


def deal(patients: Iterable[str], groups: int = GROUPS) -> IntArray:
    """``(N,)`` group of each knee: patients in alphabetical order are dealt like cards."""
    names = list(patients)
    number = {patient: n for n, patient in enumerate(sorted(set(names)))}
    return np.array([number[patient] % groups for patient in names], dtype=np.int64)


def subsets(count: int, smallest: int = 1) -> list[tuple[int, ...]]:
    """All subsets of so many members, small ones first."""
    sizes = range(smallest, count + 1)
    return [chosen for size in sizes for chosen in combinations(range(count), size)]


def compare_subsets(
    members: FloatArray,
    truth: npt.NDArray[np.integer],
    group: IntArray,
    rules: Sequence[AnyRule] = ALL_RULES,
    smallest: int = 1,
) -> SubsetComparison:
    """Compare all subsets under the rules.

    A subset of one has no vote to hold and is listed once. Rules with weights choose by their
    weights: they are compared over all members only.

    Args:
        members: ``(M, N, 5)`` distributions on knees that no member learnt from.
        truth: ``(N,)`` grades.
        group: ``(N,)`` from `deal`.
        rules: to compare.
        smallest: members of a subset, at least.

    Raises:
        InvalidOption: more members than whose subsets can be gone through.
    """
    free = [rule for rule in PAPER_RULES if rule in rules]
    groups = int(group.max()) + 1
    candidates, counts = _counted(members, truth, group, free, smallest)
    fitted: dict[int, npt.NDArray[np.int8]] = {}
    whole = counts.sum(axis=0, dtype=np.int32)
    parts = [(whole, whole - counts)]
    everyone = tuple(range(len(members)))
    for rule in rules:
        if rule in ("weighted", "stacked") and len(members) > 1:
            grades, in_all, in_others = _cross_fitted(rule, members, truth, group)
            fitted[len(candidates)] = grades
            candidates.append(Candidate(rule, everyone))
            parts.append((in_all, in_others.reshape(groups, 1, 5, 5)))
    return SubsetComparison(
        tuple(candidates),
        members,
        fitted,
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts], axis=1),
    )


def _counted(
    members: FloatArray,
    truth: npt.NDArray[np.integer],
    group: IntArray,
    rules: Sequence[FreeRule],
    smallest: int,
) -> tuple[list[Candidate], Counts]:
    """Candidates without weights, and their confusion matrices ``(G, C, 5, 5)``."""
    if not rules:
        return [], np.zeros((int(group.max()) + 1, 0, 5, 5), np.int32)
    check_count(len(members))
    candidates, places = [], []
    for chosen in subsets(len(members), smallest):
        number = sum(1 << member for member in chosen)
        for at, rule in enumerate(rules if len(chosen) > 1 else rules[:1]):
            candidates.append(Candidate(rule, chosen))
            places.append(number * len(rules) + at)
    counts = count_all_subsets(members, truth, group, rules)
    by_place = counts.reshape(-1, *counts.shape[2:])[places]
    return candidates, np.moveaxis(by_place, 1, 0)


def counted(grades: npt.NDArray[np.integer], truth: npt.NDArray[np.integer]) -> Distributions:
    """``(5, 5)`` confusion matrix of ``(N,)`` grades."""
    alone = np.zeros(len(truth), dtype=np.int64)
    return np.asarray(_confusions(grades, truth, alone)[0], dtype=np.float64)


def _confusions(
    grades: npt.NDArray[np.integer], truth: npt.NDArray[np.integer], group: IntArray
) -> Counts:
    """``(G, 5, 5)`` confusion matrices of ``(N,)`` grades."""
    groups = int(group.max()) + 1
    place = group * 25 + np.asarray(truth, dtype=np.int64) * 5
    counts = np.bincount(place + grades, minlength=groups * 25)
    return counts.astype(np.int32).reshape(groups, 5, 5)


def _cross_fitted(
    rule: AnyRule, members: FloatArray, truth: npt.NDArray[np.integer], group: IntArray
) -> tuple[npt.NDArray[np.int8], Counts, Counts]:
    """Grades ``(N,)`` of a rule with weights; confusions over all knees, and without each group."""
    groups = int(group.max()) + 1

    def graded(knees: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
        """``(N,)`` grades of these knees, each by a fit on those of the other groups among them."""
        graded_knees = np.zeros(len(truth), dtype=np.int8)
        for held in np.unique(group[knees]):
            mine, others = knees & (group == held), knees & (group != held)
            learnt = others if others.any() else mine
            graded_knees[mine] = _vote_by_weight(
                rule, members[:, learnt], truth[learnt], members[:, mine]
            )
        return graded_knees

    all_of_them = graded(np.ones(len(truth), dtype=np.bool_))
    without = np.zeros((groups, 5, 5), np.int32)
    for held in range(groups):
        kept = group != held
        if kept.any():
            without[held] = _confusions(graded(kept)[kept], truth[kept], group[kept]).sum(axis=0)
    whole = _confusions(all_of_them, truth, group).sum(axis=0, dtype=np.int32)
    return all_of_them, whole[None], without


def _vote_by_weight(
    rule: AnyRule, learnt: FloatArray, grades: npt.NDArray[np.integer], judged: FloatArray
) -> npt.NDArray[np.int8]:
    if rule == "weighted":
        voted = soft_vote(judged, fit_weights(learnt, grades))
    else:
        voted = stacked_vote(judged, *fit_stack(learnt, grades))
    return np.asarray(voted.argmax(axis=1), dtype=np.int8)
