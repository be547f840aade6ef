"""Knees read by a made model and a made reader, whose thresholds lie elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from kellgren.arrays import Distributions, GradeArray


@dataclass(frozen=True)
class MadeKnees:
    """Two knees a patient, what the model says of them, and the local reader's grades."""

    probabilities: Distributions  # (N, 5)
    grades: GradeArray  # (N,)
    patients: tuple[str, ...]


def _chance(odds: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-odds))


@pytest.fixture(scope="session")
def made() -> Callable[..., MadeKnees]:
    """Knees whose severity lies on the scale of log-odds; the reader's thresholds are moved."""

    def make(count: int, move: float = 0.0, seed: int = 0) -> MadeKnees:
        rng = np.random.default_rng(seed)
        patient = np.arange(count) // 2
        severity = rng.normal(0, 2.0, count) + rng.normal(0, 1.0, count // 2 + 1)[patient]
        thresholds = np.array([-1.0, 0.5, 2.0, 4.0])
        above = _chance(severity[:, None] - thresholds)
        edge = np.ones((count, 1))
        probabilities = np.hstack([edge, above]) - np.hstack([above, 0 * edge])
        noisy = severity + rng.logistic(0, 1.0, count)
        grades = (noisy[:, None] > thresholds + move).sum(axis=1)
        return MadeKnees(probabilities, grades, tuple(f"p{number}" for number in patient))

    return make
