"""How much it matters that the fold which scores a run also chose its epoch.

A run that stops early keeps the epoch with the lowest loss. Where that loss is the held-out fold's,
the epoch suits this fold, and the fold's score is too good. Here the score of the epoch that the
fold chooses is compared, knee by knee, with the score of epochs that were chosen without the knee:

- cross-fitted: the fold's patients are dealt into ten parts, and each part is scored at the epoch
  with the lowest loss on the other nine;
- inner: at the epoch with the lowest loss on knees outside the fold (``stop_on = "inner"``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kellgren.arrays import FloatArray, GradeArray, IntArray
from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.evaluation import Comparison, Grades, compare
from kellgren.grades import GRADE_COUNT
from kellgren.training.input.loading import target_table
from kellgren.training.kept_epochs import KeptEpoch, kept_epochs
from kellgren.training.recipe import Recipe
from kellgren.training.selection.out_of_fold import Run, predicted
from kellgren.training.selection.subsets import deal

PARTS = 10
_LEAST = 1e-9  # of a probability whose logarithm is taken: tables round to six digits


@dataclass(frozen=True, slots=True, eq=False)
class KeptFold:
    """What the E kept epochs of a run predict of the N knees that it held out.

    Attributes:
        fold: number.
        numbers: ``(E,)`` of the epochs, counted from 1.
        probabilities: ``(E, N, 5)``.
        losses: ``(E, N)``, against the recipe's targets.
        inner: ``(E,)`` losses of the inner part; ``None``: the run has none.
        truth: ``(N,)`` grades.
        patients: of the knees.
    """

    fold: int
    numbers: tuple[int, ...]
    probabilities: FloatArray
    losses: FloatArray
    inner: FloatArray | None
    truth: GradeArray
    patients: tuple[str, ...]

    @property
    def by_itself(self) -> int:
        """Position of the epoch that the fold's own loss chooses."""
        return int(self.losses.mean(axis=1).argmin())

    @property
    def by_inner_part(self) -> int | None:
        """Position of the epoch that the inner part's loss chooses."""
        return None if self.inner is None else int(self.inner.argmin())

    @property
    def cross_fitted(self) -> IntArray:
        """``(N,)`` position of the epoch that the other parts of the fold choose for each knee."""
        part = deal(self.patients, PARTS)
        chosen = np.empty(len(self.truth), dtype=np.int64)
        for number in np.unique(part):
            chosen[part == number] = self.losses[:, part != number].mean(axis=1).argmin()
        return chosen


@dataclass(frozen=True, slots=True)
class EpochChoice:
    """A member's folds, each scored at the epoch that it chose itself and at others' choices.

    Attributes:
        backbone: member and size.
        epochs: by fold, the number chosen by itself, how many knees each number was chosen for
            without them, and the number chosen by the inner part.
        cross_fitted: chosen by itself (this) against chosen by the rest of the fold (other), all
            folds' knees together; intervals over patients, given the epochs.
        inner: the same against the inner part's choice; ``None`` where a run has none.
    """

    backbone: str
    epochs: dict[int, tuple[int, dict[int, int], int | None]]
    cross_fitted: Comparison
    inner: Comparison | None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "member": self.backbone,
            "folds": [
                {"fold": fold, "by_itself": itself, "cross_fitted": others, "inner": inner}
                for fold, (itself, others, inner) in self.epochs.items()
            ],
            "cross_fitted": self.cross_fitted.to_dict(),
            "inner": None if self.inner is None else self.inner.to_dict(),
        }


def compare_choices(runs: Sequence[Run], knees: Sequence[Knee]) -> list[EpochChoice]:
    """Compare, for each member whose runs kept epochs, who chooses the epoch.

    Args:
        runs: finished, each of which held a fold out, from `find_runs`.
        knees: graded, among them all that the runs held out.

    Raises:
        TrainingError: no run kept epochs, or a file of one is damaged.
        InvalidPredictions: a table fits no label.
    """
    by_backbone: dict[str, list[KeptFold]] = {}
    for run in runs:
        kept = kept_epochs(run.folder)
        if kept:
            by_backbone.setdefault(run.backbone, []).append(_read(run, kept, knees))
    if not by_backbone:
        raise TrainingError(
            runs[0].folder, "kept no epochs", "Set keep_epochs in the schedule of its recipe"
        )
    return [_compared(backbone, folds) for backbone, folds in by_backbone.items()]


def write_choices(choices: Sequence[EpochChoice], path: Path) -> None:
    """Write the comparisons as JSON."""
    with written_whole(path) as stream:
        json.dump({"members": [it.to_dict() for it in choices]}, stream, indent=2)


def _read(run: Run, kept: Sequence[KeptEpoch], knees: Sequence[Knee]) -> KeptFold:
    by_image = {str(knee.image): knee for knee in knees}
    tables = [predicted(epoch.predictions, knees) for epoch in kept]
    held_out = [by_image[image] for image in tables[0]]
    probabilities = np.array([[table[image] for image in tables[0]] for table in tables])
    truth = np.array([int(knee.grade or 0) for knee in held_out], dtype=np.int64)
    recipe = Recipe.model_validate(run.facts["recipe"])
    targets = target_table(recipe.targets, GRADE_COUNT)[truth]
    inner = [epoch.record["inner_loss"] for epoch in kept if "inner_loss" in epoch.record]
    return KeptFold(
        fold=run.fold or 0,
        numbers=tuple(epoch.number for epoch in kept),
        probabilities=probabilities,
        losses=-(targets * np.log(np.maximum(probabilities, _LEAST))).sum(axis=2),
        inner=np.array(inner) if len(inner) == len(kept) else None,
        truth=truth,
        patients=tuple(knee.patient for knee in held_out),
    )


def _compared(backbone: str, folds: Sequence[KeptFold]) -> EpochChoice:
    itself = [it.probabilities[it.by_itself] for it in folds]
    crossed = [it.probabilities[it.cross_fitted, np.arange(len(it.truth))] for it in folds]
    inner = [it.probabilities[it.by_inner_part] for it in folds if it.by_inner_part is not None]
    return EpochChoice(
        backbone,
        {it.fold: _numbers(it) for it in folds},
        _paired(folds, itself, crossed),
        _paired(folds, itself, inner) if len(inner) == len(folds) else None,
    )


def _numbers(it: KeptFold) -> tuple[int, dict[int, int], int | None]:
    others = Counter(it.numbers[position] for position in it.cross_fitted.tolist())
    inner = None if it.by_inner_part is None else it.numbers[it.by_inner_part]
    return it.numbers[it.by_itself], dict(sorted(others.items())), inner


def _paired(
    folds: Sequence[KeptFold], this: Sequence[FloatArray], other: Sequence[FloatArray]
) -> Comparison:
    mine, theirs = np.concatenate(this), np.concatenate(other)
    return compare(
        np.concatenate([it.truth for it in folds]),
        Grades(mine.argmax(axis=1), mine),
        Grades(theirs.argmax(axis=1), theirs),
        [patient for it in folds for patient in it.patients],
    )
