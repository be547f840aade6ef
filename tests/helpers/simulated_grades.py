"""Grades and probabilities of simulated knees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kellgren.grading.voting import softmax

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def graded_knees(seed: int, knees: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, knees, p=[0.4, 0.2, 0.2, 0.15, 0.05])
    probabilities = rng.dirichlet(np.ones(5), knees) + 0.3 * np.eye(5)[truth]
    # Two decimals make many ties, as in a real table.
    probabilities = np.round(probabilities / probabilities.sum(axis=1, keepdims=True), 2).clip(0, 1)
    return truth, probabilities.argmax(axis=1), probabilities


def pairs_of(knees: int) -> list[str]:
    return [f"patient {knee // 2}" for knee in range(knees)]


def calibrated_knees(
    count: int, seed: int = 0, sharpness: float = 1.0
) -> tuple[Floats, Ints, list[str]]:
    """Distributions around a hidden position on the scale, labels drawn from them, two a patient.

    Args:
        count: of knees.
        seed: of the draw.
        sharpness: other than 1, what is told is surer or less sure than the labels are.
    """
    random = np.random.default_rng(seed)
    at = random.uniform(-0.5, 4.5, (count, 1))
    logits = -((np.arange(5) - at) ** 2) / 0.9
    labels = (softmax(logits).cumsum(axis=1) < random.random((count, 1))).sum(axis=1).clip(0, 4)
    return softmax(logits * sharpness), labels, [f"p{at // 2}" for at in range(count)]
