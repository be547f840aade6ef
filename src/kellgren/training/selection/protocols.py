"""The paper's way of choosing and an honest one, on the same knees that no network learnt from.

The authors took the network of each backbone (its fold and epoch), the subset and the rule that
scored best on the test knees themselves. The honest way picks the network by the knees that its
own fold held out, subset and rule by all out-of-fold predictions, and opens the test knees last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Distributions, FloatArray
from kellgren.grading.voting import hard_vote, logs, mix_vote, soft_vote, softmax
from kellgren.training.selection.subsets import (
    MEASURES,
    PAPER_RULES,
    AnyRule,
    Candidate,
    Measure,
    SubsetComparison,
    compare_subsets,
    counted,
)
from kellgren.training.selection.votes import grades_of_subset

_VOTES = {"hard": hard_vote, "soft": soft_vote, "mix": mix_vote}


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """One trained network of a backbone.

    Attributes:
        fold: that it held out.
        epoch: whose weights it has, counted from 1; ``None``: those that its run ended in.
        test: ``(T, 5)`` distributions on knees that no network learnt from.
        held_out: ``(5, 5)`` its confusion matrix on the knees that its fold held out.
    """

    fold: int
    epoch: int | None
    test: FloatArray
    held_out: Distributions

    @property
    def words(self) -> str:
        """Fold, and epoch where it is another than the run's own choice."""
        return f"fold {self.fold}" + ("" if self.epoch is None else f", epoch {self.epoch}")


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """One network of each backbone, and which of them vote by which rule.

    Attributes:
        picked: B networks; ``None``: all folds of the backbone, their mean logits.
        members: ``(B, T, 5)`` their distributions.
        candidate: the chosen subset and rule.
    """

    picked: tuple[Network | None, ...]
    members: FloatArray
    candidate: Candidate

    @property
    def grades(self) -> npt.NDArray[np.int8]:
        """``(T,)`` of the vote."""
        return self.grades_by(self.candidate)

    def grades_by(self, candidate: Candidate) -> npt.NDArray[np.int8]:
        """``(T,)`` of the same networks, voting as another candidate does."""
        rule = next(rule for rule in PAPER_RULES if rule == candidate.rule)
        return grades_of_subset(self.members, candidate.members, rule)


@dataclass(frozen=True, slots=True, eq=False)
class Protocols:
    """Both ways of choosing.

    Attributes:
        paper: chosen on the test knees.
        honest: picked by each fold's own knees, chosen out of fold.
        all_folds: the same subset and rule, each backbone being the mean of its folds.
        on_test: all candidates of the paper's networks on the test knees.
        out_of_fold: all candidates on the out-of-fold predictions.
    """

    paper: Vote
    honest: Vote
    all_folds: Vote
    on_test: SubsetComparison
    out_of_fold: SubsetComparison

    def votes_of(self, measure: Measure, rules: Sequence[AnyRule]) -> tuple[Candidate, Candidate]:
        """What the paper's way and the honest one choose among some of the rules."""
        theirs = self.on_test.candidates[self.on_test.best(measure, rules=rules)]
        honest = self.out_of_fold.candidates[self.out_of_fold.best(measure, rules=rules)]
        return theirs, honest


def distribution_of(members: FloatArray, candidate: Candidate) -> Distributions:
    """``(T, 5)`` the vote's own distribution: shares of votes, of probability, or either."""
    return _VOTES[candidate.rule](np.asarray(members)[list(candidate.members)])


def both_protocols(
    out_of_fold: FloatArray,
    truth: npt.NDArray[np.integer],
    networks: Sequence[Sequence[Network]],
    test_truth: npt.NDArray[np.integer],
    measure: Measure,
) -> Protocols:
    """Choose in both ways.

    Args:
        out_of_fold: ``(B, N, 5)``.
        truth: ``(N,)`` grades of these knees.
        networks: of each backbone.
        test_truth: ``(T,)`` grades of the test knees.
        measure: to choose by.

    Raises:
        InvalidOption: too many backbones.
    """
    theirs = [best_network(of_it, _scored_on(of_it, test_truth), measure) for of_it in networks]
    honest = [best_network(of_it, [it.held_out for it in of_it], measure) for of_it in networks]
    on_test = paper_candidates(np.stack([it.test for it in theirs]), test_truth)
    compared = paper_candidates(out_of_fold, truth)
    chosen = compared.candidates[compared.best(measure)]
    meant = [
        softmax(logs([it.test for it in of_it if it.epoch is None]).mean(axis=0))
        for of_it in networks
    ]
    return Protocols(
        paper=Vote(tuple(theirs), on_test.members, on_test.candidates[on_test.best(measure)]),
        honest=Vote(tuple(honest), np.stack([it.test for it in honest]), chosen),
        all_folds=Vote((None,) * len(networks), np.stack(meant), chosen),
        on_test=on_test,
        out_of_fold=compared,
    )


def paper_candidates(
    members: FloatArray,
    truth: npt.NDArray[np.integer],
    group: npt.NDArray[np.int64] | None = None,
) -> SubsetComparison:
    """All subsets of two members and more under the paper's rules; a single member stands alone.

    Args:
        members: ``(B, N, 5)``.
        truth: ``(N,)``.
        group: ``(N,)`` for nested estimates; ``None``: there are none.
    """
    alone = np.zeros(len(truth), dtype=np.int64)
    smallest = min(2, len(members))
    return compare_subsets(members, truth, alone if group is None else group, PAPER_RULES, smallest)


def _scored_on(networks: Sequence[Network], truth: npt.NDArray[np.integer]) -> list[Distributions]:
    return [counted(network.test.argmax(axis=1), truth) for network in networks]


def best_network(
    networks: Sequence[Network], matrices: Sequence[Distributions], measure: Measure
) -> Network:
    """The network with the best score; the first of equals."""
    scores = MEASURES[measure](np.stack(matrices))
    return networks[int(np.nan_to_num(scores, nan=-np.inf).argmax())]
