"""Members of known quality that vote on simulated knees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kellgren.grading.voting import (
    softmax,
)

Floats = npt.NDArray[np.float64]


def simulated(members: int, knees: int, seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Members of falling quality: the true grade's bump on a scale, blurred by each one's noise."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, knees, p=[0.4, 0.18, 0.26, 0.13, 0.03])
    seen = truth + rng.normal(0, 0.5, knees)
    actual = [
        softmax(
            -1.5 * (seen[:, None] + rng.normal(0, 0.3 + 0.3 * m, (knees, 1)) - np.arange(5)) ** 2
        )
        for m in range(members)
    ]
    return np.stack(actual), truth
