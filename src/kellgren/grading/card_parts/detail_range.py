"""How fine the structure of the knees is that a bundle was measured on."""

from __future__ import annotations

from collections.abc import Sequence

from kellgren.grading.card_parts.part import Part

BEYOND = 0.003
"""Share of further knees of the same kind that lie below a range, and above it, at most."""
FEWEST_FOR_RANGE = 333
"""Knees below which there is no range: of fewer, even the extremes are passed more often."""
_DIGITS = 4
_LOWERED = "than in 99.7 % of the knees that the model was measured on: {}; certainty is lowered"
_COARSE = "less fine detail " + _LOWERED.format("perhaps blurred, enlarged or strongly compressed")
_GRAINY = "more fine detail " + _LOWERED.format("perhaps noise, sharpening or compression")


class DetailRange(Part):
    """Where the fine detail of held-out knees lies.

    Attributes:
        low: of `kellgren.imaging.integrity.fine_detail.fine_detail`; a knee below is beyond.
        high: likewise above.
        knees: how many were measured.
    """

    low: float
    high: float
    knees: int

    def beyond(self, detail: float) -> str:
        """What a reader should know of a knee with that fine detail; empty within the range."""
        if detail < self.low:
            return _COARSE
        return _GRAINY if detail > self.high else ""


def detail_range(details: Sequence[float]) -> DetailRange | None:
    """The range of knees; ``None`` where they are too few.

    Its ends are order statistics: a further knee of the same kind lies below with a probability of
    at most `BEYOND`, and so above.

    Args:
        details: fine detail of each knee.
    """
    rank = int(BEYOND * (len(details) + 1) + 1e-9)
    if rank < 1:
        return None
    ordered = sorted(details)
    low, high = round(ordered[rank - 1], _DIGITS), round(ordered[-rank], _DIGITS)
    return DetailRange(low=low, high=high, knees=len(details))
