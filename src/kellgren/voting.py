"""From members' opinions to one distribution over the grades."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def softmax(
    logits: Floats, temperature: float = 1.0, bias: Sequence[float] | float = 0.0
) -> npt.NDArray[np.float64]:
    """Probabilities along the last axis; a temperature above 1 makes them less sure.

    Args:
        logits: ``(..., 5)``.
        temperature: divides the logits.
        bias: of each grade, added afterwards.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature + np.asarray(bias)
    shifted = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def soft_vote(probabilities: Sequence[Floats]) -> npt.NDArray[np.float64]:
    """The mean of the members' distributions: ``(..., 5)`` each, and so is the result."""
    return np.asarray(np.mean(np.stack([np.asarray(p) for p in probabilities]), axis=0))
