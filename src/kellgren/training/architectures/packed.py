"""Whether weights were rounded to 8 bits before they came here, by the weights themselves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_STEPS = 127
_ROWS, _FEWEST = 8, 256
"""Rows looked at, and values a row needs: chance does not put 256 values on 255 steps."""
_OFF = 0.1  # of a step; float16 alone puts a value off by up to 0.06


def rounding_words(weights: Mapping[str, Tensor]) -> str:
    """Words for a model card: how the largest tensor was rounded; empty where it was not.

    A row that was stored as int8 with one scale holds only whole multiples of a step, its largest
    value being the 127th.

    Args:
        weights: by name, of any floating type.
    """
    tables = [t for t in weights.values() if t.ndim >= 2 and t.is_floating_point()]
    if not tables:
        return ""
    largest = max(tables, key=lambda table: table.numel())
    rows = largest.reshape(len(largest), -1)[:_ROWS].float()
    if rows.shape[1] < _FEWEST:
        return ""
    steps = rows.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / _STEPS
    off = (rows / steps - torch.round(rows / steps)).abs()
    return ", rounded to 8 bits with one scale a channel" if bool((off < _OFF).all()) else ""
