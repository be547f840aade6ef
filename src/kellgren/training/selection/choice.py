"""What `train choose` finds: the table of candidates, the choice, and what it is worth."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.evaluation import Scores, score
from kellgren.training.selection.assemble import estimate_of
from kellgren.training.selection.nested import Estimated
from kellgren.training.selection.out_of_fold import OutOfFold, Run, predicted
from kellgren.training.selection.subsets import (
    ALL_RULES,
    MEASURES,
    Candidate,
    Measure,
    Protocol,
    SubsetComparison,
    both_protocols,
    compare_subsets,
    deal,
)


@dataclass(frozen=True, eq=False)
class Choice:
    """A campaign's candidates and the choice among them.

    Attributes:
        predictions: the backbones' out-of-fold predictions.
        compared: every subset under every rule.
        measure: that chooses.
        best: position of the chosen candidate.
        nested: scores of choosing, each knee graded by what was chosen without its patient.
        estimated: the combiner that a bundle would get, with and without the other knee.
        single: nested scores of that, each knee alone.
        paired: with the other knee.
    """

    predictions: OutOfFold
    compared: SubsetComparison
    measure: Measure
    best: int
    nested: Scores
    estimated: Estimated
    single: Scores
    paired: Scores

    @property
    def naive(self) -> float:
        """The chosen candidate's score on the knees that it was chosen on."""
        return float(MEASURES[self.measure](self.compared.whole[self.best]))

    @property
    def optimism(self) -> float:
        """By how much that flatters: the naive score less the nested one."""
        return self.naive - float(getattr(self.nested, self.measure).value)

    def rows(self) -> list[dict[str, Any]]:
        """One for each candidate, the best first: rule, members, and its score by each measure."""
        scores = {name: scored(self.compared.whole) for name, scored in MEASURES.items()}
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
        estimated=estimated,
        single=scores_of(estimated.single),
        paired=scores_of(estimated.paired),
    )


@dataclass(frozen=True, eq=False)
class Protocols:
    """The paper's way of choosing and the honest one, on the same test knees."""

    paper: Protocol
    honest: Protocol
    measure: Measure
    knees: int

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "knees": self.knees,
            "measure": self.measure,
            "chosen_on_the_test_knees": self.paper.score,
            "chosen_out_of_fold": self.honest.score,
            "optimism": self.paper.score - self.honest.score,
        }


def compare_protocols(
    choice: Choice, runs: Sequence[Run], table: str, knees: Sequence[Knee]
) -> Protocols:
    """Score both ways of choosing on knees that no fold held.

    Args:
        choice: with the out-of-fold predictions.
        runs: that they come from.
        table: name of a file in each run's folder: its predictions of the test knees.
        knees: graded test knees.

    Raises:
        InvalidPredictions: a table is missing or fits no label.
        TrainingError: the tables have no knee in common, or learnt knees are among them.
    """
    learnt = {knee.patient for knee in choice.predictions.knees}
    if any(knee.patient in learnt for knee in knees):
        raise TrainingError(
            table,
            "holds knees of patients that the folds hold",
            "Name knees that no run learnt from",
        )
    graded = [knee for knee in knees if knee.grade is not None]
    predictions = {run: predicted(run.folder / table, graded) for run in runs}
    shared = [k for k in graded if all(str(k.image) in of_it for of_it in predictions.values())]
    if not shared:
        raise TrainingError(table, "has no knee that all runs predicted", "Grade the same knees")
    tests = [
        np.array(
            [
                [predictions[run][str(k.image)] for k in shared]
                for run in runs
                if run.backbone == name
            ]
        )
        for name in choice.predictions.backbones
    ]
    truth = np.array([int(knee.grade or 0) for knee in shared], dtype=np.int64)
    paper, honest = both_protocols(
        choice.predictions.members, choice.predictions.truth, tests, truth, choice.measure
    )
    return Protocols(paper, honest, choice.measure, len(shared))


def write_candidates(choice: Choice, path: Path) -> None:
    """Write the table of candidates as CSV."""
    with written_whole(path) as stream:
        writer = csv.DictWriter(stream, ("rule", "members", *MEASURES), lineterminator="\n")
        writer.writeheader()
        writer.writerows(choice.rows())


def write_choice(choice: Choice, protocols: Protocols | None, path: Path) -> None:
    """Write all of it as JSON."""
    content = choice.to_dict() | ({"protocols": protocols.to_dict()} if protocols else {})
    with written_whole(path) as stream:
        stream.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
