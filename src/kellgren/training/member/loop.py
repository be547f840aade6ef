"""The training loop of one member: how it learns, is judged, stops, saves and goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from kellgren.errors import TrainingError
from kellgren.evaluation.metrics import accuracy, macro_f1, mae, qwk
from kellgren.grades import GRADE_COUNT
from kellgren.training.input.loading import load_planes, target_table
from kellgren.training.member.average import decay_at, move_average, paired
from kellgren.training.member.batches import (
    DeviceKnees,
    epoch_changes,
    epoch_order,
    on_device,
)
from kellgren.training.member.checkpoint import RunState
from kellgren.training.member.keeping import Keeper
from kellgren.training.member.run import MemberRun, begin, has_begun, restore, write_beginning
from kellgren.training.member.schedule import (
    is_judged,
    optimiser_for,
    out_of_patience,
    rate_at,
    starts_afresh,
    stopping_losses,
)
from kellgren.training.member.soft_targets import targets_for
from kellgren.training.recipe import HeadThenAll, Recipe
from kellgren.training.recorded_step import Gradients, gradients_of


class Watcher:
    """Notified of the progress of a run; the command line draws progress bars from it."""

    def loading(self, done: int, total: int) -> None:
        """A knee was read."""

    def epoch_begins(self, epoch: int, epochs: int, size: int, steps: int) -> None:
        """An epoch, counted from 0, is about to take so many steps."""

    def step(self, loss: float | None) -> None:
        """A batch was learnt; its loss is not known where to read it would hold the device up."""

    def epoch_ends(self, record: dict[str, Any]) -> None:
        """An epoch was scored; on a processor it is saved, too."""


def train(
    run: MemberRun,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    watcher: Watcher | None = None,
) -> bool:
    """Train until the recipe's end, or until the time is up.

    Chance in an epoch depends on the seed and the epoch's number alone, so on a processor a run
    that was killed and resumed ends in the weights of one that was not. On an accelerator, whose
    sums come in any order, it ends in weights like those, and a kill costs the epochs since the
    last checkpoint, at most `keeping.SAVE_EVERY_S` and an epoch.

    Returns:
        Whether the run is finished; if not, the same call with ``resume`` goes on.

    Raises:
        TrainingError: a run lies in the folder already and ``resume`` is off; a checkpoint is
            damaged or of another run; the loss is not finite; the disk is full. What was kept
            before stays, and nothing of the epoch that failed is kept.
    """
    watcher = watcher or Watcher()
    began = time.monotonic()
    state = restore(run) if has_begun(run, resume) else begin(run)
    run.device.settle(state.network)
    keeper = Keeper(run, done=len(state.history))
    knees: DeviceKnees | None = None
    gradients: Gradients | None = None
    while not is_finished(run.recipe, state.history):
        epoch = len(state.history)
        epoch_began = time.monotonic()
        if knees is None or knees.size != run.recipe.size_of(epoch):
            preprocess = run.preprocess(run.recipe.size_of(epoch))
            planes = load_planes(run.knees, preprocess, watcher.loading)
            knees = on_device(run, planes, targets_for(run, watcher.loading))
            gradients = None
        if epoch == 0:
            write_beginning(run, state)
        if starts_afresh(run.recipe.schedule, epoch):
            state.optimiser = optimiser_for(state.network, run.recipe.schedule, epoch)
            gradients = None
        gradients = gradients or gradients_of(state.network, partial(loss_of, run, state.network))
        record = _one_epoch(run, state, knees, gradients, epoch, watcher)
        record["minutes"] = (time.monotonic() - epoch_began) / 60
        state.history.append(record)
        keeper.epoch_ended(state)
        watcher.epoch_ends(record)
        spent = (time.monotonic() - began) / 60
        if max_minutes is not None and spent + record["minutes"] > max_minutes:
            break
    keeper.keep(state)
    return is_finished(run.recipe, state.history)


def is_finished(recipe: Recipe, history: Sequence[dict[str, Any]]) -> bool:
    """Whether all epochs ran, or early stopping, where it has knees to judge, ended the run."""
    if len(history) >= recipe.epochs:
        return True
    if not isinstance(recipe.schedule, HeadThenAll):
        return False
    return out_of_patience(recipe.schedule, stopping_losses(recipe.schedule, history))


def _one_epoch(
    run: MemberRun,
    state: RunState,
    knees: DeviceKnees,
    gradients: Gradients,
    epoch: int,
    watcher: Watcher,
) -> dict[str, Any]:
    recipe, device = run.recipe, run.device
    generator = _chance(run, epoch)
    learnt = torch.from_numpy(np.flatnonzero(run.learns_from)).to(device.name)
    batch = recipe.batch // recipe.views
    positions = epoch_order(len(learnt), batch, generator, last_batch=recipe.last_batch)
    order = torch.split(learnt[torch.cat(positions)], len(positions[0]))
    changes, steps = epoch_changes(recipe, order, generator), len(order)
    followed = None if state.average is None else paired(state.average, state.network)
    watcher.epoch_begins(epoch, recipe.epochs, knees.size, steps)
    state.network.train()
    losses = []
    for step in range(steps):
        rate = rate_at(recipe.schedule, epoch, (epoch + step / steps) / recipe.epochs)
        images = knees.augmented(order[step], changes[step], generator)
        targets = knees.targets.index_select(0, order[step])
        losses.append(learn(run, state, gradients, images, targets, rate))
        if followed is not None:
            move_average(followed, decay_at(epoch * steps + step, recipe.average, steps))
        watcher.step(_finite(run, losses[-1]) if device.is_processor else None)
    loss = _finite(run, torch.stack(losses).double().mean())
    record = {"epoch": epoch + 1, "size": knees.size, "rate": rate, "loss": loss}
    if not is_judged(recipe, epoch, on_processor=device.is_processor):
        return record
    return record | _judge(run, state, knees)


def _chance(run: MemberRun, epoch: int) -> torch.Generator:
    """The generator of an epoch's order and changes; dropout's, torch's own, begins anew too."""
    seeds = np.random.SeedSequence([run.recipe.seed, epoch]).generate_state(2, np.uint64)
    torch.manual_seed(int(seeds[0]))
    return torch.Generator(run.device.name).manual_seed(int(seeds[1]))


