"""Networks by name. Importing this package registers all of them."""

from __future__ import annotations

from kellgren.training.architectures import paper, residual_v2, trunks, vision_transformer
from kellgren.training.architectures.member import Member
from kellgren.training.architectures.registry import ARCHITECTURES, Architecture, architecture, find

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Member",
    "architecture",
    "find",
    "paper",
    "residual_v2",
    "trunks",
    "vision_transformer",
]
