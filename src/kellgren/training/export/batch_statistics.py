"""Batch normalisations that learn what they normalise from pictures, computing the same as before.

Folded into the layer before it, or published without its statistics, a normalisation knows nothing
of its input. In training mode it would normalise by the batch's own statistics, and the network
would compute something else from the first step on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_BATCH = 16
Moments = list[tuple[Tensor, Tensor]]


def measure(network: nn.Module, images: Tensor, layers: Sequence[nn.BatchNorm2d]) -> None:
    """Give normalisations the statistics of images, and weights that compute the same with them.

    Args:
        network: in evaluation mode; its layers are changed in place.
        images: ``(N, 3, S, S)`` normalised, where the network is.
        layers: of the network, each with running statistics, weight and bias.
    """
    measured: list[Moments] = [[] for _ in layers]
    hooks = [
        layer.register_forward_pre_hook(_keeper(kept))
        for layer, kept in zip(layers, measured, strict=True)
    ]
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            network(images[start : start + _BATCH])
        remove(hooks)
        for layer, moments in zip(layers, measured, strict=True):
            mean, square = (torch.stack(kind).mean(dim=0) for kind in zip(*moments, strict=True))
            _renormalise(layer, mean, (square - mean**2).clamp_min(1e-8))


def remove(hooks: Sequence[RemovableHandle]) -> None:
    """Take hooks off their modules."""
    for hook in hooks:
        hook.remove()


def _renormalise(layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Other statistics, the same function."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    slope = layer.weight / (layer.running_var + layer.eps).sqrt()
    learnt = {
        "running_mean": mean,
        "running_var": variance,
        "weight": slope * (variance + layer.eps).sqrt(),
        "bias": layer.bias + slope * (mean - layer.running_mean),
    }
    layer.load_state_dict(learnt, strict=False)


def _keeper(kept: Moments) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def keep(module: nn.Module, inputs: tuple[Tensor]) -> None:
        (features,) = inputs
        kept.append((features.mean((0, 2, 3)), (features**2).mean((0, 2, 3))))

    return keep