def _finite(run: MemberRun, loss: torch.Tensor) -> float:
    """Read a loss; on an accelerator that waits for all that was asked of it before.

    Raises:
        TrainingError: it is not finite.
    """
    value = float(loss)
    if not math.isfinite(value):
        raise TrainingError(
            run.out, f"the loss became {value}", "Lower the rate or train in fp32, then --resume"
        )
    return value


def learn(
    run: MemberRun,
    state: RunState,
    gradients: Gradients,
    images: torch.Tensor,
    targets: torch.Tensor,
    rate: float,
) -> torch.Tensor:
    """One step: forward, backward, optimiser. Nothing in it waits for the device.

    Args:
        run: whose recipe.
        state: its network and optimiser change.
        gradients: of the network's loss.
        images: ``(L * N, 3, S, S)`` normalised, on the device: L views of N knees, view by view.
        targets: ``(N, grades)`` distributions, on the device.
        rate: learning rate of this step.

    Returns:
        The loss before the step, a scalar on the device.
    """
    groups = state.optimiser.param_groups
    for group in groups:
        group["lr"] = rate
    loss = gradients(images, targets)
    clip = getattr(run.recipe.schedule, "clip_norm", None)
    if clip is not None:
        nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], clip)
    state.optimiser.step()
    return loss


def loss_of(
    run: MemberRun, network: nn.Module, images: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """The loss of views ``(L * N, 3, S, S)`` of knees with targets ``(N, grades)``."""
    with run.device.autocast():
        logits = network(images).float()
    views = len(images) // len(targets)
    loss = functional.cross_entropy(logits, targets.repeat(views, 1))
    if run.recipe.consistency:
        loss = loss + run.recipe.consistency * disagreement(logits, views)
    return loss


def disagreement(logits: torch.Tensor, views: int) -> torch.Tensor:
    """How far the distributions of several views of a knee lie apart, in nats, over the knees.

    Jensen and Shannon's divergence (Lin 1991): the mean over the views of the Kullback-Leibler
    divergence from their mean. 0 where all views agree, at most the logarithm of L.

    Args:
        logits: ``(L * N, grades)``, look by look.
        views: L.
    """
    log_probabilities = functional.log_softmax(logits, dim=1).view(views, -1, logits.shape[1])
    mean = log_probabilities.logsumexp(dim=0) - math.log(views)
    return (log_probabilities.exp() * (log_probabilities - mean)).sum(dim=2).mean()


def _judge(run: MemberRun, state: RunState, knees: DeviceKnees) -> dict[str, Any]:
    """Score the knees that are not learnt from as they are, one look each."""
    held_out, inner = np.flatnonzero(run.held_out), np.flatnonzero(run.inner)
    scores: dict[str, Any] = {}
    if len(held_out):
        logits, truth = _looked_at(run, state, knees, held_out)
        graded = logits.argmax(dim=1).numpy()
        scores |= {
            "held_out_loss": _loss(run.recipe, logits, truth),
            "accuracy": accuracy(truth, graded),
            "macro_f1": macro_f1(truth, graded),
            "qwk": qwk(truth, graded),
            "mae": mae(truth, graded),
        }
    if len(inner):
        scores["inner_loss"] = _loss(run.recipe, *_looked_at(run, state, knees, inner))
    return scores


def _looked_at(
    run: MemberRun, state: RunState, knees: DeviceKnees, judged: npt.NDArray[np.int64]
) -> tuple[torch.Tensor, npt.NDArray[np.int64]]:
    """Logits ``(n, 5)`` of knees, read from the device once, and their grades ``(n,)``.

    All batches are as large as those that are learnt from, the last one filled up with knees from
    the first: another shape would make an accelerator search for its fastest convolutions again.
    """
    network = (state.network if state.average is None else state.average).eval()
    batch = min(run.recipe.batch, len(judged))
    filled = np.resize(judged, (math.ceil(len(judged) / batch), batch))
    with torch.inference_mode(), run.device.autocast():
        batches = torch.from_numpy(filled).to(run.device.name)
        logits = [network(knees.as_they_are(chosen)).float() for chosen in batches]
    scored = torch.cat(logits)[: len(judged)].cpu()
    truth = np.array([int(run.knees[position].grade or 0) for position in judged.tolist()])
    return scored, truth


def _loss(recipe: Recipe, logits: torch.Tensor, truth: npt.NDArray[np.int64]) -> float:
    targets = torch.from_numpy(target_table(recipe.targets, GRADE_COUNT)[truth])
    return float(functional.cross_entropy(logits, targets))
