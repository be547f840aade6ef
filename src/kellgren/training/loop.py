"""The training loop of one member: how it learns, is judged, stops, saves and goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from kellgren.errors import TrainingError
from kellgren.evaluation.metrics import accuracy, macro_f1, mae, qwk
from kellgren.files import written_whole
from kellgren.grades import GRADE_COUNT
from kellgren.recipe import HeadThenAll, Recipe
from kellgren.training.augment import apply, draw
from kellgren.training.average import decay_at, move_average
from kellgren.training.checkpoint import RunState, save_checkpoint
from kellgren.training.data import Planes, epoch_order, load_planes, target_table
from kellgren.training.member_run import MemberRun, begin, has_begun, restore
from kellgren.training.run_folder import LOG
from kellgren.training.schedule import optimiser_for, rate_at, starts_afresh
from kellgren.training.soft_targets import targets_for

_EVALUATION_BATCH = 32


class Watcher:
    """Is told how a run goes; the command line draws progress bars from it."""

    def loading(self, done: int, total: int) -> None:
        """A knee was read."""

    def epoch_begins(self, epoch: int, epochs: int, size: int, steps: int) -> None:
        """An epoch, counted from 0, is about to take so many steps."""

    def step(self, loss: float) -> None:
        """A batch was learnt."""

    def epoch_ends(self, record: dict[str, Any]) -> None:
        """An epoch was scored and saved."""


def train(
    run: MemberRun,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    watcher: Watcher | None = None,
) -> bool:
    """Train until the recipe's end, or until the time is up.

    Chance in an epoch depends on the seed and the epoch's number alone, so a run that was killed
    and resumed ends in the weights of one that was not.

    Returns:
        Whether the run is finished; if not, the same call with ``resume`` goes on.

    Raises:
        TrainingError: a run lies in the folder already and ``resume`` is off; a checkpoint is
            damaged or of another run; the loss is not finite; the disk is full.
    """
    watcher = watcher or Watcher()
    began = time.monotonic()
    state = restore(run) if has_begun(run, resume) else begin(run)
    planes: Planes | None = None
    while not is_finished(run.recipe, state.history):
        epoch = len(state.history)
        epoch_began = time.monotonic()
        if planes is None or planes.shape[1] != run.recipe.size_of(epoch):
            planes = load_planes(
                run.knees, run.preprocess(run.recipe.size_of(epoch)), watcher.loading
            )
        record = _one_epoch(run, state, planes, epoch, watcher)
        record["minutes"] = (time.monotonic() - epoch_began) / 60
        state.history.append(record)
        _save(run, state)
        watcher.epoch_ends(record)
        spent = (time.monotonic() - began) / 60
        if max_minutes is not None and spent + record["minutes"] > max_minutes:
            break
    return is_finished(run.recipe, state.history)


def is_finished(recipe: Recipe, history: Sequence[dict[str, Any]]) -> bool:
    """Whether all epochs ran, or early stopping, where knees are held out, has ended the run."""
    if len(history) >= recipe.epochs:
        return True
    if not isinstance(recipe.schedule, HeadThenAll):
        return False
    best, since = float("inf"), 0
    for loss in (record["held_out_loss"] for record in history if "held_out_loss" in record):
        if loss < best - recipe.schedule.delta:
            best, since = loss, 0
        else:
            since += 1
    return since >= recipe.schedule.patience


def _one_epoch(
    run: MemberRun, state: RunState, planes: Planes, epoch: int, watcher: Watcher
) -> dict[str, Any]:
    recipe = run.recipe
    if starts_afresh(recipe.schedule, epoch):
        state.optimiser = optimiser_for(state.network, recipe.schedule, epoch)
    rng = np.random.default_rng([recipe.seed, epoch])
    torch.manual_seed(int(rng.integers(2**63)))
    learnt = np.flatnonzero(~run.held_out)
    batches = learnt[epoch_order(len(learnt), recipe.batch // recipe.looks, rng)]
    watcher.epoch_begins(epoch, recipe.epochs, planes.shape[1], len(batches))
    targets = torch.from_numpy(targets_for(run, watcher.loading))
    state.network.train()
    losses = []
    for number, batch in enumerate(batches):
        progress = (epoch + number / len(batches)) / recipe.epochs
        rate = rate_at(recipe.schedule, epoch, progress)
        images = augmented(run, np.tile(planes[batch], (recipe.looks, 1, 1)), rng)
        losses.append(learn(run, state, images, targets[batch], rate))
        if state.average is not None:
            done = epoch * len(batches) + number
            decay = decay_at(done, recipe.average, len(batches))
            move_average(state.average, state.network, decay)
        watcher.step(losses[-1])
    record = {
        "epoch": epoch + 1,
        "size": int(planes.shape[1]),
        "rate": rate,
        "loss": float(np.mean(losses)),
    }
    return record | _judge(run, state, planes)


def augmented(run: MemberRun, planes: Planes, rng: np.random.Generator) -> torch.Tensor:
    """A batch of planes, changed as the recipe allows, as the network's input on its device."""
    change = draw(run.recipe.augmentation, len(planes), rng)
    images = torch.from_numpy(planes).to(run.device.name)[:, None].float() / 255.0
    return _normalised(run, apply(images, change))


