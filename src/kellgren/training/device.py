"""Where to compute, and in which precision it pays."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Device:
    """A processor and a precision.

    Attributes:
        name: ``cpu`` or ``cuda``.
        bf16: whether layers compute in bfloat16; weights stay float32 all the same.
    """

    name: str
    bf16: bool

    def autocast(self) -> AbstractContextManager[object]:
        """A context in which layers compute in this precision."""
        if not self.bf16:
            return nullcontext()
        return torch.autocast(self.name, torch.bfloat16)

    def __str__(self) -> str:
        return f"{self.name}, {'bf16' if self.bf16 else 'fp32'}"


def choose_device(precision: str, network: nn.Module) -> Device:
    """The GPU if there is one, and bf16 where it makes this network faster.

    On a CPU that multiplies bf16 in hardware, dense convolutions gain 2x to 3x; depthwise ones
    gain nothing, so a network that has them stays in fp32.

    Args:
        precision: ``auto``, ``fp32`` or ``bf16``.
        network: to be trained.
    """
    if torch.cuda.is_available():
        return Device("cuda", precision != "fp32" and torch.cuda.is_bf16_supported())
    depthwise = any(
        isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
        for layer in network.modules()
    )
    helps = _cpu_multiplies_bf16() and not depthwise
    return Device("cpu", precision == "bf16" or (precision == "auto" and helps))


def _cpu_multiplies_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
