"""Class-activation maps from features and head weights, no gradients.

For a network that ends in global average pooling and one linear layer, the map of grade c is
``sum_k W[c, k] * features[k] / (h * w)``: it sums, with the bias, to the grade's logit, and its
positive part is what Grad-CAM shows for that layer. The map of an ensemble is the members' mean by
weight, of activations and never of colours, on the finest of their grids.

Two options follow the paper's figures. Grad-CAM of a layer before the network's last activation
(DenseNet's) weighs other values, which do not sum to the logit. Smoothing averages the maps of six
looks: the knee and its mirror image, each with the input multiplied by three factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kellgren.arrays import Float32Array, FloatArray
from kellgren.grading.runtime import MemberOutput

SMOOTHING_FACTORS = (0.9, 1.0, 1.1)  # the grad-cam package's


@dataclass(frozen=True, slots=True)
class MapStyle:
    """Which maps are drawn; without options those that sum, with the bias, to the logit.

    Attributes:
        smooth: average over the knee and its mirror image, each with the networks' input
            multiplied by 0.9, 1 and 1.1, as the grad-cam package does.
        grad_cam: Grad-CAM of each network's own layer, also where that lies before the last
            activation (DenseNet's). Those maps do not sum to the logit.
    """

    smooth: bool = False
    grad_cam: bool = False

    def __str__(self) -> str:
        method = "Grad-CAM" if self.grad_cam else "class-activation mapping"
        return f"{method}, smoothed" if self.smooth else method


def activation_map(output: MemberOutput, grade: int, *, grad_cam: bool = False) -> Float32Array:
    """One member's map for one grade, in the orientation of the picture.

    Args:
        output: of the member.
        grade: 0..4.
        grad_cam: Grad-CAM of the network's Grad-CAM layer also where that lies before the last
            activation; elsewhere both maps are the same.

    Returns:
        ``(h, w)`` float32 on the grid of the features; ``map.sum() + bias[grade]`` is the logit,
        save where ``grad_cam`` makes a difference.
    """
    return np.asarray(activation_maps(output, grad_cam=grad_cam)[grade])


def activation_maps(output: MemberOutput, *, grad_cam: bool = False) -> Float32Array:
    """``(5, h, w)``: the `activation_map` of every grade."""
    features = output.features
    if grad_cam and output.grad_cam_features is not None:
        features = output.grad_cam_features
    _, height, width = features.shape
    evidence = np.tensordot(output.head, features, axes=1) / (height * width)
    oriented = evidence[..., ::-1] if output.mirrored else evidence
    return np.ascontiguousarray(oriented, dtype=np.float32)


def ensemble_maps(
    outputs: Sequence[MemberOutput], weights: Sequence[float], *, grad_cam: bool = False
) -> Float32Array:
    """The members' maps for every grade, brought to one grid and added by weight.

    Args:
        outputs: of the M members.
        weights: ``(M,)``, weights of their maps.
        grad_cam: see `activation_map`.

    Returns:
        ``(5, h, w)`` float32 on the finest grid. Without ``grad_cam``, a grade's map sums, with the
        biases by weight, to the members' logits by weight.
    """
    height = max(output.features.shape[1] for output in outputs)
    width = max(output.features.shape[2] for output in outputs)
    total = np.zeros((len(outputs[0].bias), height, width))
    for output, weight in zip(outputs, weights, strict=True):
        maps = activation_maps(output, grad_cam=grad_cam)
        total += weight * regridded(maps, (height, width))
    return total.astype(np.float32)


def regridded(evidence: Float32Array, shape: tuple[int, int]) -> FloatArray:
    """A map, or each of a stack, on another grid over the same picture; its sum stays.

    Each cell's evidence is spread evenly over its area, and every new cell gathers what falls on
    it.
    """
    grids = zip(evidence.shape[-2:], shape, strict=True)
    down, across = (_overlaps(old, new) for old, new in grids)
    return np.asarray(down @ evidence @ across.T)


def _overlaps(old: int, new: int) -> FloatArray:
    """``(new, old)`` the share of each old cell that lies in each new one; columns sum to 1."""
    start, end = np.arange(new)[:, None] / new, np.arange(1, new + 1)[:, None] / new
    from_, to = np.arange(old) / old, np.arange(1, old + 1) / old
    return np.asarray(np.maximum(np.minimum(end, to) - np.maximum(start, from_), 0.0) * old)


def heat(evidence: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """A map as it is shown: its positive part, 0..1, enlarged to ``shape`` = (height, width)."""
    positive = np.maximum(evidence, 0.0)
    peak = float(positive.max())
    scaled = positive / peak if peak > 0 else positive
    enlarged = Image.fromarray(scaled).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.clip(np.asarray(enlarged, dtype=np.float32), 0.0, 1.0)
