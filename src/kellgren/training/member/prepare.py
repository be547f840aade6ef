"""A recipe, knees and a fold become a run that can be trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds
from kellgren.training.device import choose_device
from kellgren.training.fingerprint import data_hash
from kellgren.training.member.run import MemberRun
from kellgren.training.member.teachers import find_teacher
from kellgren.training.recipe import Recipe


def prepare(
    recipe: Recipe,
    knees: Sequence[Knee],
    out: Path,
    *,
    folds: Folds | None,
    fold: int | None,
    weights_dir: Path | None,
    start_from: Path | None = None,
) -> MemberRun:
    """Put a run together; nothing is written before its training begins.

    Args:
        recipe: how to train.
        knees: all of the data set, graded.
        out: folder of the run.
        folds: that deal the patients; ``None``: nothing is held out.
        fold: the one to hold out.
        weights_dir: with files of ImageNet weights; what is not in it is downloaded.
        start_from: another run of the same data and fold, whose weights to refine.

    Raises:
        InvalidRecipe: the architecture is not known.
        InvalidManifest: a patient has no fold, or the fold does not exist.
        TrainingError: the recipe's teacher learnt from what is held out, or is not whole.
        BundleError: the recipe's teacher is a damaged bundle.
    """
    held_out = np.zeros(len(knees), dtype=bool)
    if folds is not None and fold is not None:
        held_out = folds.held_out(knees, fold)
    return MemberRun(
        recipe=recipe,
        knees=knees,
        held_out=held_out,
        data_hash=data_hash(knees, folds, fold),
        out=out,
        weights_dir=weights_dir,
        device=choose_device(recipe.precision, recipe.network.architecture),
        start_from=start_from,
        teacher=find_teacher(recipe.teacher, knees, folds, fold) if recipe.teacher else None,
        folds=None if fold is None else folds,
    )