def _normalised(run: MemberRun, images: torch.Tensor) -> torch.Tensor:
    """The same arithmetic as `Preprocess.normalise`, on the device."""
    preprocess = run.preprocess(images.shape[-1])
    mean = images.new_tensor(preprocess.mean).view(1, 3, 1, 1)
    std = images.new_tensor(preprocess.std).view(1, 3, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def learn(
    run: MemberRun, state: RunState, images: torch.Tensor, targets: torch.Tensor, rate: float
) -> float:
    """One step: forward, backward, optimiser.

    Args:
        run: whose device and recipe.
        state: its network and optimiser change.
        images: ``(L * N, 3, S, S)`` normalised, on the device: L looks at N knees, look by look.
        targets: ``(N, grades)`` distributions.
        rate: learning rate of this step.

    Returns:
        The loss before the step.

    Raises:
        TrainingError: the loss is not finite.
    """
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    with run.device.autocast():
        logits = state.network(images).float()
    looks = len(images) // len(targets)
    loss = functional.cross_entropy(logits, targets.to(logits.device).repeat(looks, 1))
    if run.recipe.consistency:
        loss = loss + run.recipe.consistency * disagreement(logits, looks)
    value = float(loss.detach())
    if not np.isfinite(value):
        raise TrainingError(
            run.out, f"the loss became {value}", "Lower the rate or train in fp32, then --resume"
        )
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    clip = getattr(run.recipe.schedule, "clip_norm", None)
    if clip is not None:
        nn.utils.clip_grad_norm_(state.network.parameters(), clip)
    state.optimiser.step()
    return value


def disagreement(logits: torch.Tensor, looks: int) -> torch.Tensor:
    """How far the distributions of several looks at a knee lie apart, in nats, over the knees.

    Jensen and Shannon's divergence (Lin 1991): the mean over the looks of the Kullback-Leibler
    divergence from their mean. 0 where all looks say the same, at most the logarithm of L.

    Args:
        logits: ``(L * N, grades)``, look by look.
        looks: L.
    """
    said = functional.log_softmax(logits, dim=1).view(looks, -1, logits.shape[1])
    mean = said.logsumexp(dim=0) - math.log(looks)
    return (said.exp() * (said - mean)).sum(dim=2).mean()


def _judge(run: MemberRun, state: RunState, planes: Planes) -> dict[str, Any]:
    """Score the held-out knees as they are, one look each."""
    judged = np.flatnonzero(run.held_out)
    if not len(judged):
        return {}
    network = (state.network if state.average is None else state.average).eval()
    logits = []
    with torch.inference_mode(), run.device.autocast():
        for start in range(0, len(judged), _EVALUATION_BATCH):
            chosen = planes[judged[start : start + _EVALUATION_BATCH]]
            images = torch.from_numpy(chosen).to(run.device.name)[:, None].float() / 255.0
            logits.append(network(_normalised(run, images)).float().cpu())
    scored = torch.cat(logits)
    truth = _grades(run)[judged]
    targets = torch.from_numpy(target_table(run.recipe.targets, GRADE_COUNT)[truth])
    graded = scored.argmax(dim=1).numpy()
    return {
        "held_out_loss": float(functional.cross_entropy(scored, targets)),
        "accuracy": accuracy(truth, graded),
        "macro_f1": macro_f1(truth, graded),
        "qwk": qwk(truth, graded),
        "mae": mae(truth, graded),
    }


def _grades(run: MemberRun) -> npt.NDArray[np.int64]:
    return np.array([int(knee.grade or 0) for knee in run.knees])


def _save(run: MemberRun, state: RunState) -> None:
    """The best first: killed before the checkpoint is, the run does the epoch, and both, again."""
    losses = [record.get("held_out_loss", 0.0) for record in state.history]
    if isinstance(run.recipe.schedule, HeadThenAll) and losses[-1] == min(losses):
        save_checkpoint(state, run.identity, run.best)
    save_checkpoint(state, run.identity, run.checkpoint)
    with written_whole(run.out / LOG) as stream:
        stream.writelines(json.dumps(record) + "\n" for record in state.history)
