"""What a run writes down and when, where an accelerator's epochs take seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.training.architectures import ARCHITECTURES, Member
from kellgren.training.device import Device, choose_device
from kellgren.training.member import keeping
from kellgren.training.member.checkpoint import read_history, save_weights, weights_of
from kellgren.training.member.loop import Watcher, train
from kellgren.training.member.run import MemberRun, restore, trained_network
from kellgren.training.recipe import Recipe
from tiny_training import (
    HEAD_THEN_ALL,
    ONE_CYCLE,
    TINY,
    assert_same_weights,
    tensors,
    tiny_recipe,
    tiny_run,
)

pytestmark = pytest.mark.usefixtures("small_world")
RUINOUS = HEAD_THEN_ALL | {"rate": 1.0, "step_factor": 1.0}


@dataclass(frozen=True)
class Accelerator(Device):
    """The processor, treated as an accelerator is: nothing is read before an epoch's end."""

    @property
    def is_processor(self) -> bool:
        return False


class Interrupted(Watcher):
    """Dies after some epochs; notes what it was told before."""

    def __init__(self, epochs: int = 1000) -> None:
        self.epochs = epochs
        self.losses: list[float | None] = []

    def step(self, loss: float | None) -> None:
        self.losses.append(loss)

    def epoch_ends(self, record: dict[str, Any]) -> None:
        if record["epoch"] == self.epochs:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.benchmark = before


def accelerated(recipe: Recipe, knees: list[Knee], out: Path) -> MemberRun:
    return replace(tiny_run(recipe, knees, out), device=Accelerator("cpu", bf16=False))


