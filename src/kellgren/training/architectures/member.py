"""The one shape every network of this package has: stem, body, global average, linear head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn


class Member(nn.Module):
    """A network that ends in global average pooling and one linear layer.

    That ending is what makes explanations free of gradients: in evaluation mode
    ``forward(x) == head(features(x).mean((2, 3)))``, so the class-activation map of a grade is the
    feature map weighted with that grade's row of ``head.weight``.

    Args:
        stages: the modules that images pass through, by name and in order; the last one returns
            activated features (N, channels, h, w), unless `last_activation` is given.
        body_from: name of the first stage of the body. The stages before it are the stem, which
            a recipe may freeze.
        channels: number of feature maps that the last stage returns.
        grades: number of classes.
        dropout: probability of dropping a pooled feature while training, 0..1.
        last_activation: of what the last stage returns, where Grad-CAM's layer lies before it;
            such a network is exported with those values beside its features.
    """

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        *,
        body_from: str,
        channels: int,
        grades: int,
        dropout: float = 0.0,
        last_activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential()
        self.body = nn.Sequential()
        part = self.stem
        for name, stage in stages.items():
            part = self.body if name == body_from else part
            part.add_module(name, stage)
        self.last_activation = last_activation
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, grades)
        self.stem_is_frozen = False

    def features(self, x: Tensor) -> Tensor:
        """Last feature map after its activation, (N, C, h, w), of images (N, 3, S, S)."""
        return self.activated(self.unactivated(x))

    def unactivated(self, x: Tensor) -> Tensor:
        """What the last stage returns, (N, C, h, w), of images (N, 3, S, S)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.stem_is_frozen):
            early = self.stem(x)
        late: Tensor = self.body(early)
        return late

    def activated(self, unactivated: Tensor) -> Tensor:
        """The features (N, C, h, w) that follow from `unactivated` (N, C, h, w)."""
        if self.last_activation is None:
            return unactivated
        features: Tensor = self.last_activation(unactivated)
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Logits (N, grades) of a feature map (N, C, h, w)."""
        logits: Tensor = self.head(self.dropout(features.mean((2, 3))))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, grades) of normalised images (N, 3, S, S)."""
        return self.classify(self.features(x))

    def freeze_stem(self) -> None:
        """Keep the stem as it is, weights and batch statistics alike, for good.

        Frozen, it runs without recording gradients, which is what makes training faster.
        """
        self.stem_is_frozen = True
        self.stem.requires_grad_(False)
        self.stem.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, except for a frozen stem."""
        super().train(mode)
        if self.stem_is_frozen:
            self.stem.eval()
        return self
