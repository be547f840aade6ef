"""One member to be trained on all folds but one: what it is, and how it begins or goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds, make_folds, save_folds
from kellgren.errors import TrainingError
from kellgren.grades import GRADE_COUNT
from kellgren.grading.preprocess import Preprocess
from kellgren.training.architectures import Member, find
from kellgren.training.device import Device
from kellgren.training.export.batch_statistics import measure
from kellgren.training.export.onnx_import import load_exported
from kellgren.training.input.cache import memory_store
from kellgren.training.member.average import average_of
from kellgren.training.member.checkpoint import (
    RunState,
    load_checkpoint,
    load_learnt_weights,
    read_history,
)
from kellgren.training.member.schedule import optimiser_for
from kellgren.training.member.teachers import TeacherNetworks
from kellgren.training.recipe import HeadThenAll, Recipe
from kellgren.training.run_folder import BEST, CHECKPOINT, FACTS, FOLDS, MODEL

_MEASURED = 128
"""How many knees give batch normalisations their statistics, where these are not known."""


@dataclass(frozen=True)
class MemberRun:
    """What is trained, on what, and where it is kept.

    Attributes:
        recipe: how.
        knees: all of the data set, graded.
        held_out: ``(N,)`` mask of the knees that are only judged, never learnt from.
        data_hash: of the knees and the folds, so that a checkpoint of other data is refused.
        out: folder of the run.
        weights_dir: with files of pretrained weights; what is not in it is downloaded.
        device: where and in which precision to compute.
        start_from: folder of another run of the same network, data and fold, whose weights
            this one begins with; ``None``: ImageNet's or random ones, as the recipe says.
        teacher: whose predictions are part of the targets; ``None``: the labels alone are.
        folds: of which one is held out, to be kept in the folder; ``None``: there are none.
    """

    recipe: Recipe
    knees: Sequence[Knee]
    held_out: npt.NDArray[np.bool_]
    data_hash: str
    out: Path
    weights_dir: Path | None
    device: Device
    start_from: Path | None = None
    teacher: TeacherNetworks | None = None
    folds: Folds | None = None

    @property
    def checkpoint(self) -> Path:
        """The state after the last whole epoch."""
        return self.out / CHECKPOINT

    @property
    def best(self) -> Path:
        """The state after the epoch that early stopping keeps, where the recipe stops early."""
        return self.out / BEST

    @cached_property
    def inner(self) -> npt.NDArray[np.bool_]:
        """``(N,)`` mask of the knees outside the fold that only say when to stop; mostly none.

        Raises:
            InvalidManifest: the patients outside the fold cannot fill the recipe's parts.
        """
        return inner_part(self.recipe, self.knees, self.held_out)

    @property
    def learns_from(self) -> npt.NDArray[np.bool_]:
        """``(N,)`` mask of the knees that are learnt from."""
        return ~(self.held_out | self.inner)

    @property
    def learnt(self) -> list[Knee]:
        """The knees that are learnt from."""
        return [knee for knee, learnt in zip(self.knees, self.learns_from, strict=True) if learnt]

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed."""
        identity = {"recipe": self.recipe.hash, "data": self.data_hash}
        return identity | ({"teacher": self.teacher.identity} if self.teacher else {})

    def preprocess(self, size: int) -> Preprocess:
        """What the member sees at a size."""
        source = find(self.recipe.network.architecture)
        return Preprocess(
            size=size,
            mean=source.mean,
            std=source.std,
            mirror_left=self.recipe.network.mirror_left,
            level=self.recipe.network.level,
        )


