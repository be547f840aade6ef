"""Networks by name. Importing this package registers all of them."""

from __future__ import annotations

from kellgren.architectures import paper, trunks
from kellgren.architectures.member import Member
from kellgren.architectures.registry import ARCHITECTURES, Architecture, architecture, find

__all__ = ["ARCHITECTURES", "Architecture", "Member", "architecture", "find", "paper", "trunks"]
