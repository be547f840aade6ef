"""A bundle that is there gets its grade sets and rule of naming anew; its networks stay."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kellgren.arrays import Distributions
from kellgren.data.matching import Labels, match
from kellgren.data.predictions import read_predictions
from kellgren.errors import BundleError, InvalidPredictions
from kellgren.evaluation import MatchedKnees
from kellgren.grading.bundle import Bundle, write_bundle
from kellgren.grading.naming import HeldOut
from kellgren.training.selection.cards.fitted_card import with_sets

PREDICTIONS, PAIRED = "out_of_fold.csv", "out_of_fold_paired.csv"
"""Tables in a bundle: its knees out of fold, read alone and with the contralateral knee."""


def refitted(bundle: Bundle, labels: Labels, members: Path | None, folder: Path) -> Bundle:
    """Write a bundle anew with sets and rule fitted on its own table of knees out of fold.

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
        return write_bundle(with_sets(card, alone, paired), files, folder)


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
    if knees.probabilities is None:
        raise InvalidPredictions(table, "has no probabilities", "Write it anew with kellgren.")
    return HeldOut.of(_normal(knees.probabilities), knees.truth, knees.patients, votes)


def _matched(bundle: Bundle, table: str, labels: Labels) -> MatchedKnees:
    if table not in bundle.card.files:
        raise BundleError(
            bundle.folder,
            f"has no {table}, on which its sets could be fitted",
            "Build it anew from its runs with kellgren bundle build",
        )
    return match(read_predictions(bundle.path(table)), labels)


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
