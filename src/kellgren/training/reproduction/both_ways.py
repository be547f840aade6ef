"""Votes chosen in the paper's way and honestly: on test knees, or out of fold alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Distributions
from kellgren.evaluation import Scores, score
from kellgren.training.selection.out_of_fold import OutOfFold
from kellgren.training.selection.protocols import (
    Network,
    both_protocols,
    distribution_of,
    paper_candidates,
)
from kellgren.training.selection.same_knees import SameKnees
from kellgren.training.selection.subsets import (
    AnyRule,
    Candidate,
    Measure,
    SubsetComparison,
    deal,
)
from kellgren.training.selection.unseen import Unseen

Grades = npt.NDArray[np.int8]
Picked = Sequence[Network | None]
ANEW = "chosen anew without each patient"


@dataclass(frozen=True, eq=False)
class Pair:
    """What a kind of vote gives in both ways.

    Attributes:
        theirs: ``(N,)`` grades as the paper's way has them.
        honest: ``(N,)`` likewise.
        their_choice: who votes by which rule, in words.
        honest_choice: likewise.
        voters: names of the backbones that vote in either way; the honest ones empty where they
            are chosen anew.
        same: whether nothing was chosen, so that both are one.
    """

    theirs: Grades
    honest: Grades
    their_choice: str
    honest_choice: str
    voters: tuple[tuple[str, ...], tuple[str, ...]]
    same: bool = False


@dataclass(frozen=True, eq=False)
class ChosenVote:
    """A vote that was chosen.

    Attributes:
        members: that vote: each backbone's name, and the network of it; ``None``: each knee's is
            the one that held it out.
        rule: of the vote.
        scores: of it.
        truth: ``(N,)`` grades of the knees that it is scored on.
        grades: ``(N,)`` that it gives.
        probabilities: ``(N, 5)`` its own distribution.
    """

    members: tuple[tuple[str, Network | None], ...]
    rule: AnyRule
    scores: Scores
    truth: npt.NDArray[np.int64]
    grades: Grades
    probabilities: Distributions

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        members = [
            {"backbone": name, "fold": it and it.fold, "epoch": it and it.epoch}
            for name, it in self.members
        ]
        return {"members": members, "rule": self.rule, "scores": self.scores.to_dict()}


class OnTest:
    """Both ways on knees that no network learnt from.

    Args:
        predictions: out of fold, of the backbones that may vote.
        unseen: their networks on the test knees.
        measure: to choose by.
    """

    def __init__(self, predictions: OutOfFold, unseen: Unseen, measure: Measure) -> None:
        self.names = predictions.backbones
        self._unseen, self._measure = unseen, measure
        self.same = SameKnees(unseen.truth, unseen.patients)
        self._both = both_protocols(
            predictions.members,
            predictions.truth,
            [unseen.networks[name] for name in self.names],
            unseen.truth,
            measure,
        )
        self.subsets, self.out_of_fold = self._both.on_test, self._both.out_of_fold
        self.picked: Picked = self._both.honest.picked

    def whole(self, rule: AnyRule) -> Pair:
        """All backbones under a rule; the ways differ in the networks that they pick."""
        everyone = Candidate(rule, tuple(range(len(self.names))))
        return self._pair(everyone, everyone)

    def best(self, rules: Sequence[AnyRule]) -> Pair:
        """The best subset under any of the rules."""
        return self._pair(*self._both.votes_of(self._measure, rules))

    def all_folds(self) -> tuple[Grades, str]:
        """Grades of the honest vote with the mean of each backbone's folds, and who votes."""
        vote = self._both.all_folds
        return vote.grades, words_of(self.names, vote.picked, vote.candidate) + ", all folds"

    def chosen(self) -> tuple[ChosenVote, ChosenVote]:
        """The vote that the paper's way chooses, and the honest one."""
        one, two = (
            ChosenVote(
                tuple((self.names[at], vote.picked[at]) for at in vote.candidate.members),
                vote.candidate.rule,
                score(self._unseen.truth, vote.grades, distribution, self._unseen.patients),
                *(self._unseen.truth, vote.grades, distribution),
            )
            for vote in (self._both.paper, self._both.honest)
            for distribution in [distribution_of(vote.members, vote.candidate)]
        )
        return one, two

    def _pair(self, theirs: Candidate, honest: Candidate) -> Pair:
        paper = self._both.paper
        return Pair(
            paper.grades_by(theirs),
            self._both.honest.grades_by(honest),
            words_of(self.names, paper.picked, theirs),
            words_of(self.names, self._both.honest.picked, honest),
            (_named(self.names, theirs), _named(self.names, honest)),
        )


