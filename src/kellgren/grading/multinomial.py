"""A small multinomial model, fitted by Newton's method towards a prior: arrays in, arrays out."""

from __future__ import annotations

import numpy as np

from kellgren.arrays import Float64Array, GradeArray

_MOST_STEPS, _SMALLEST_STEP, _MOST_HALVINGS = 50, 1e-9, 20


def shares(scores: Float64Array) -> Float64Array:
    """Probabilities of ``(..., 5)`` scores along the last axis."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def fit_multinomial(
    design: Float64Array, grades: GradeArray, prior: Float64Array, penalty: Float64Array
) -> Float64Array:
    """The parameters that make grades most likely, drawn towards a prior.

    The score of grade g of knee n is ``design[n, g] @ parameters`` (a conditional logit). What is
    minimised is the mean of ``-log probability``, and ``penalty / 2 * (parameters - prior)**2`` of
    every parameter; it is convex, and a step that would raise it is halved.

    Args:
        design: ``(N, 5, K)``.
        grades: ``(N,)``.
        prior: ``(K,)``, where the search begins.
        penalty: ``(K,)``, 0 or larger. Where the data leave a direction open, it must not be 0.

    Returns:
        ``(K,)``.
    """
    knees, count, _ = design.shape
    rows, label = np.arange(knees), np.eye(count)[grades]

    def loss(parameters: Float64Array) -> float:
        likelihood = shares(design @ parameters)[rows, grades]
        pull = penalty @ (parameters - prior) ** 2 / 2
        return float(pull - np.log(np.maximum(likelihood, 1e-300)).mean())

    fitted = np.array(prior, dtype=np.float64)
    now = loss(fitted)
    for _ in range(_MOST_STEPS):
        share = shares(design @ fitted)
        slope = np.tensordot(share - label, design, 2) / knees + penalty * (fitted - prior)
        weighted = share[:, :, None] * design
        centre = weighted.sum(axis=1)
        spread = np.tensordot(weighted, design, axes=((0, 1), (0, 1)))
        curve = (spread - centre.T @ centre) / knees + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        for _ in range(_MOST_HALVINGS):
            then = loss(fitted - step)
            if then <= now:
                fitted, now = fitted - step, then
                break
            step = step / 2
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    return fitted
