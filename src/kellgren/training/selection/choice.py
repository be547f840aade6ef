"""What `train choose` finds: the table of candidates, the choice, and what it is worth."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kellgren.atomic_files import written_whole
from kellgren.evaluation import Estimate, Scores, score
from kellgren.training.selection.assemble import estimate_of
from kellgren.training.selection.nested import Estimated
from kellgren.training.selection.out_of_fold import OutOfFold
from kellgren.training.selection.protocols import both_protocols
from kellgren.training.selection.same_knees import SameKnees
from kellgren.training.selection.subsets import (
    ALL_RULES,
    MEASURES,
    Candidate,
    Measure,
    SubsetComparison,
    compare_subsets,
    counted,
    deal,
)
from kellgren.training.selection.unseen import Unseen


@dataclass(frozen=True, eq=False)
class Choice:
    """A campaign's candidates and the choice among them.

    Attributes:
        predictions: the backbones' out-of-fold predictions.
        compared: every subset under every rule.
        measure: that chooses.
        best: position of the chosen candidate.
        nested: scores of choosing, each knee graded by what was chosen without its patient.
        chosen: the same by the measure that chooses.
        estimated: the combiner that a bundle would get, with and without the other knee.
        single: nested scores of that, each knee alone.
        paired: with the other knee.
    """

    predictions: OutOfFold
    compared: SubsetComparison
    measure: Measure
    best: int
    nested: Scores
    chosen: Estimate
    estimated: Estimated
    single: Scores
    paired: Scores

    @property
    def naive(self) -> float:
        """The chosen candidate's score on the knees that it was chosen on."""
        return float(self.compared.scores(self.measure)[self.best])

    @property
    def optimism(self) -> float:
        """By how much that flatters: the naive score less the nested one."""
        return self.naive - self.chosen.value

    def rows(self) -> list[dict[str, Any]]:
        """One for each candidate, the best first: rule, members, and its score by each measure."""
        scores = {name: self.compared.scores(name) for name in MEASURES}
        order = np.argsort(-np.nan_to_num(scores[self.measure]), kind="stable")
        return [
            {
                "rule": self.rule(self.compared.candidates[at]),
                "members": self.named(self.compared.candidates[at]),
                **{name: round(float(values[at]), 6) for name, values in scores.items()},
            }
            for at in order
        ]

    def rule(self, candidate: Candidate) -> str:
        """Its rule; a single member has no vote to hold."""
        return candidate.rule if len(candidate.members) > 1 else "alone"

    def named(self, candidate: Candidate) -> str:
        """Its members' names."""
        return " + ".join(self.predictions.backbones[member] for member in candidate.members)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        chosen = self.compared.candidates[self.best]
        return {
            "knees": len(self.predictions.knees),
            "left_out": self.predictions.left_out,
            "measure": self.measure,
            "chosen": {"rule": self.rule(chosen), "members": self.named(chosen)},
            "naive": self.naive,
            "nested": self.nested.to_dict(),
            "nested_by_measure": self.chosen.to_dict(),
            "optimism": self.optimism,
            "bundle": {
                "combiner": self.estimated.combiner.model_dump(),
                "single": self.single.to_dict(),
                "paired": self.paired.to_dict(),
                "gain": {key: value.to_dict() for key, value in self.estimated.gain.items()},
                "paired_by_default": self.estimated.other_knee_helps(self.measure),
            },
            "candidates": self.rows(),
        }


def choose(predictions: OutOfFold, measure: Measure = "qwk") -> Choice:
    """Compare all candidates out of fold, choose, and estimate the choice.

    Args:
        predictions: the backbones' predictions.
        measure: to choose by.
    """
    group = deal(predictions.patients)
    compared = compare_subsets(predictions.members, predictions.truth, group, ALL_RULES)
    nested = compared.nested(group, measure).astype(np.int64)
    estimated = estimate_of(predictions, measure)

    def scores_of(probabilities: Any) -> Scores:
        return score(
            predictions.truth, probabilities.argmax(axis=1), probabilities, predictions.patients
        )

    return Choice(
        predictions=predictions,
        compared=compared,
        measure=measure,
        best=compared.best(measure),
        nested=score(predictions.truth, nested, None, predictions.patients),
        chosen=SameKnees(predictions.truth, predictions.patients).estimate(measure, nested),
        estimated=estimated,
        single=scores_of(estimated.single),
        paired=scores_of(estimated.paired),
    )


@dataclass(frozen=True, eq=False)
class ScoredProtocols:
    """The paper's way of choosing and the honest one, scored on the same test knees.

    Attributes:
        paper: score of what was chosen on the test knees.
        honest: score of what was chosen out of fold, one network of each backbone like the paper.
        all_folds: score of the same vote with all folds' networks of each backbone.
        measure: of the choices and of the scores.
        unseen: the test knees, and what is not among them.
    """

    paper: float
    honest: float
    all_folds: float
    measure: Measure
    unseen: Unseen

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            **self.unseen.to_dict(),
            "measure": self.measure,
            "chosen_on_the_test_knees": self.paper,
            "chosen_out_of_fold": self.honest,
            "chosen_out_of_fold_all_folds": self.all_folds,
            "optimism": self.paper - self.honest,
        }


def compare_protocols(choice: Choice, unseen: Unseen) -> ScoredProtocols:
    """Score both ways of choosing on knees that no fold held.

    Args:
        choice: with the out-of-fold predictions.
        unseen: test knees, with the networks of the same backbones.
    """
    predictions = choice.predictions
    networks = [unseen.networks[name] for name in predictions.backbones]
    protocols = both_protocols(
        predictions.members, predictions.truth, networks, unseen.truth, choice.measure
    )
    paper, honest, all_folds = (
        float(MEASURES[choice.measure](counted(vote.grades, unseen.truth)))
        for vote in (protocols.paper, protocols.honest, protocols.all_folds)
    )
    return ScoredProtocols(paper, honest, all_folds, choice.measure, unseen)


def write_candidates(choice: Choice, path: Path) -> None:
    """Write the table of candidates as CSV."""
    with written_whole(path) as stream:
        writer = csv.DictWriter(stream, ("rule", "members", *MEASURES), lineterminator="\n")
        writer.writeheader()
        writer.writerows(choice.rows())


def write_choice(choice: Choice, tested: ScoredProtocols | None, path: Path) -> None:
    """Write all of it as JSON."""
    content = choice.to_dict() | ({"protocols": tested.to_dict()} if tested else {})
    with written_whole(path) as stream:
        stream.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
