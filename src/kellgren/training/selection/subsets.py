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
from kellgren.grading.voting import fit_stack, fit_weights, logs, soft_vote, softmax, stacked_vote

AnyRule = Literal["hard", "soft", "mix", "weighted", "stacked"]
Measure = Literal["qwk", "accuracy", "macro_f1"]
PAPER_RULES: tuple[AnyRule, ...] = ("hard", "soft", "mix")
ALL_RULES: tuple[AnyRule, ...] = (*PAPER_RULES, "weighted", "stacked")
MEASURES: dict[Measure, Callable[[Distributions], Distributions]] = {
    "qwk": confusion.qwk,
    "accuracy": confusion.accuracy,
    "macro_f1": confusion.macro_f1,
}
GROUPS = 5
_SUBSETS_AT_A_TIME = 32


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule over some of the members, which are named by their position."""

    rule: AnyRule
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SubsetComparison:
    """The grades that every candidate gives the knees.

    Attributes:
        candidates: C of them, small ones first.
        grades: ``(C, N)``; where a rule has weights, they were fitted without the knee's group.
        whole: ``(C, 5, 5)`` confusion matrices over all knees, rows true grades.
        without: ``(G, C, 5, 5)`` the same over all groups but one, and with nothing fitted on it.
    """

    candidates: tuple[Candidate, ...]
    grades: npt.NDArray[np.int8]
    whole: Distributions
    without: Distributions

    def best(self, measure: Measure, without: int | None = None) -> int:
        """The candidate with the highest score; of equals, the one with the fewest members.

        Args:
            measure: by which to choose.
            without: a group that is left out.
        """
        matrices = self.whole if without is None else self.without[without]
        return int(np.nan_to_num(MEASURES[measure](matrices), nan=-np.inf).argmax())

    def nested(self, group: IntArray, measure: Measure) -> npt.NDArray[np.int8]:
        """``(N,)`` grades, each knee's by what was chosen without its group."""
        grades = np.empty(self.grades.shape[1], dtype=np.int8)
        for held in range(len(self.without)):
            mine = group == held
            grades[mine] = self.grades[self.best(measure, held), mine]
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
) -> SubsetComparison:
    """Compare all subsets under the rules.

    A subset of one has no vote to hold and is listed once. Rules with weights choose by their
    weights: they are compared over all members only.

    Args:
        members: ``(M, N, 5)`` distributions on knees that no member learnt from.
        truth: ``(N,)`` grades.
        group: ``(N,)`` from `deal`.
        rules: to compare.
    """
    free = [rule for rule in PAPER_RULES if rule in rules]
    candidates: list[Candidate] = []
    grades = [np.empty((0, len(truth)), dtype=np.int8)]
    if free:
        listed = subsets(len(members))
        voted = _votes_of_subsets(members, listed)
        for number, chosen in enumerate(listed):
            kept = free if len(chosen) > 1 else free[:1]
            candidates += [Candidate(rule, chosen) for rule in kept]
            grades.append(np.stack([voted[rule][number] for rule in kept]))
    counts = _confusions(np.concatenate(grades), truth, group)
    whole = counts.sum(axis=0)
    parts = [(np.concatenate(grades), whole, whole - counts)]
    everyone = tuple(range(len(members)))
    for rule in rules:
        if rule in ("weighted", "stacked") and len(members) > 1:
            candidates.append(Candidate(rule, everyone))
            parts.append(_cross_fitted(rule, members, truth, group))
    return SubsetComparison(
        tuple(candidates),
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts], axis=1),
    )


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way of choosing, what it chose, and what that scores on knees that no fold held."""

    candidate: Candidate
    folds: tuple[int | None, ...]
    grades: npt.NDArray[np.int8]
    score: float


def both_protocols(
    out_of_fold: FloatArray,
    truth: npt.NDArray[np.integer],
    test: Sequence[FloatArray],
    test_truth: npt.NDArray[np.integer],
    measure: Measure,
) -> tuple[Protocol, Protocol]:
    """The paper's way of choosing and the honest one, scored on the same test knees.

    The paper took the fold of each network, the subset and the rule that scored best on the test
    knees themselves. The honest way takes subset and rule out of fold, and all folds' mean logits.

    Args:
        out_of_fold: ``(M, N, 5)``.
        truth: ``(N,)``.
        test: M arrays ``(F, T, 5)``, one distribution from each fold-model.
        test_truth: ``(T,)``.
        measure: to choose and score by.

    Returns:
        The paper's protocol, and the honest one.
    """
    scoring = MEASURES[measure]
    alone = np.zeros(len(test_truth), dtype=np.int64)

    def scores(members: FloatArray) -> SubsetComparison:
        return compare_subsets(members, test_truth, alone, PAPER_RULES)

    best_folds = [
        int(
            np.nan_to_num(scoring(_confusions(f.argmax(-1), test_truth, alone)[0]), nan=-1).argmax()
        )
        for f in test
    ]
    picked = scores(
        np.stack([of_folds[fold] for of_folds, fold in zip(test, best_folds, strict=True)])
    )
    at = picked.best(measure)
    paper = picked.candidates[at]
    compared = compare_subsets(
        out_of_fold, truth, np.zeros(len(truth), dtype=np.int64), PAPER_RULES
    )
    honest = compared.candidates[compared.best(measure)]
    meant = scores(np.stack([softmax(logs(of_folds).mean(axis=0)) for of_folds in test]))
    there = meant.candidates.index(honest)
    folds = tuple(best_folds[member] for member in paper.members)
    return (
        Protocol(paper, folds, picked.grades[at], float(scoring(picked.whole[at]))),
        Protocol(
            honest,
            (None,) * len(honest.members),
            meant.grades[there],
            float(scoring(meant.whole[there])),
        ),
    )


def _votes_of_subsets(
    members: FloatArray, listed: Sequence[tuple[int, ...]]
) -> dict[AnyRule, npt.NDArray[np.int8]]:
    """``(S, N)`` grades of every subset under each rule without weights."""
    stacked = np.asarray(members, dtype=np.float64)
    count, knees, grades = stacked.shape
    votes = (stacked.argmax(axis=2)[:, :, None] == np.arange(grades)).astype(np.float64)
    belongs = np.zeros((len(listed), count))
    for row, chosen in enumerate(listed):
        belongs[row, list(chosen)] = 1.0
    voted: dict[AnyRule, list[npt.NDArray[np.int8]]] = {rule: [] for rule in PAPER_RULES}
    for start in range(0, len(listed), _SUBSETS_AT_A_TIME):
        some = belongs[start : start + _SUBSETS_AT_A_TIME]
        hard = (some @ votes.reshape(count, -1)).reshape(-1, knees, grades)
        soft = (some @ stacked.reshape(count, -1)).reshape(-1, knees, grades).argmax(axis=2)
        first = hard.argmax(axis=2)
        tied = (hard == hard.max(axis=2, keepdims=True)).sum(axis=2) > 1
        voted["hard"].append(first.astype(np.int8))
        voted["soft"].append(soft.astype(np.int8))
        voted["mix"].append(np.where(tied, soft, first).astype(np.int8))
    return {rule: np.concatenate(parts) for rule, parts in voted.items()}


def _confusions(
    grades: npt.NDArray[np.integer], truth: npt.NDArray[np.integer], group: IntArray
) -> Distributions:
    """``(G, C, 5, 5)`` confusion matrices of ``(C, N)`` grades."""
    groups = int(group.max()) + 1
    place = group * 25 + np.asarray(truth, dtype=np.int64) * 5
    counted = [np.bincount(place + row, minlength=groups * 25) for row in grades]
    shaped = np.array(counted, dtype=np.float64).reshape(len(grades), groups, 5, 5)
    return np.moveaxis(shaped, 1, 0)


def _cross_fitted(
    rule: AnyRule, members: FloatArray, truth: npt.NDArray[np.integer], group: IntArray
) -> tuple[npt.NDArray[np.int8], Distributions, Distributions]:
    """Grades and confusions of a rule with weights, as `SubsetComparison` holds them, for C = 1."""
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

    everyone = np.ones(len(truth), dtype=np.bool_)
    all_of_them = graded(everyone)[None]
    without = np.zeros((groups, 1, 5, 5))
    for held in range(groups):
        kept = group != held
        if kept.any():
            counted = _confusions(graded(kept)[None][:, kept], truth[kept], group[kept])
            without[held] = counted.sum(axis=0)
    return all_of_them, _confusions(all_of_them, truth, group).sum(axis=0), without


def _vote_by_weight(
    rule: AnyRule, learnt: FloatArray, grades: npt.NDArray[np.integer], judged: FloatArray
) -> npt.NDArray[np.int8]:
    if rule == "weighted":
        voted = soft_vote(judged, fit_weights(learnt, grades))
    else:
        voted = stacked_vote(judged, *fit_stack(learnt, grades))
    return np.asarray(voted.argmax(axis=1), dtype=np.int8)