def inner_part(
    recipe: Recipe, knees: Sequence[Knee], held_out: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Mask ``(N,)`` of the knees outside the fold by whose loss a run is stopped.

    One part of so many of the patients that are not held out, stratified by grade, dealt with the
    recipe's seed; none where the recipe does not ask for it.

    Args:
        recipe: whose ``stop_on`` and ``inner_parts``.
        knees: N, graded.
        held_out: ``(N,)``.

    Raises:
        InvalidManifest: the patients outside the fold cannot fill the parts.
    """
    inner = np.zeros(len(knees), dtype=bool)
    schedule = recipe.schedule
    if isinstance(schedule, HeadThenAll) and schedule.stop_on == "inner":
        outside = [knee for knee, out in zip(knees, held_out, strict=True) if not out]
        parts = make_folds(outside, schedule.inner_parts, recipe.seed)
        inner[~held_out] = parts.held_out(outside, 0)
    return inner


def trained_network(run: MemberRun) -> Member:
    """The network that a finished run ends in: the average, or the best where it stops early.

    Raises:
        TrainingError: the checkpoint is damaged or belongs to another run.
    """
    path = run.best if isinstance(run.recipe.schedule, HeadThenAll) else run.checkpoint
    read_history(path, run.identity)
    network = _built(run)
    load_learnt_weights(network, path, run.data_hash)
    return network.eval()


def has_begun(run: MemberRun, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from.

    Raises:
        TrainingError: there is one, and nobody asked to resume.
    """
    begun = run.checkpoint.exists()
    if begun and not resume:
        raise TrainingError(
            run.out,
            "holds a run already",
            "Add --resume to go on with it, or name another --out folder",
        )
    return begun


def _blank(run: MemberRun, epoch: int) -> RunState:
    torch.manual_seed(run.recipe.seed)
    network = _built(run).to(run.device.name).to(memory_format=torch.channels_last)
    if run.recipe.network.freeze_stem:
        network.freeze_stem()
    average = average_of(network) if run.recipe.average else None
    return RunState(network, average, optimiser_for(network, run.recipe.schedule, epoch), [])


def _built(run: MemberRun) -> Member:
    """The network with the recipe's dropout, random weights, on the processor."""
    network = find(run.recipe.network.architecture).build(GRADE_COUNT)
    if run.recipe.network.dropout is not None:
        network.dropout.p = run.recipe.network.dropout
    return network


def begin(run: MemberRun) -> RunState:
    """The state before the first epoch; nothing is written.

    Raises:
        WeightsUnavailable: ImageNet weights cannot be had.
        TrainingError: the run to start from is damaged, or learnt from knees held out here.
    """
    state = _blank(run, epoch=0)
    state.origin = "random weights"
    if run.start_from is not None:
        state.origin = _continue(run, run.start_from, state)
    elif run.recipe.network.pretrained:
        source = find(run.recipe.network.architecture)
        state.origin = source.pretrained(state.network, run.weights_dir)
        if source.measured:
            _measure(run, state.network)
    if state.average is not None:
        state.average.load_state_dict(state.network.state_dict())
    return state


def write_beginning(run: MemberRun, state: RunState) -> None:
    """Keep in the run's folder where its weights came from, and its folds.

    Not before all that the first epoch needs was found: a run that is refused leaves no file.

    Raises:
        CannotKeep: a file cannot be written.
    """
    with written_whole(run.out / "origin.json") as stream:
        json.dump({"started_from": state.origin, **run.identity}, stream)
    if run.folds is not None:
        save_folds(run.folds, run.out / FOLDS)


def restore(run: MemberRun) -> RunState:
    """The state after the last whole epoch.

    Raises:
        TrainingError: the checkpoint is damaged or belongs to another run.
    """
    for half_written in run.out.glob(f".{run.checkpoint.stem}.*"):
        half_written.unlink()  # by a kill in the middle of a save
    history = read_history(run.checkpoint, run.identity)
    state = _blank(run, epoch=max(0, len(history) - 1))
    load_checkpoint(state, run.checkpoint)
    state.history = history
    return state


def _continue(run: MemberRun, earlier: Path, state: RunState) -> str:
    """Take over the weights that another run came to; say how far it was, and from where."""
    checkpoint = earlier / CHECKPOINT
    if not checkpoint.exists():
        if not (earlier / MODEL).exists():
            raise TrainingError(earlier, "holds no run to start from", "Name the folder of a run")
        return _continue_exported(run, earlier, state)
    epochs = load_learnt_weights(state.network, checkpoint, run.data_hash)
    origin = _facts(earlier / "origin.json", "started_from")["started_from"]
    return f"{epochs} epochs of another recipe, which started from {origin}"


def _continue_exported(run: MemberRun, earlier: Path, state: RunState) -> str:
    """The same from the member that a finished run left, where its checkpoint was deleted."""
    facts = _facts(earlier / FACTS, "data", "preprocess", "started_from", "recipe")
    if facts["data"] != run.data_hash:
        raise TrainingError(
            earlier / FACTS, "learnt from other knees or another fold", "Name a run of this fold"
        )
    seen = Preprocess.model_validate(facts["preprocess"])
    load_exported(state.network, earlier / MODEL, _some_images(run, seen))
    return f"a whole run of {facts['recipe']['name']}, which started from {facts['started_from']}"


def _measure(run: MemberRun, network: Member) -> None:
    """Statistics for normalisations that were published without; the network computes the same."""
    images = _some_images(run, run.preprocess(run.recipe.size_of(0)))
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    measure(network.eval(), images, layers)


def _some_images(run: MemberRun, seen: Preprocess) -> torch.Tensor:
    """Knees from all over the data set that are learnt from, as the network sees them."""
    some = run.learnt[:: max(1, len(run.learnt) // _MEASURED)][:_MEASURED]
    planes = memory_store(some, seen).planes  # too few to keep in a cache
    images = torch.from_numpy(seen.normalise(planes.astype(np.float32) / np.float32(255)))
    return images.to(run.device.name)


def _facts(path: Path, *keys: str) -> dict[str, Any]:
    """A run's JSON file with these keys."""
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return {key: facts[key] for key in keys}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            path, f"is not readable ({type(error).__name__})", "Name a whole run"
        ) from None