class OutOfFoldAlone:
    """Both ways on the knees that the folds held out: the honest one is nested.

    No two folds of a backbone predicted the same knee, so that no fold can be picked for a vote:
    each knee is graded by the networks that held it out.

    Args:
        predictions: of the backbones that may vote.
        measure: to choose by.
    """

    def __init__(self, predictions: OutOfFold, measure: Measure) -> None:
        self.names = predictions.backbones
        self._predictions, self._measure = predictions, measure
        self._group = deal(predictions.patients)
        self.same = SameKnees(predictions.truth, predictions.patients)
        self.subsets: SubsetComparison = paper_candidates(
            predictions.members, predictions.truth, self._group
        )
        self.out_of_fold = self.subsets
        self.picked: Picked = (None,) * len(self.names)

    def whole(self, rule: AnyRule) -> Pair:
        """All backbones under a rule: nothing is chosen."""
        everyone = Candidate(rule, tuple(range(len(self.names))))
        grades = self.subsets.grades_of(self.subsets.candidates.index(everyone))
        words = words_of(self.names, self.picked, everyone)
        voters = _named(self.names, everyone)
        return Pair(grades, grades, words, words, (voters, voters), same=True)

    def best(self, rules: Sequence[AnyRule]) -> Pair:
        """The best subset under any of the rules, and the nested estimate of choosing it."""
        at = self.subsets.best(self._measure, rules=rules)
        return Pair(
            self.subsets.grades_of(at),
            self.subsets.nested(self._group, self._measure, rules),
            words_of(self.names, self.picked, self.subsets.candidates[at]),
            ANEW,
            (_named(self.names, self.subsets.candidates[at]), ()),
        )

    def chosen(self) -> tuple[ChosenVote, ChosenVote]:
        """The best vote on all knees, and each knee's by what was chosen without its patient."""
        known = self._predictions
        at = self.subsets.best(self._measure)
        candidate = self.subsets.candidates[at]
        theirs = distribution_of(known.members, candidate)
        nested = np.empty_like(theirs)
        for held in np.unique(self._group):
            mine = self._group == held
            best = self.subsets.candidates[self.subsets.best(self._measure, int(held))]
            nested[mine] = distribution_of(known.members[:, mine], best)
        anew = self.subsets.nested(self._group, self._measure)
        members = tuple((self.names[member], None) for member in candidate.members)
        one, two = (
            ChosenVote(
                members,
                candidate.rule,
                score(known.truth, grades, distribution, known.patients),
                *(known.truth, grades, distribution),
            )
            for grades, distribution in ((self.subsets.grades_of(at), theirs), (anew, nested))
        )
        return one, two


def _named(names: Sequence[str], candidate: Candidate) -> tuple[str, ...]:
    return tuple(names[at] for at in candidate.members)


def words_of(names: Sequence[str], picked: Picked, candidate: Candidate) -> str:
    """Who votes by which rule: ``a-224 (fold 1) + b-224 (fold 0), mix``."""
    parts = []
    for at in candidate.members:
        network = picked[at]
        parts.append(names[at] + ("" if network is None else f" ({network.words})"))
    rule = f", {candidate.rule}" if len(candidate.members) > 1 else ", alone"
    return " + ".join(parts) + rule
