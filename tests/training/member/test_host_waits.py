"""A training step asks its device for everything and waits for nothing.

No accelerator is needed to see that: the meta device knows shapes alone, so that whatever would
read a number back to the host raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kellgren.data.manifest import Knee
from kellgren.training.architectures import find
from kellgren.training.device import Device
from kellgren.training.input.augment import draw
from kellgren.training.member.average import average_of, move_average, paired
from kellgren.training.member.batches import DeviceKnees, epoch_order
from kellgren.training.member.checkpoint import RunState
from kellgren.training.member.loop import learn, loss_of
from kellgren.training.member.schedule import optimiser_for
from kellgren.training.recipe import Recipe
from kellgren.training.recorded_step import gradients_of
from tiny_training import HEAD_THEN_ALL, ONE_CYCLE, tiny_recipe, tiny_run

pytestmark = pytest.mark.usefixtures("small_world")
KNEES, SIZE = 9, 48


class NoTransfers(TorchDispatchMode):
    """Refuses operations whose tensors lie on two devices, such as a blocking copy."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        places = {leaf.device.type for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim}
        if len(places) > 1:
            raise AssertionError(f"{func} carries data between {sorted(places)}")
        return result


@pytest.mark.parametrize("consistency", [0.0, 2.0], ids=["one view", "two views"])
def test_a_step_reads_nothing_back(knees: list[Knee], tmp_path: Path, consistency: float) -> None:
    recipe = tiny_recipe(ONE_CYCLE, consistency=consistency, batch=4)
    run = replace(tiny_run(recipe, knees, tmp_path), device=Device("meta", bf16=False))
    generator = torch.Generator()
    with torch.device("meta"):
        network = find("tiny").build(5).to(memory_format=torch.channels_last)
    state = RunState(network, average_of(network), optimiser_for(network, recipe.schedule, 0), [])
    stage = DeviceKnees(
        planes=torch.empty(KNEES, SIZE, SIZE, dtype=torch.uint8, device="meta"),
        targets=torch.empty(KNEES, 5, device="meta"),
        mean=torch.empty(1, 3, 1, 1, device="meta"),
        std=torch.empty(1, 3, 1, 1, device="meta"),
    )
    followed = paired(state.average, network)
    gradients = gradients_of(network, partial(loss_of, run, network))
    with NoTransfers():
        order = epoch_order(KNEES, recipe.batch // recipe.views, generator, "meta")
        changes = draw(recipe.augmentation, len(order), recipe.batch, generator, "meta")
        assert None not in (changes.blurred, changes.noise, changes.box)
        for step in range(2):
            images = stage.augmented(order[step], changes.of_step(step), generator)
            assert images.shape == (recipe.batch, 3, SIZE, SIZE)
            assert images.is_contiguous(memory_format=torch.channels_last)
            targets = stage.targets.index_select(0, order[step])
            loss = learn(run, state, gradients, images, targets, 0.01 / (step + 1))
            move_average(followed, 0.9)
    assert loss.is_meta


@pytest.mark.parametrize(
    "step",
    [
        lambda values: float(values.sum()),
        lambda values: values.cpu(),
        lambda values: values + torch.ones(3).to("meta"),
        lambda values: bool(values.any()),
        lambda values: values[values > 0],
    ],
    ids=["read", "copied", "written", "asked", "masked"],
)
def test_what_would_wait_is_noticed(step: Callable[[Tensor], object]) -> None:
    values = torch.ones(3, device="meta")
    with NoTransfers(), pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
        step(values)


@pytest.mark.parametrize("schedule", [ONE_CYCLE, HEAD_THEN_ALL], ids=lambda values: values["name"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_one_kernel_steps_all_layers_of_an_accelerator(
    schedule: dict[str, Any], device: str
) -> None:
    recipe: Recipe = tiny_recipe(schedule, epochs=(4,))
    with FakeTensorMode(), torch.device(device):  # there need be no such device
        optimiser = optimiser_for(find("tiny").build(5), recipe.schedule, 1)
    assert {group["fused"] for group in optimiser.param_groups} == {device == "cuda"}
