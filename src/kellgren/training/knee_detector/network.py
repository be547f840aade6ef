"""The network that finds knees on a film, and its targets on a film it learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kellgren.training.knee_detector.synthetic_films import Film

STRIDE = 8
OUTPUTS = ("joint", "dx", "dy", "log_width", "cos", "sin", "inverted")
"""Channels of the network's map, each a value per cell of `STRIDE` pixels: logits for joint and
inverted; the centre's distance in cells; the logarithm of the width in cells; the angle."""

_WIDTHS = (16, 24, 48, 96, 128)
FEATURES = _WIDTHS[2]
"""Channels of the features that the map is made from."""


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.second(self.first(x))))


class LocaliserNetwork(nn.Module):
    """Down to a 32nd of the film, and up again to an eighth with what was seen on the way.

    Takes ``(N, 1, S, S)`` grey values 0..1 and returns the map ``(N, 7, S/8, S/8)``, see `OUTPUTS`,
    and the features ``(N, 48, S/8, S/8)`` it was made from.
    """

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = _WIDTHS
        self.near = nn.Sequential(_convolution(1, a, 2), _convolution(a, b, 2), _convolution(b, b))
        self.eighth = nn.Sequential(_convolution(b, c, 2), _Residual(c))
        self.sixteenth = nn.Sequential(_convolution(c, d, 2), _Residual(d))
        self.deepest = nn.Sequential(_convolution(d, e, 2), _Residual(e))
        self.whole = nn.Linear(e, e)
        self.up = nn.Sequential(nn.Conv2d(e, d, 1, bias=False), nn.BatchNorm2d(d))
        self.middle = _convolution(d, d)
        self.higher = nn.Sequential(nn.Conv2d(d, c, 1, bias=False), nn.BatchNorm2d(c))
        self.last = _convolution(c, c)
        self.head = nn.Conv2d(c, len(OUTPUTS), 1)
        usual = torch.zeros(len(OUTPUTS))
        usual[0], usual[3] = -4.0, math.log(12)  # most cells hold no joint
        self.head.bias = nn.Parameter(usual)

    def forward(self, film: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        eighth = self.eighth(self.near(film * 4 - 2))
        sixteenth = self.sixteenth(eighth)
        deepest = self.deepest(sixteenth)
        deepest = deepest + self.whole(deepest.mean((2, 3)))[:, :, None, None]
        middle = self.middle(F.relu(sixteenth + F.interpolate(self.up(deepest), scale_factor=2)))
        features = self.last(F.relu(eighth + F.interpolate(self.higher(middle), scale_factor=2)))
        return self.head(features), features


def targets(films: Sequence[Film], size: int) -> tuple[Tensor, Tensor]:
    """What the map should say.

    Returns:
        ``(N, 7, S/8, S/8)`` values and weights of each; the joint's own channel holds a bump of
        height 1 at each centre, the others count only close to one.
    """
    cells = size // STRIDE
    values = torch.zeros(len(films), len(OUTPUTS), cells, cells)
    weights = torch.zeros_like(values)
    weights[:, 0] = 1
    axis = torch.arange(cells, dtype=torch.float32) + 0.5
    for film, value, weight in zip(films, values, weights, strict=True):
        for knee in film.knees:
            width = knee.region.width / STRIDE
            dx = knee.region.centre[0] / STRIDE - axis[None, :].expand(cells, cells)
            dy = knee.region.centre[1] / STRIDE - axis[:, None].expand(cells, cells)
            spread = max(0.8, 0.07 * width)
            bump = torch.exp(-(dx**2 + dy**2) / (2 * spread**2))
            closer = bump > value[0]
            value[0] = torch.maximum(value[0], bump)
            turn = math.radians(knee.region.angle)
            pose = (math.log(width), math.cos(turn), math.sin(turn), float(film.inverted))
            here = closer & (bump > 0.3)
            for channel, what in enumerate((dx, dy, *pose), start=1):
                value[channel] = torch.where(here, torch.as_tensor(what), value[channel])
            counts = torch.where(here, bump, weight[1])
            weight[1:] = counts
    return values, weights


def loss(output: Tensor, value: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Each part of the loss, already weighed against the others.

    The joint's part is the focal loss for heat maps with soft bumps of Law & Deng (CornerNet,
    2018); distances and width are absolute errors, the angle's cosine and sine squared
    ones, so that a turn is not taken for noise; inversion is cross-entropy.
    """
    logit, bump = output[:, 0], value[:, 0]
    share = torch.sigmoid(logit)
    peak = (bump > 0.8).float()
    hit = peak * (1 - share) ** 2 * F.logsigmoid(logit)
    miss = (1 - peak) * (1 - bump) ** 4 * share**2 * F.logsigmoid(-logit)
    parts = {"joint": -(hit + miss).sum() / peak.sum().clamp(min=1)}
    near = weight[:, 1].sum().clamp(min=1e-6)
    offset = (output[:, 1:3] - value[:, 1:3]).abs() / torch.exp(value[:, 3:4])
    parts["place"] = 12 * (offset * weight[:, 1:3]).sum() / near
    parts["width"] = 4 * ((output[:, 3] - value[:, 3]).abs() * weight[:, 3]).sum() / near
    parts["angle"] = 3 * ((output[:, 4:6] - value[:, 4:6]) ** 2 * weight[:, 4:6]).sum() / near
    entropy = F.binary_cross_entropy_with_logits(
        output[:, 6], value[:, 6], weight[:, 6], reduction="sum"
    )
    parts["inverted"] = 0.5 * entropy / near
    return parts
