"""Trained networks of finished runs at work on knees: their files on the processor, or torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.grades import GRADE_COUNT
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.voting import softmax
from kellgren.training.architectures import Member, find
from kellgren.training.export.folding import folded, halve
from kellgren.training.input.loading import load_store
from kellgren.training.kept_epochs import kept_epochs
from kellgren.training.member.checkpoint import load_learnt_weights
from kellgren.training.member.exported import exported_probabilities
from kellgren.training.member.predicting import predict
from kellgren.training.recipe import HeadThenAll, Recipe
from kellgren.training.run_folder import BEST, CHECKPOINT, HEAD, MODEL
from kellgren.training.selection.out_of_fold import Run
from kellgren.training.selection.unseen import table_name

Advance = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Trained:
    """One network of a run.

    Attributes:
        run: that trained it.
        epoch: whose weights it has; ``None``: those that the run ended in.
        weights: the file that decides what it predicts.
    """

    run: Run
    epoch: int | None
    weights: Path

    @property
    def table(self) -> str:
        """The name of its table in a folder of predictions."""
        return table_name(self.run, self.epoch)

    @property
    def preprocess(self) -> Preprocess:
        """What it sees."""
        return Preprocess.model_validate(self.run.facts["preprocess"])

    def probabilities(
        self, knees: Sequence[Knee], device: str | None, advance: Advance = lambda done, of: None
    ) -> npt.NDArray[np.float64]:
        """``(N, 5)`` uncalibrated probabilities: the mean of the logits of both looks.

        Without a device the run's ONNX file predicts on the processor, as `kellgren grade` does.
        On a device torch does, with the weights rounded as the file holds them, where the run's
        checkpoint is still there; so it does anywhere for a kept epoch, which has no file.

        Args:
            knees: whose pictures can be read.
            device: ``cpu`` or ``cuda``; ``None``: the processor, by the file.
            advance: called with how many of how many are done.

        Raises:
            TrainingError: weights that are damaged, missing or of another run.
            BundleError: an ONNX file that cannot be run.
            UnreadableRadiograph: a picture that does not decode.
        """
        if self.epoch is None and (device is None or _checkpoint(self.run) is None):
            return self._by_file(knees, advance)
        network, store = self._network(), load_store(knees, self.preprocess)
        every = np.arange(len(knees))
        logits = predict(network, store, every, self.preprocess, device or "cpu", advance)
        return softmax(logits.mean(axis=1))

    def _by_file(self, knees: Sequence[Knee], advance: Advance) -> npt.NDArray[np.float64]:
        folder = self.run.folder
        rows = exported_probabilities(folder / MODEL, folder / HEAD, self.preprocess, knees)
        probabilities = np.empty((len(knees), GRADE_COUNT))
        for done, row in enumerate(rows):
            probabilities[done] = row
            advance(done + 1, len(knees))
        return probabilities

    def _network(self) -> Member:
        """The network in evaluation mode, on the processor."""
        network = find(str(self.run.facts["architecture"])).build(GRADE_COUNT).eval()
        weights = self.weights if self.epoch is not None else _checkpoint(self.run)
        if weights is None:
            raise TrainingError(self.run.folder, "has no checkpoint", "Restore the file")
        load_learnt_weights(network, weights, str(self.run.facts["data"]))
        if self.epoch is not None:
            return network
        size = self.preprocess.size
        network = folded(network, torch.zeros(1, 3, size, size))
        halve(network)
        return network


def trained_networks(run: Run) -> list[Trained]:
    """The network that a run ended in, and those of the epochs that it kept."""
    kept = [Trained(run, epoch.number, epoch.weights) for epoch in kept_epochs(run.folder)]
    return [Trained(run, None, run.folder / MODEL), *kept]


def _checkpoint(run: Run) -> Path | None:
    """The weights that the run's file was made of, where they are still there."""
    stops_early = isinstance(Recipe.model_validate(run.facts["recipe"]).schedule, HeadThenAll)
    path = run.folder / (BEST if stops_early else CHECKPOINT)
    return path if path.is_file() else None
