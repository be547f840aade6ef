"""DINOv2's small vision transformer, its patch tokens laid back into a map."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kellgren.training.architectures.member import Member
from kellgren.training.architectures.registry import architecture
from kellgren.training.architectures.weights import WeightSource, from_timm
from kellgren.training.recipe import PATCHES

_TIMM = "vit_small_patch14_dinov2"
_TAG = "lvd142m"
_SHA256 = "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"  # of Meta's file
_GRID = 37  # patches a side of the 518 pixels that the positions were learnt at
_WIDTH = 384


def _split(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Keys of timm as ours: the class token takes its own position, the patches keep theirs."""
    if not {"pos_embed", "cls_token"} <= weights.keys():
        return weights
    renamed = {
        f"encoder.{key}" if key.startswith(("blocks.", "norm.")) else key: value
        for key, value in weights.items()
        if key not in ("pos_embed", "cls_token")
    }
    positions = weights["pos_embed"].float()
    renamed["encoder.cls_token"] = weights["cls_token"].float() + positions[:, :1]
    patches = positions[:, 1:].transpose(1, 2)
    side = round(patches.shape[2] ** 0.5)
    square = side * side == patches.shape[2]
    renamed["patch_embed.positions"] = patches.reshape(1, -1, side, side) if square else patches
    return renamed


@architecture(
    input_size=392,
    cam_layer="body.encoder",
    pretrained=WeightSource(
        "dinov2_vits14",
        "dinov2_vits14*.safetensors",
        from_timm(f"{_TIMM}.{_TAG}", sha256=_SHA256),
        adapt=_split,
        credit="DINOv2 ViT-S/14, Meta; Apache-2.0",
        learnt_from="LVD-142M",
    ),
)
def dinov2_vits14(grades: int) -> Member:
    """DINOv2 ViT-S/14: 384 channels at stride 14, 22.1 M parameters.

    Images may have any height and width that are multiples of 14. The map is made of the patch
    tokens after the last normalisation; the class token takes part in the attention alone.
    """
    import timm  # slow to import, and most recipes do not need it

    size = _GRID * PATCHES["dinov2_vits14"]
    source: Any = timm.create_model(_TIMM, num_classes=0, img_size=size)
    stages = {
        "patch_embed": _Patches(source.patch_embed.proj),
        "encoder": _Encoder(source.blocks, source.norm),
    }
    return Member(stages, body_from="encoder", channels=_WIDTH, grades=grades)


class _Patches(nn.Module):
    """Each patch as a vector, and where it lies: ``(N, 384, h, w)`` of ``(N, 3, 14 h, 14 w)``."""

    def __init__(self, proj: nn.Conv2d) -> None:
        super().__init__()
        self.proj = proj
        self.positions = nn.Parameter(torch.empty(1, _WIDTH, _GRID, _GRID))
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.proj(x)
        return patches + self._positions(patches.shape[2], patches.shape[3])

    def _positions(self, height: int, width: int) -> Tensor:
        """The learnt positions at another grid, as two products, which every runtime knows."""
        if (height, width) == (_GRID, _GRID):
            return self.positions
        device = self.positions.device
        with torch.autocast(device.type, enabled=False):
            rows = _resampling(int(height), device)
            columns = _resampling(int(width), device)
            return rows @ self.positions @ columns.T


@lru_cache(maxsize=16)
def _resampling(patches: int, device: torch.device) -> Tensor:
    """The matrix ``(patches, 37)`` that resamples a line of 37 values, bicubic and antialiased.

    Resampling is linear in either direction, so it can be learnt through at any size, and is
    exported without an operator that ONNX lacks.
    """
    with torch.inference_mode(False), torch.no_grad():
        lines = torch.eye(_GRID)[None, None]
        resampled = F.interpolate(lines, (patches, _GRID), mode="bicubic", antialias=True)
        return resampled[0, 0].to(device)


class _Encoder(nn.Module):
    """Attention between patches and the class token; the map of the patches, normalised."""

    def __init__(self, blocks: nn.Sequential, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.blocks = blocks
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        patches = x.flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), patches), 1)
        tokens = self.norm(self.blocks(tokens))
        laid_out: Tensor = tokens[:, 1:].transpose(1, 2).reshape(x.shape[0], -1, height, width)
        return laid_out
