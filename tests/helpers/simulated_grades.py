"""Grades and probabilities of simulated knees."""

from __future__ import annotations

import numpy as np


def graded_knees(seed: int, knees: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, knees, p=[0.4, 0.2, 0.2, 0.15, 0.05])
    probabilities = rng.dirichlet(np.ones(5), knees) + 0.3 * np.eye(5)[truth]
    # Two decimals make many ties, as in a real table.
    probabilities = np.round(probabilities / probabilities.sum(axis=1, keepdims=True), 2).clip(0, 1)
    return truth, probabilities.argmax(axis=1), probabilities


def pairs_of(knees: int) -> list[str]:
    return [f"patient {knee // 2}" for knee in range(knees)]
