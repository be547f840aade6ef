"""The running average of a network's weights: what is judged, exported and graded with."""

from __future__ import annotations

import copy

import torch
from torch import nn

from kellgren.architectures import Member

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


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average towards a network: weights and batch statistics; counters are copied.

    A handful of kernels whatever the number of layers, and nothing that waits for the device.

    Args:
        average: changed in place.
        network: of the same architecture, on the same device.
        decay: share of the average that stays, 0..1.
    """
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    means = [mean for mean, _ in pairs if mean.is_floating_point()]
    news = [new for _, new in pairs if new.is_floating_point()]
    torch._foreach_lerp_(means, news, 1.0 - decay)
    for mean, new in pairs:
        if not mean.is_floating_point():
            mean.copy_(new)
