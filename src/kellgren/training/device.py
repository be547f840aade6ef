"""Where to compute, and in which precision it pays."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from kellgren.grades import GRADE_COUNT
from kellgren.training.architectures import Architecture, find

COMPILE = "KELLGREN_COMPILE"
"""Environment variable: ``1`` compiles networks that learn on an accelerator."""


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

    @property
    def is_processor(self) -> bool:
        """Whether the host itself computes, so that reading a result waits for nothing."""
        return self.name == "cpu"

    def settle(self, network: nn.Module) -> None:
        """Get ready for the same shapes, thousands of times.

        A GPU's library tries its convolutions and keeps the fastest for each shape. Where the
        environment asks for it (`COMPILE`), the network's kernels are joined into fewer ones: that
        takes a minute for each architecture and size on a machine, some seconds from then on.

        Args:
            network: that learns; from here on it may be called in its compiled form, its weights
                and their names stay.
        """
        if self.is_processor:
            return
        torch.backends.cudnn.benchmark = True
        if os.environ.get(COMPILE) == "1":
            network.compile(dynamic=False)

    def __str__(self) -> str:
        return f"{self.name}, {'bf16' if self.bf16 else 'fp32'}"


def choose_device(precision: str, architecture: str) -> Device:
    """The GPU if there is one, and bf16 where it makes this network faster.

    On a CPU that multiplies bf16 in hardware, dense convolutions gain 2x to 3x; depthwise ones
    gain nothing, so a network that has them stays in fp32.

    Args:
        precision: ``auto``, ``fp32`` or ``bf16``.
        architecture: of the network to be trained. It is built only where it decides: on such a
            CPU, and once however many runs there are.

    Raises:
        InvalidRecipe: the architecture is not known.
    """
    source = find(architecture)
    if accelerator():
        return Device("cuda", precision != "fp32" and torch.cuda.is_bf16_supported())
    if precision != "auto":
        return Device("cpu", precision == "bf16")
    return Device("cpu", _cpu_multiplies_bf16() and not _is_depthwise(source))


def accelerator() -> str | None:
    """The name of the accelerator that there is, for what has no precision to choose."""
    return "cuda" if torch.cuda.is_available() else None


@cache
def _is_depthwise(source: Architecture) -> bool:
    return any(
        isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
        for layer in source.build(GRADE_COUNT).modules()
    )


def _cpu_multiplies_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
