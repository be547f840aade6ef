"""The networks of the paper, by name."""

from __future__ import annotations

GRADES = 5


PAPER = (
    "densenet161",
    "efficientnet_b5",
    "efficientnet_v2_s",
    "regnet_y_8gf",
    "resnet101",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "shufflenet_v2_x2_0",
)
