"""What is counted of graded knees in every resample: what metrics are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kellgren.arrays import Float64Array, IntArray

Loss = Callable[[IntArray, Float64Array], Float64Array]
"""Of each knee: from true grades (N,) and probabilities (N, 5) to (N,) numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Tallies:
    """What was counted in R samples of the same knees; None, or empty, without probabilities."""

    confusion: Float64Array  # (R, 5, 5) knees, rows true grades
    bins: Float64Array | None  # (R, 15, 3), see reliability
    losses: Mapping[Loss, Float64Array]  # (R,) the mean over the knees of each loss
    areas: Float64Array | None  # (R, 6, 2) AUC, average precision of each grade and of grade >= 2
