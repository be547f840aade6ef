"""A bundle that is there gets scores, grade sets and rule of naming anew; its networks stay."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kellgren.arrays import Distributions, GradeArray
from kellgren.data.matching import Labels, match
from kellgren.data.predictions import read_predictions
from kellgren.errors import BundleError, InvalidPredictions
from kellgren.evaluation import Grades, MatchedKnees, compare, score
from kellgren.grading.bundle import Bundle, write_bundle
from kellgren.grading.card import Card
from kellgren.grading.naming import HeldOut, certainty_shares
from kellgren.training.selection.cards.fitted_card import with_sets
from kellgren.training.selection.cards.measured_detail import measured_range

PREDICTIONS, PAIRED = "out_of_fold.csv", "out_of_fold_paired.csv"
"""Tables in a bundle: its knees out of fold, read alone and with the contralateral knee."""


def refitted(bundle: Bundle, labels: Labels, members: Path | None, folder: Path) -> Bundle:
    """Write a bundle anew: scores, sets and rule from its own tables of knees out of fold.

    The range of fine detail is that of the knees' pictures where they are there, else as it was.

    Networks and tables are copied to the byte; only the card differs.

    Args:
        bundle: with ``out_of_fold.csv``.
        labels: of those knees.
        members: folder with a table ``BACKBONE.csv.gz`` or ``BACKBONE.csv`` of each backbone, as
            ``train publish`` leaves them; ``None``: the members' disagreement sets no limit.
        folder: new or empty.

    Raises:
        BundleError: the bundle has no such table, or is calibrated to local readers, or the folder
            holds something already.
        InvalidPredictions: a table does not fit the labels, or lacks knees of the others.
    """
    card = bundle.card
    if card.local_calibration is not None:
        raise BundleError(
            bundle.folder,
            f"is calibrated to local readers ({card.local_calibration.words}), as its sets are",
            "Name the bundle that it was made from, and calibrate the result again",
        )
    alone = held_out(bundle, labels, members)
    paired = None if card.both_knees is None else held_out(bundle, labels, members, PAIRED)
    with TemporaryDirectory() as temporary:
        files = {}
        for name in card.files:
            files[name] = Path(temporary) / name
            shutil.copyfile(bundle.path(name), files[name])
        scored = with_scores(bundle, labels)
        images = _matched(bundle, PREDICTIONS, labels).images
        detail = measured_range([Path(image) for image in images]) or card.detail
        return write_bundle(with_sets(scored, alone, paired, detail=detail), files, folder)


def with_scores(bundle: Bundle, labels: Labels) -> Card:
    """The bundle's card with the scores of its tables, their intervals as they are made now.

    Args:
        bundle: with ``out_of_fold.csv``; without the paired table, its scores stay.
        labels: of the knees.

    Raises:
        BundleError: the bundle lacks a table.
        InvalidPredictions: a table does not fit the labels, or both tell of different knees.
    """
    card = bundle.card
    single = _matched(bundle, PREDICTIONS, labels)
    scores = {"out_of_fold": {**card.out_of_fold, **_scores(single)}}
    if card.out_of_fold_paired is not None and PAIRED in card.files:
        both = _matched(bundle, PAIRED, labels)
        if not np.array_equal(single.labels, both.labels):
            raise InvalidPredictions(
                PAIRED, f"tells of other knees than {PREDICTIONS}", "Build the bundle anew."
            )
        this, other = (Grades(_graded(knees)) for knees in (both, single))
        compared = compare(both.truth, this, other, both.patients, permutations=1).metrics
        told = card.out_of_fold_paired["gain"]
        gained = {key: compared[key].difference.to_dict() for key in told if key in compared}
        scores["out_of_fold_paired"] = {
            **card.out_of_fold_paired,
            **_scores(both),
            "gain": {**told, **gained},
        }
    return card.model_copy(update=scores)


def _scores(knees: MatchedKnees) -> dict[str, object]:
    shares = _probabilities(knees)
    held = HeldOut.of(shares, knees.truth, knees.patients)
    scored = score(knees.truth, _graded(knees), shares, knees.patients)
    return {**scored.to_dict(), **certainty_shares(held)}


def _graded(knees: MatchedKnees) -> GradeArray:
    """The most probable grades, whether they are named or not."""
    return np.asarray(_probabilities(knees).argmax(axis=1), np.int64)


def held_out(
    bundle: Bundle, labels: Labels, members: Path | None, table: str = PREDICTIONS
) -> HeldOut:
    """The knees of a bundle's table out of fold, and how far its members disagree.

    Args:
        bundle: with such a table.
        labels: of the knees.
        members: as of `refitted`.
        table: its name in the bundle.

    Raises:
        BundleError: the bundle has no such table.
        InvalidPredictions: a table does not fit the labels, or lacks knees of the others.
    """
    knees = _matched(bundle, table, labels)
    votes = None if members is None else _votes(bundle, labels, members)
    return HeldOut.of(_probabilities(knees), knees.truth, knees.patients, votes)


def _matched(bundle: Bundle, table: str, labels: Labels) -> MatchedKnees:
    if table not in bundle.card.files:
        raise BundleError(
            bundle.folder,
            f"has no {table}, on which its sets could be fitted",
            "Build it anew from its runs with kellgren bundle build",
        )
    knees = match(read_predictions(bundle.path(table)), labels)
    if knees.probabilities is None:
        raise InvalidPredictions(table, "has no probabilities", "Write it anew with kellgren.")
    return knees


def _probabilities(knees: MatchedKnees) -> Distributions:
    return _normal(np.asarray(knees.probabilities))


def _votes(bundle: Bundle, labels: Labels, folder: Path) -> Distributions:
    """``(M, N, 5)`` what each backbone says of the knees of the bundle's table."""
    wanted = _matched(bundle, PREDICTIONS, labels).labels
    votes = []
    for backbone in bundle.card.combiner.members:
        names = (f"{backbone}.csv.gz", f"{backbone}.csv")
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            raise InvalidPredictions(
                folder, f"has no table {names[0]}", "Name the folder that train publish wrote."
            )
        matched = match(read_predictions(path), labels).among(wanted)
        if matched.probabilities is None or len(matched.labels) != len(wanted):
            raise InvalidPredictions(
                path,
                f"tells {len(matched.labels)} of the bundle's {len(wanted)} knees out of fold",
                "Name the tables of the runs that the bundle was built from.",
            )
        votes.append(_normal(matched.probabilities))
    return np.stack(votes)


def _normal(probabilities: Distributions) -> Distributions:
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True), np.float64)
