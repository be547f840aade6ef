"""How far from a knee's edges lines may belong to something else, in shares of its width."""

from __future__ import annotations

BESIDE = 0.15
"""How far a knee's square reaches into what is beside it on a film."""
OUTER = 0.1
"""Where collimators, boards and masked parts end."""
