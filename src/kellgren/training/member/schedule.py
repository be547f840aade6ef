"""Optimisers, and the rate at each step as a pure function: a resumed run needs no memory of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from kellgren.training.architectures import Member
from kellgren.training.recipe import HeadThenAll, OneCycle, Recipe

_FINAL_SHARE = 0.002
_JUDGED_EVERY = 3


def rate_at(schedule: OneCycle | HeadThenAll, epoch: int, progress: float) -> float:
    """Learning rate.

    Args:
        schedule: of the recipe.
        epoch: counted from 0.
        progress: share of all the recipe's steps already done, 0..1.
    """
    if isinstance(schedule, HeadThenAll):
        if epoch == 0:
            return schedule.head_rate
        stepped_down = epoch - 1 >= schedule.step_epochs
        return schedule.rate * (schedule.step_factor if stepped_down else 1.0)
    if progress < schedule.warm_up:
        return schedule.peak_rate * (0.04 + 0.96 * progress / schedule.warm_up)
    fall = (progress - schedule.warm_up) / max(1e-9, 1.0 - schedule.warm_up)
    floor = _FINAL_SHARE
    share = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fall))
    return schedule.peak_rate * share


def optimiser_for(
    network: Member, schedule: OneCycle | HeadThenAll, epoch: int
) -> torch.optim.Optimizer:
    """The optimiser that the given epoch uses, over the parameters it may change.

    The head-then-all schedule freezes all but ``network.head`` in its first epoch; as in the
    paper's procedure, the second epoch starts with a fresh optimiser. A stem frozen for good
    stays so. On a GPU one kernel steps all layers; a CPU's such kernel would end a resumed run in
    other weights to the bit (docs/decisions/0003), so there each layer is stepped by itself.
    """
    fused = next(network.parameters()).is_cuda
    if isinstance(schedule, HeadThenAll):
        network.stem.requires_grad_(epoch > 0 and not network.stem_is_frozen)
        network.body.requires_grad_(epoch > 0)
        return torch.optim.Adam(
            [p for p in network.parameters() if p.requires_grad],
            lr=schedule.head_rate,
            weight_decay=0.0 if epoch == 0 else schedule.weight_decay,
            fused=fused,
        )
    changed = [p for p in network.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in changed if p.ndim > 1], "weight_decay": schedule.weight_decay},
            {"params": [p for p in changed if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=schedule.peak_rate,
        fused=fused,
    )


def tolerated(schedule: HeadThenAll, losses: Sequence[float]) -> list[bool]:
    """Which epochs do not count against patience.

    Args:
        schedule: whose rule.
        losses: of the epochs, in order; one that is not a number counts.
    """
    lowest, result = math.inf, []
    for loss in losses:
        if schedule.stopping == "rise":
            result.append(loss <= lowest + schedule.delta)
            lowest = min(lowest, loss)
        else:
            result.append(loss < lowest - schedule.delta)
            lowest = loss if result[-1] else lowest
    return result


def out_of_patience(schedule: HeadThenAll, losses: Sequence[float]) -> bool:
    """Whether early stopping ends a run after epochs with these losses."""
    last = tolerated(schedule, losses)[-schedule.patience :]
    return len(last) == schedule.patience and not any(last)


def stopping_losses(schedule: HeadThenAll, history: Sequence[Mapping[str, Any]]) -> list[float]:
    """The losses that early stopping watches; none where no knee is there to be judged."""
    key = "inner_loss" if schedule.stop_on == "inner" else "held_out_loss"
    return [float(record[key]) for record in history if key in record]


def is_judged(recipe: Recipe, epoch: int, *, on_processor: bool) -> bool:
    """Whether the held-out knees are looked at after an epoch, counted from 0.

    To look takes a twelfth of the epoch's time. On an accelerator, where a run lasts a minute, it
    is done after the last epoch and each third one, unless the schedule depends on what is seen.
    """
    depends = on_processor or isinstance(recipe.schedule, HeadThenAll)
    return depends or (recipe.epochs - 1 - epoch) % _JUDGED_EVERY == 0


def starts_afresh(schedule: OneCycle | HeadThenAll, epoch: int) -> bool:
    """Whether this epoch begins with a new optimiser."""
    return epoch == 0 or (isinstance(schedule, HeadThenAll) and epoch == 1)
