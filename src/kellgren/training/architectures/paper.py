"""The eight members of Pi et al. 2023, each at the input size that the authors chose for it."""

from __future__ import annotations

from torch import nn
from torchvision.models import get_model

from kellgren.training.architectures.member import Member
from kellgren.training.architectures.registry import architecture
from kellgren.training.architectures.weights import WeightSource, from_torchvision


def _weights(name: str, *containers: str) -> WeightSource:
    return WeightSource(name, f"{name}*.safetensors", from_torchvision(name), containers)


@architecture(
    input_size=456, cam_layer="body.norm5", pretrained=_weights("densenet161", "features")
)
def densenet161(grades: int) -> Member:
    """DenseNet-161: 2208 channels at stride 32; torchvision activates them outside its stages."""
    return Member(
        _stages("densenet161", "features"),
        body_from="denseblock2",
        channels=2208,
        grades=grades,
        last_activation=nn.ReLU(),
    )


@architecture(
    input_size=456, cam_layer="body.8", pretrained=_weights("efficientnet_b5", "features")
)
def efficientnet_b5(grades: int) -> Member:
    """EfficientNet-B5: 2048 channels at stride 32."""
    stages = _stages("efficientnet_b5", "features")
    return Member(stages, body_from="4", channels=2048, grades=grades, dropout=0.4)


@architecture(
    input_size=384, cam_layer="body.7", pretrained=_weights("efficientnet_v2_s", "features")
)
def efficientnet_v2_s(grades: int) -> Member:
    """EfficientNetV2-S: 1280 channels at stride 32."""
    stages = _stages("efficientnet_v2_s", "features")
    return Member(stages, body_from="4", channels=1280, grades=grades, dropout=0.2)


@architecture(
    input_size=448, cam_layer="body.block4", pretrained=_weights("regnet_y_8gf", "trunk_output")
)
def regnet_y_8gf(grades: int) -> Member:
    """RegNetY-8GF: 2016 channels at stride 32."""
    stages = _stages("regnet_y_8gf", "trunk_output")
    return Member(stages, body_from="block2", channels=2016, grades=grades)


@architecture(input_size=456, cam_layer="body.layer4.2", pretrained=_weights("resnet101"))
def resnet101(grades: int) -> Member:
    """ResNet-101: 2048 channels at stride 32."""
    return Member(_stages("resnet101"), body_from="layer2", channels=2048, grades=grades)


@architecture(input_size=512, cam_layer="body.layer4.2", pretrained=_weights("resnext50_32x4d"))
def resnext50_32x4d(grades: int) -> Member:
    """ResNeXt-50 32x4d: 2048 channels at stride 32."""
    return Member(_stages("resnext50_32x4d"), body_from="layer2", channels=2048, grades=grades)


@architecture(input_size=456, cam_layer="body.layer4.2", pretrained=_weights("wide_resnet50_2"))
def wide_resnet50_2(grades: int) -> Member:
    """Wide ResNet-50-2: 2048 channels at stride 32."""
    return Member(_stages("wide_resnet50_2"), body_from="layer2", channels=2048, grades=grades)


@architecture(input_size=512, cam_layer="body.conv5", pretrained=_weights("shufflenet_v2_x2_0"))
def shufflenet_v2_x2_0(grades: int) -> Member:
    """ShuffleNetV2 x2.0: 2048 channels at stride 32."""
    return Member(_stages("shufflenet_v2_x2_0"), body_from="stage3", channels=2048, grades=grades)


_ENDINGS = ("avgpool", "fc", "classifier")


def _stages(name: str, container: str = "") -> dict[str, nn.Module]:
    """Stages of torchvision's network by name, in order; the container's become stages too."""
    stages: dict[str, nn.Module] = {}
    for stage_name, stage in get_model(name, weights=None).named_children():
        if stage_name == container:
            stages |= dict(stage.named_children())
        elif stage_name not in _ENDINGS:
            stages[stage_name] = stage
    return stages
