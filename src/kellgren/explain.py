"""Where a member looked: class-activation maps from features and head weights, no gradients.

For a network that ends in global average pooling and one linear layer, the map of grade c is
``sum_k W[c, k] * features[k] / (h * w)``: it sums, with the bias, to the grade's logit, and its
positive part is what Grad-CAM shows for that layer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from kellgren.runtime import MemberOutput

Map = npt.NDArray[np.float32]


def activation_map(output: MemberOutput, grade: int) -> Map:
    """One member's map for one grade, in the orientation of the picture.

    Args:
        output: of the member.
        grade: 0..4.

    Returns:
        ``(h, w)`` float32 on the grid of the features; ``map.sum() + bias[grade]`` is the logit.
    """
    _, height, width = output.features.shape
    found = np.tensordot(output.head[grade], output.features, axes=1) / (height * width)
    oriented = found[:, ::-1] if output.mirrored else found
    return np.ascontiguousarray(oriented, dtype=np.float32)


def heat(found: Map, shape: tuple[int, int]) -> Map:
    """A map as it is shown: its positive part, 0..1, enlarged to ``shape`` = (height, width)."""
    positive = np.maximum(found, 0.0)
    peak = float(positive.max())
    scaled = positive / peak if peak > 0 else positive
    enlarged = Image.fromarray(scaled).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.clip(np.asarray(enlarged, dtype=np.float32), 0.0, 1.0)
