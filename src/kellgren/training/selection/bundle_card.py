"""A bundle's card, from what its runs and the files of their data say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kellgren.arrays import FloatArray
from kellgren.evaluation import score
from kellgren.grades import Grade
from kellgren.grading.card import FORMAT, Card, MemberCard, TrainingData
from kellgren.grading.naming import HeldOut, certainty_shares
from kellgren.grading.preprocess import Preprocess
from kellgren.training.run_folder import HEAD, MODEL
from kellgren.training.selection.cards.data_facts import intended_use, scale_of
from kellgren.training.selection.cards.fitted_card import with_sets
from kellgren.training.selection.cards.measured_detail import measured_range
from kellgren.training.selection.nested import Estimated
from kellgren.training.selection.out_of_fold import OutOfFold, Run
from kellgren.training.selection.subsets import Measure


def make_card(
    name: str,
    runs: Sequence[Run],
    chosen: Sequence[Run],
    learnt: TrainingData,
    predictions: OutOfFold,
    estimated: Estimated,
    measure: Measure,
) -> Card:
    """All that is known of the bundle; checksums and seal come when it is written.

    Args:
        name: of the bundle.
        runs: whose predictions the combiner was chosen on.
        chosen: whose members go in.
        learnt: what these learnt from.
        predictions: the runs' predictions.
        estimated: from them.
        measure: that decided.
    """
    held_out = sorted({run.fold for run in runs if run.fold is not None})
    card = Card(
        format=FORMAT,
        name=name,
        version=chosen[0].facts["versions"]["kellgren"],
        grades=tuple(grade.label for grade in Grade),
        scale=scale_of(learnt),
        members=tuple(_member(run) for run in chosen),
        combiner=estimated.combiner,
        data=learnt,
        out_of_fold={"held_out_folds": held_out},
        versions=chosen[0].facts["versions"],
        files={},
        intended_use=intended_use(learnt),
    )
    return with_estimates(card, predictions, estimated, measure)


def with_estimates(
    card: Card, predictions: OutOfFold, estimated: Estimated, measure: Measure
) -> Card:
    """The card with what was chosen and fitted out of fold: vote, other knee, scores and sets.

    Args:
        card: of the same backbones.
        predictions: of them.
        estimated: from them.
        measure: by which the other knee earns its place.
    """
    gain = {key: value.to_dict() for key, value in estimated.gain.items()}
    helps = estimated.other_knee_helps(measure)
    paired = {**scores_of(predictions, estimated.paired), "gain": gain, "decided_by": measure}
    single = scores_of(predictions, estimated.single)
    held_out = card.out_of_fold["held_out_folds"]
    card = card.model_copy(
        update={
            "combiner": estimated.combiner,
            "both_knees": estimated.both_knees if helps else None,
            "out_of_fold": {"held_out_folds": held_out, **single},
            "out_of_fold_paired": None if estimated.both_knees is None else paired,
        }
    )
    votes = np.stack([predictions.members[at] for at in _positions(predictions, card)])
    told = (predictions.truth, predictions.patients, votes)
    alone = HeldOut.of(estimated.single, *told)
    paired_knees = HeldOut.of(estimated.paired, *told) if helps else None
    detail = measured_range([knee.image for knee in predictions.knees])
    return with_sets(card, alone, paired_knees, detail=detail)


def _positions(predictions: OutOfFold, card: Card) -> list[int]:
    """Where the backbones that vote stand among the predicted ones."""
    return [predictions.backbones.index(name) for name in card.combiner.members]


def scores_of(predictions: OutOfFold, probabilities: FloatArray) -> dict[str, Any]:
    """Scores of calibrated distributions, with intervals, and of each word for certainty."""
    graded = probabilities.argmax(axis=1)
    scores = score(predictions.truth, graded, probabilities, predictions.patients)
    knees = HeldOut.of(probabilities, predictions.truth, predictions.patients)
    return {**scores.to_dict(), **certainty_shares(knees)}


def member_name(run: Run) -> str:
    """Of its network in a bundle: backbone, and the fold held out or ``final``."""
    return f"{run.backbone}-final" if run.fold is None else f"{run.backbone}-f{run.fold}"


def file_name(run: Run, part: str) -> str:
    """In a bundle, of a file in a run's folder."""
    return part.replace("member", member_name(run), 1)


def _member(run: Run) -> MemberCard:
    facts = run.facts
    return MemberCard(
        name=member_name(run),
        backbone=run.backbone,
        architecture=facts["architecture"],
        model=file_name(run, MODEL),
        head=file_name(run, HEAD),
        preprocess=Preprocess.model_validate(facts["preprocess"]),
        recipe=facts["recipe"],
        recipe_hash=facts["recipe_hash"],
        started_from=facts["started_from"],
        trained_folds=tuple(f for f in range(facts["folds"]) if f != run.fold),
        knees=facts["knees"],
        patients=facts["patients"],
    )