def logged(run: MemberRun) -> list[int]:
    lines = (run.out / "log.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["epoch"] for line in lines]


def test_an_accelerator_writes_once_the_training_is_done(knees: list[Knee], tmp_path: Path) -> None:
    run = accelerated(tiny_recipe(ONE_CYCLE), knees, tmp_path / "fast")
    with pytest.raises(KeyboardInterrupt):
        train(run, watcher=Interrupted(3))
    assert not run.checkpoint.exists()
    assert not (run.out / "log.jsonl").exists()

    watcher = Interrupted()
    assert train(run, watcher=watcher)
    assert set(watcher.losses) == {None}
    assert logged(run) == [1, 2, 3, 4]
    slow = tiny_run(run.recipe, knees, tmp_path / "slow")
    watcher = Interrupted()
    assert train(slow, watcher=watcher)
    assert None not in watcher.losses
    assert_same_weights(run.checkpoint, slow.checkpoint)


def test_a_processor_writes_after_every_epoch(knees: list[Knee], tmp_path: Path) -> None:
    run = tiny_run(tiny_recipe(ONE_CYCLE), knees, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(run, watcher=Interrupted(3))
    assert len(read_history(run.checkpoint, run.identity)) == 3
    assert logged(run) == [1, 2, 3]


def test_time_that_is_up_costs_nothing(knees: list[Knee], tmp_path: Path) -> None:
    run = accelerated(tiny_recipe(ONE_CYCLE), knees, tmp_path)
    assert not train(run, max_minutes=0)
    assert len(read_history(run.checkpoint, run.identity)) == 1
    assert logged(run) == [1]


def test_a_kill_costs_the_epochs_since_the_last_checkpoint(
    knees: list[Knee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(keeping.time, "monotonic", lambda: clock[0])

    class Slow(Interrupted):
        """An epoch takes two minutes."""

        def epoch_begins(self, epoch: int, epochs: int, size: int, steps: int) -> None:
            clock[0] += 120

    run = accelerated(tiny_recipe(ONE_CYCLE, epochs=(4, 4)), knees, tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        train(run, watcher=Slow(5))
    assert len(read_history(run.checkpoint, run.identity)) == 3  # after six of ten minutes
    assert logged(run) == [1, 2, 3]

    assert train(run, resume=True)
    assert logged(run) == list(range(1, 9))
    whole = tiny_run(run.recipe, knees, tmp_path / "whole")
    assert train(whole)
    assert_same_weights(run.checkpoint, whole.checkpoint)  # it is a processor after all


def test_the_best_epoch_is_kept_though_it_was_not_the_last(
    knees: list[Knee], tmp_path: Path
) -> None:
    recipe = tiny_recipe(RUINOUS, epochs=(5,))
    slow, fast = tiny_run(recipe, knees, tmp_path / "a"), accelerated(recipe, knees, tmp_path / "b")
    assert train(slow)
    assert train(fast)
    best = [r["held_out_loss"] for r in read_history(fast.best, fast.identity)]
    losses = [r["held_out_loss"] for r in read_history(fast.checkpoint, fast.identity)]
    assert best == losses[: int(np.argmin(losses)) + 1]
    assert len(best) < len(losses)  # or this test tells nothing
    assert_same_weights(fast.best, slow.best)
    assert not [name for name in tensors(fast.best) if name.startswith("optimiser/")]


@pytest.mark.parametrize(("share", "kept"), [(0.5, True), (2.0, False)])
def test_a_best_epoch_that_was_lost_stays_the_best_until_a_better_one(
    knees: list[Knee], tmp_path: Path, share: float, kept: bool
) -> None:
    """Killed between the two files, an accelerator does the epoch again and finds another loss."""
    run = accelerated(tiny_recipe(HEAD_THEN_ALL, epochs=(3,)), knees, tmp_path)
    assert not train(run, max_minutes=0)
    state = restore(run)
    ahead = weights_of(state)
    ahead.history.append({"held_out_loss": share * state.history[0]["held_out_loss"], "epoch": 2})
    ahead.tensors["network/head.bias"] += 100
    save_weights(ahead, run.identity, run.best)

    assert train(run, resume=True)
    actual = trained_network(run).head.bias
    assert bool((actual > 50).all()) is kept


def test_an_older_run_s_best_is_not_a_new_one_s(knees: list[Knee], tmp_path: Path) -> None:
    run = accelerated(tiny_recipe(HEAD_THEN_ALL, epochs=(2,)), knees, tmp_path)
    assert train(run)
    wrong = weights_of(restore(run))
    wrong.history[-1]["held_out_loss"] = 0.0
    save_weights(wrong, run.identity, run.best)
    run.checkpoint.unlink()
    assert train(run)
    assert 0.0 not in [r["held_out_loss"] for r in read_history(run.best, run.identity)]


def test_a_loss_that_is_no_number_ends_the_epoch_and_nothing_of_it_is_kept(
    knees: list[Knee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(grades: int) -> Member:
        member = TINY.build(grades)
        nn.init.constant_(member.head.bias, float("nan"))
        return member

    monkeypatch.setitem(ARCHITECTURES, "tiny", replace(TINY, build=poisoned))
    run, watcher = accelerated(tiny_recipe(ONE_CYCLE), knees, tmp_path), Interrupted()
    with pytest.raises(TrainingError, match=r"the loss became nan.*--resume"):
        train(run, watcher=watcher)
    assert watcher.losses == [None] * 3  # the epoch's steps, unread
    assert not run.checkpoint.exists()


def test_a_network_is_built_only_where_its_layers_decide_the_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = []

    def counting(grades: int) -> Member:
        built.append(grades)
        return TINY.build(grades)

    monkeypatch.setitem(ARCHITECTURES, "tiny", replace(TINY, build=counting))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    multiplies = [False]
    monkeypatch.setattr("kellgren.training.device._cpu_multiplies_bf16", lambda: multiplies[0])
    assert choose_device("auto", "tiny") == Device("cpu", bf16=False)
    assert choose_device("bf16", "tiny") == Device("cpu", bf16=True)
    assert not built
    multiplies[0] = True
    assert (
        choose_device("auto", "tiny") == choose_device("auto", "tiny") == Device("cpu", bf16=True)
    )
    assert not choose_device("auto", "shufflenet_v2_x2_0").bf16  # depthwise
    assert len(built) == 1
