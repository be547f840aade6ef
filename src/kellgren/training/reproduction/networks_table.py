"""The paper's table of single networks: mean over the folds, and the fold that scored best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Distributions, Mask
from kellgren.evaluation import Estimate
from kellgren.evaluation.confusion import ratio
from kellgren.training.selection.protocols import Network, best_network
from kellgren.training.selection.same_knees import SameKnees
from kellgren.training.selection.subsets import MEASURES, Measure, counted

SHOWN: tuple[Measure, ...] = ("accuracy", "macro_f1")
Estimates = dict[Measure, Estimate]
Draws = dict[Measure, Distributions]


@dataclass(frozen=True, eq=False)
class Graded:
    """A network, its grades of the knees that it is scored on, and its score there.

    Attributes:
        words: its fold, and epoch where that is not its run's own choice.
        fold: that it held out.
        epoch: of the weights; ``None``: the run's own choice.
        grades: ``(N,)`` that it gives.
        draws: by measure, of the knees themselves and of each resample.
        estimates: by measure.
    """

    words: str
    fold: int
    epoch: int | None
    grades: npt.NDArray[np.integer]
    draws: Draws
    estimates: Estimates

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"fold": self.fold, "epoch": self.epoch, **plain(self.estimates)}


@dataclass(frozen=True, eq=False)
class BackboneRow:
    """One backbone of the table.

    Attributes:
        backbone: its name with the size.
        size: of its input, pixels.
        networks: all of its networks.
        mean: of its runs' own networks, one a fold; nothing is chosen here.
        best: the network that scored best on the knees that it is scored on: the paper's.
        honest: the network that scored best on its own held-out knees; ``None``: any fold, for
            there are no other knees.
        mean_draws: of the mean.
        same: the knees, for estimates of differences.
    """

    backbone: str
    size: int
    networks: tuple[Graded, ...]
    mean: Estimates
    best: Graded
    honest: Graded | None
    mean_draws: Draws
    same: SameKnees

    @property
    def honest_draws(self) -> Draws:
        """Of the honest network, or the mean of the folds."""
        return self.mean_draws if self.honest is None else self.honest.draws

    @property
    def honest_estimates(self) -> Estimates:
        """Likewise."""
        return self.mean if self.honest is None else self.honest.estimates

    @property
    def optimism(self) -> Estimates:
        """Of the best network over the honest one, paired."""
        if self.honest is None:
            theirs, mean = self.best.draws, self.mean_draws
            return {m: self.same.of_difference(theirs[m] - mean[m]) for m in SHOWN}
        pair = self.best.grades, self.honest.grades
        return {m: self.same.difference(m, *pair) for m in SHOWN}

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "backbone": self.backbone,
            "size": self.size,
            "networks": [network.to_dict() for network in self.networks],
            "mean_over_folds": plain(self.mean),
            "best_fold": self.best.to_dict(),
            "honest_fold": None if self.honest is None else self.honest.to_dict(),
            "honest": plain(self.honest_estimates),
            "optimism": plain(self.optimism),
        }


def on_test(
    backbone: str,
    size: int,
    networks: Sequence[Network],
    same: SameKnees,
    truth: npt.NDArray[np.int64],
    measure: Measure,
) -> BackboneRow:
    """A backbone on knees that none of its networks learnt from.

    Args:
        backbone: its name.
        size: of its input.
        networks: of its folds and kept epochs.
        same: the test knees.
        truth: ``(T,)`` their grades.
        measure: by which networks are picked.
    """
    graded = [_graded(it.words, it.fold, it.epoch, it.test.argmax(axis=1), same) for it in networks]
    best = networks.index(
        best_network(networks, [counted(it.test.argmax(axis=1), truth) for it in networks], measure)
    )
    honest = networks.index(best_network(networks, [it.held_out for it in networks], measure))
    return _row(backbone, size, graded, graded[best], graded[honest], same)


def out_of_fold(
    backbone: str,
    size: int,
    grades: npt.NDArray[np.integer],
    folds: npt.NDArray[np.int64],
    same: SameKnees,
    truth: npt.NDArray[np.int64],
    measure: Measure,
) -> BackboneRow:
    """A backbone on the knees that each of its folds held out.

    Args:
        backbone: its name.
        size: of its input.
        grades: ``(N,)`` out of fold.
        folds: ``(N,)`` which fold held each knee out.
        same: the knees.
        truth: ``(N,)`` their grades.
        measure: by which the best fold is picked.
    """
    present = sorted(set(folds.tolist()))
    masks = [folds == fold for fold in present]
    graded = [
        _graded(f"fold {fold}", fold, None, grades, same, mask)
        for fold, mask in zip(present, masks, strict=True)
    ]
    own = np.stack([counted(grades[mask], truth[mask]) for mask in masks])
    best = int(np.nan_to_num(MEASURES[measure](own), nan=-np.inf).argmax())
    return _row(backbone, size, graded, graded[best], None, same)


def mean_of(draws: Sequence[Draws]) -> Draws:
    """The mean of several networks' draws; undefined ones are left out of it."""
    return {m: _mean(np.stack([it[m] for it in draws])) for m in SHOWN}


def _mean(draws: Distributions) -> Distributions:
    defined = ~np.isnan(draws)
    return ratio(np.where(defined, draws, 0.0).sum(axis=0), defined.sum(axis=0).astype(np.float64))


def _graded(
    words: str,
    fold: int,
    epoch: int | None,
    grades: npt.NDArray[np.integer],
    same: SameKnees,
    among: Mask | None = None,
) -> Graded:
    draws = {m: same.draws(m, grades, among) for m in SHOWN}
    estimates = {m: same.estimate(m, grades, among) for m in SHOWN}
    return Graded(words, fold, epoch, grades, draws, estimates)


def _row(
    backbone: str,
    size: int,
    graded: Sequence[Graded],
    best: Graded,
    honest: Graded | None,
    same: SameKnees,
) -> BackboneRow:
    mean = mean_of([network.draws for network in graded if network.epoch is None])
    estimates = {m: same.of_mean(mean[m]) for m in SHOWN}
    return BackboneRow(backbone, size, tuple(graded), estimates, best, honest, mean, same)


def plain(estimates: Estimates) -> dict[str, Any]:
    """Ready for JSON."""
    return {str(measure): it.to_dict() for measure, it in estimates.items()}
