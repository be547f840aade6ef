"""The running average of a network's weights: what is judged, exported and graded with."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kellgren.training.architectures import Member

_RAMP = 10


def decay_at(step: int, most: float, steps_an_epoch: int) -> float:
    """How much of the average a step keeps.

    The average forgets the weights that training began with: after ``t`` steps it keeps at most
    ``(1 + t) / (10 + t)``, and its horizon, ``1 / (1 - decay)`` steps, is at most half an epoch.

    Args:
        step: steps done before this one, over all epochs.
        most: of the recipe, 0..1.
        steps_an_epoch: that the run takes.

    Returns:
        0..1; 0 where half an epoch is a single step.
    """
    half_an_epoch = 1.0 - 2.0 / max(2, steps_an_epoch)
    return min(most, (1 + step) / (_RAMP + step), half_an_epoch)


def average_of(network: Member) -> Member:
    """A copy of a network that no gradient changes, to be moved by `move_average`."""
    average = copy.deepcopy(network)
    return average.requires_grad_(False).eval()


class Pairs(NamedTuple):
    """The tensors of an average and, in the same order, those of the network that it follows."""

    means: list[Tensor]
    news: list[Tensor]
    counts: list[Tensor]
    new_counts: list[Tensor]


def paired(average: nn.Module, network: nn.Module) -> Pairs:
    """List what an average follows, once for many steps: to ask a network for it takes time.

    Args:
        average: of the network's architecture, on its device.
        network: whose tensors keep their places in memory for as long as the list is used.
    """
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    floating = [pair for pair in pairs if pair[0].is_floating_point()]
    counted = [pair for pair in pairs if not pair[0].is_floating_point()]
    return Pairs(
        means=[mean for mean, _ in floating],
        news=[new for _, new in floating],
        counts=[mean for mean, _ in counted],
        new_counts=[new for _, new in counted],
    )


@torch.no_grad()
def move_average(pairs: Pairs, decay: float) -> None:
    """Move the average towards its network: weights and batch statistics; counters are copied.

    A handful of kernels whatever the number of layers, and nothing that waits for the device.

    Args:
        pairs: the average's tensors change in place.
        decay: share of the average that stays, 0..1.
    """
    torch._foreach_lerp_(pairs.means, pairs.news, 1.0 - decay)
    if pairs.counts:
        torch._foreach_copy_(pairs.counts, pairs.new_counts)
