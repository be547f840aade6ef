"""Trunks whose ImageNet weights can be had as small safetensors files, cut where grading needs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.inception import (
    BasicConv2d,
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
)

from kellgren.training.architectures.member import Member
from kellgren.training.architectures.registry import HALF, architecture
from kellgren.training.architectures.weights import WeightSource, from_timm, from_torchvision


@architecture(
    input_size=288,
    cam_layer="body.Mixed_7a",
    mean=HALF,
    std=HALF,
    pretrained=WeightSource(
        "inception_v3_mixed7a",
        "inception_v3*.safetensors",
        from_torchvision("inception_v3"),
        credit="Inception-v3, Google; Apache-2.0",
    ),
)
def inception_v3_mixed7a(grades: int) -> Member:
    """Inception-v3 up to and including Mixed_7a: 1280 channels at stride 32, 10.7 M parameters."""
    stages = {
        "Conv2d_1a_3x3": BasicConv2d(3, 32, kernel_size=3, stride=2),
        "Conv2d_2a_3x3": BasicConv2d(32, 32, kernel_size=3),
        "Conv2d_2b_3x3": BasicConv2d(32, 64, kernel_size=3, padding=1),
        "maxpool1": nn.MaxPool2d(kernel_size=3, stride=2),
        "Conv2d_3b_1x1": BasicConv2d(64, 80, kernel_size=1),
        "Conv2d_4a_3x3": BasicConv2d(80, 192, kernel_size=3),
        "maxpool2": nn.MaxPool2d(kernel_size=3, stride=2),
        "Mixed_5b": _FineInception(192, pool_features=32),
        "Mixed_5c": _FineInception(256, pool_features=64),
        "Mixed_5d": _FineInception(288, pool_features=64),
        "Mixed_6a": InceptionB(288),
        "Mixed_6b": _WideInception(768, channels_7x7=128),
        "Mixed_6c": _WideInception(768, channels_7x7=160),
        "Mixed_6d": _WideInception(768, channels_7x7=160),
        "Mixed_6e": _WideInception(768, channels_7x7=192),
        "Mixed_7a": InceptionD(768),
    }
    return Member(stages, body_from="Mixed_5b", channels=1280, grades=grades, dropout=0.2)


@architecture(
    input_size=288,
    cam_layer="body.post",
    pretrained=WeightSource(
        "resnet50_v2_stage3", "resnet50_v2*.safetensors", containers=("stages",)
    ),
)
def resnet50_v2_stage3(grades: int) -> Member:
    """ResNet-50 v2 (pre-activation) up to stage 3: 1024 channels at stride 16, 8.5 M parameters."""
    stages = {
        "bn0": nn.BatchNorm2d(3),
        "conv0": nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(64),
        "relu": nn.ReLU(),
        "pool": nn.MaxPool2d(3, stride=2, padding=1),
        "0": _residual_stage(3, 64, 256, stride=1),
        "1": _residual_stage(4, 256, 512, stride=2),
        "2": _residual_stage(6, 512, 1024, stride=2),
        "post": nn.BatchNorm2d(1024),
        "post_relu": nn.ReLU(),
    }
    return Member(stages, body_from="1", channels=1024, grades=grades, dropout=0.2)


@architecture(
    input_size=380,
    cam_layer="body.bn2",
    pretrained=WeightSource(
        "efficientnet_b4",
        "tf_efficientnet_b4*.safetensors",
        from_timm("tf_efficientnet_b4.ns_jft_in1k"),
        containers=("blocks",),
        credit="EfficientNet-B4, Google; Apache-2.0",
    ),
)
def efficientnet_b4(grades: int) -> Member:
    """EfficientNet-B4: 1792 channels at stride 32, 17.5 M parameters."""
    return _efficientnet("tf_efficientnet_b4", channels=1792, grades=grades, dropout=0.4)


@architecture(
    input_size=260,
    cam_layer="body.bn2",
    mean=HALF,
    std=HALF,
    pretrained=WeightSource(
        "efficientnet_lite2",
        "tf_efficientnet_lite2*.safetensors",
        from_timm("tf_efficientnet_lite2.in1k"),
        containers=("blocks",),
        credit="EfficientNet-Lite2, Google; Apache-2.0",
    ),
)
def efficientnet_lite2(grades: int) -> Member:
    """EfficientNet-Lite2: 1280 channels at stride 32, 4.8 M parameters."""
    return _efficientnet("tf_efficientnet_lite2", channels=1280, grades=grades, dropout=0.3)


@architecture(
    input_size=384,
    cam_layer="body.act4",
    mean=HALF,
    std=HALF,
    pretrained=WeightSource(
        "xception",
        "xception*.safetensors",
        from_timm("legacy_xception.tf_in1k"),
        credit="Xception, Keras Applications; MIT",
    ),
)
def xception(grades: int) -> Member:
    """Xception: 2048 channels at stride 32, 20.8 M parameters; the stem ends at stride 8."""
    import timm  # slow to import, and most recipes do not need it

    source = timm.create_model("legacy_xception", num_classes=0)
    stages = {
        name: stage for name, stage in source.named_children() if name not in ("global_pool", "fc")
    }
    return Member(stages, body_from="block3", channels=2048, grades=grades, dropout=0.2)


def _efficientnet(name: str, *, channels: int, grades: int, dropout: float) -> Member:
    """EfficientNet of timm under that name; the stem ends with the third block, at stride 8."""
    import timm  # slow to import, and most recipes do not need it

    source = dict(timm.create_model(name, num_classes=0).named_children())
    stages = {
        "conv_stem": source["conv_stem"],
        "bn1": source["bn1"],
        **dict(source["blocks"].named_children()),
        "conv_head": source["conv_head"],
        "bn2": source["bn2"],
    }
    return Member(stages, body_from="3", channels=channels, grades=grades, dropout=dropout)


class _FineInception(InceptionA):  # type: ignore[misc]
    """torchvision's first block, averaging as the network did when its weights were trained."""

    def forward(self, x: Tensor) -> Tensor:
        fine = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(_neighbourhood_mean(x))
        return torch.cat((self.branch1x1(x), fine, double, pooled), 1)


