"""ResNet-101 v2 as TF-slim built it, its folded batch normalisations unfolded again."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kellgren.training.architectures.member import Member
from kellgren.training.architectures.registry import HALF, architecture
from kellgren.training.architectures.weights import WeightSource

_EPS = 1e-5  # of nn.BatchNorm2d


def _unfolded(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Keys and values of the folded file as those of batch normalisations that compute the same.

    They count on a mean of 0 and a variance of 1: before training, what they get from knees must
    be measured (`Architecture.measured`), or the first step would normalise it anew.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in weights.items():
        after_conv = re.fullmatch(r"(blocks\.\d+\.\d+)\.conv([12])\.bias", key)
        name = f"{after_conv[1]}.norm{after_conv[2]}.bias" if after_conv else key
        renamed[name] = value
        if after_conv:
            renamed[name.replace(".bias", ".weight")] = torch.ones_like(value)
    for name in [name for name in renamed if re.search(r"(^|\.)(preact|norm\d?)\.bias$", name)]:
        blank = torch.zeros_like(renamed[name], dtype=torch.float32)
        renamed[name.replace(".bias", ".running_mean")] = blank
        renamed[name.replace(".bias", ".running_var")] = blank + (1 - _EPS)
    return renamed


@architecture(
    input_size=384,
    cam_layer="body.norm",
    mean=HALF,
    std=HALF,
    measured=True,
    pretrained=WeightSource(
        "resnet101_v2_block3",
        "resnet101_v2*.safetensors",
        containers=("blocks",),
        adapt=_unfolded,
        credit="ResNet-101 v2, TF-slim; Apache-2.0",
    ),
)
def resnet101_v2_block3(grades: int) -> Member:
    """ResNet-101 v2 up to block 3: 1024 channels at stride 32, 27.6 M parameters.

    Not the network that timm calls ``resnetv2_101``: in TF-slim's the last unit of a block
    strides, not the first, and there is no weight standardisation.
    """
    stages = {
        "conv1": nn.Conv2d(3, 64, 7, stride=2, padding=3),
        "pool": _SamePool(),
        "0": _block(3, 64, 64),
        "1": _block(4, 256, 128),
        "2": _block(23, 512, 256),
        "norm": nn.BatchNorm2d(1024, eps=_EPS),
        "relu": nn.ReLU(),
    }
    return Member(stages, body_from="1", channels=1024, grades=grades, dropout=0.2)


class _SamePool(nn.Module):
    """3x3 maximum at stride 2, padded as TensorFlow does: right and below if the side is even."""

    def forward(self, x: Tensor) -> Tensor:
        odd = (int(x.shape[2]) % 2, int(x.shape[3]) % 2)
        return F.max_pool2d(x, 3, stride=2, padding=odd, ceil_mode=True)


class _Unit(nn.Module):
    """Pre-activation bottleneck: normalise, activate, then convolve; the sum stays raw."""

    def __init__(self, incoming: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        outgoing = 4 * width
        self.preact = nn.BatchNorm2d(incoming, eps=_EPS)
        self.shortcut = (
            nn.Conv2d(incoming, outgoing, 1, stride=stride) if incoming != outgoing else None
        )
        self.conv1 = nn.Conv2d(incoming, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width, eps=_EPS)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width, eps=_EPS)
        self.conv3 = nn.Conv2d(width, outgoing, 1)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.preact(x))
        inner = F.relu(self.norm1(self.conv1(active)))
        inner = self.conv3(F.relu(self.norm2(self.conv2(inner))))
        passed = x[:, :, :: self.stride, :: self.stride]
        total: Tensor = inner + (passed if self.shortcut is None else self.shortcut(active))
        return total


def _block(units: int, incoming: int, width: int) -> nn.Sequential:
    """Units in a row: the first one changes the width, the last one halves the resolution."""
    return nn.Sequential(
        *(
            _Unit(incoming if number == 0 else 4 * width, width, 2 if number == units - 1 else 1)
            for number in range(units)
        )
    )
