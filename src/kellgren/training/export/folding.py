"""Batch normalisations folded into the convolutions before them, as exporting a network does."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kellgren.training.architectures import Member

Layer = nn.Conv2d | nn.BatchNorm2d | nn.Linear
HALVED_FROM = 1024  # values; smaller tensors, such as biases, save nothing
HALF_MAX = float(np.finfo(np.float16).max)


def folded(network: Member, image: Tensor) -> Member:
    """A copy that computes the same, each normalisation directly after a convolution folded in.

    Args:
        network: on the CPU, in evaluation mode.
        image: ``(1, 3, S, S)``, to see which layer follows which.
    """
    copied = copy.deepcopy(network)
    layers = layers_in_order(copied, image)
    uses = Counter(layer for layer, _ in layers)
    for layer, before in layers:
        if not (isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d)):
            continue
        if uses[layer] == uses[before] == 1:
            _fold(layer, before)
    return copied


def halve(network: Member) -> None:
    """Round the large weights to what float16 can hold; the head stays, explanations read it."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim < 2 or weight.numel() < HALVED_FROM or name.startswith("head."):
                continue
            if weight.abs().max() <= HALF_MAX:
                weight.copy_(weight.half())


def _fold(layer: nn.BatchNorm2d, before: nn.Conv2d) -> None:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    with torch.no_grad():
        scale = layer.weight / (layer.running_var + layer.eps).sqrt()
        bias = torch.zeros_like(scale) if before.bias is None else before.bias
        bias = (bias - layer.running_mean) * scale + layer.bias
        before.weight.mul_(scale.view(-1, 1, 1, 1))
    undo(layer, before, bias)


def layers_in_order(network: Member, image: Tensor) -> list[tuple[Layer, Layer | None]]:
    """Layers with weights in the order images pass them, and whose output each one takes."""
    passed: list[tuple[Layer, Layer | None]] = []
    outputs: list[tuple[Tensor, Layer]] = []  # kept, so that no other tensor takes one's place

    def note(layer: Layer, taken: tuple[Tensor], given: Tensor) -> None:
        before = [earlier for output, earlier in outputs if output is taken[0]]
        passed.append((layer, before[0] if before else None))
        outputs.append((given, layer))

    hooks = [
        module.register_forward_hook(note)
        for module in network.modules()
        if isinstance(module, Layer)
    ]
    with torch.no_grad():
        network(image)
    remove(hooks)
    return passed


def undo(layer: nn.BatchNorm2d, before: nn.Conv2d, bias: Tensor) -> None:
    """Make a normalisation do nothing but add what had been folded into the layer before it."""
    if before.bias is not None:
        nn.init.zeros_(before.bias)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    with torch.no_grad():
        layer.running_mean.zero_()
        layer.running_var.fill_(1 - layer.eps)
        layer.weight.fill_(1.0)
        layer.bias.copy_(bias)


def remove(hooks: list[RemovableHandle]) -> None:
    """Take hooks off again."""
    for hook in hooks:
        hook.remove()