class _WideInception(InceptionC):  # type: ignore[misc]
    """torchvision's 7x7 block, averaging as the network did when its weights were trained."""

    def forward(self, x: Tensor) -> Tensor:
        wide = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(_neighbourhood_mean(x))
        return torch.cat((self.branch1x1(x), wide, double, pooled), 1)


def _neighbourhood_mean(x: Tensor) -> Tensor:
    """Mean over 3x3 pixels of the map alone; torchvision counts the padding's zeros too."""
    return F.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)


class _Bottleneck(nn.Module):
    """Pre-activation residual unit: normalise, activate, then convolve; the sum stays raw."""

    def __init__(self, incoming: int, outgoing: int, stride: int) -> None:
        super().__init__()
        width = outgoing // 4
        self.bn1 = nn.BatchNorm2d(incoming)
        self.conv1 = nn.Conv2d(incoming, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outgoing, 1, bias=False)
        self.down = (
            nn.Conv2d(incoming, outgoing, 1, stride=stride, bias=False)
            if incoming != outgoing
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        shortcut = x if self.down is None else self.down(active)
        inner = self.conv1(active)
        inner = self.conv2(F.relu(self.bn2(inner)))
        inner = self.conv3(F.relu(self.bn3(inner)))
        total: Tensor = shortcut + inner
        return total


def _residual_stage(units: int, incoming: int, outgoing: int, *, stride: int) -> nn.Sequential:
    """Units in a row; the first one changes the width and the resolution."""
    first = _Bottleneck(incoming, outgoing, stride)
    return nn.Sequential(first, *(_Bottleneck(outgoing, outgoing, 1) for _ in range(units - 1)))
