"""From members' opinions to one distribution over the grades.

Members are stacked along the first axis, ``(M, ..., 5)``. Hard, soft and mix voting are those of Pi
et al., Sci Rep 2023;13:22887; each rule's grade is the ``argmax`` of what it returns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kellgren.arrays import Distributions, FloatArray, GradeArray
from kellgren.grading.multinomial import fit_multinomial, shares

Stack = FloatArray | Sequence[FloatArray]
LEAST_SHARE = 1e-6
"""Smaller probabilities count as this one before a logarithm is taken."""
_STACK_SHRINKAGE = 0.01
_WEIGHT_STEPS = 500


def softmax(
    logits: FloatArray, temperature: float = 1.0, bias: Sequence[float] | float = 0.0
) -> Distributions:
    """Probabilities along the last axis; a temperature above 1 makes them less sure.

    Args:
        logits: ``(..., 5)``.
        temperature: divides the logits.
        bias: of each grade, added afterwards.
    """
    return shares(np.asarray(logits, dtype=np.float64) / temperature + np.asarray(bias))


def logs(probabilities: Stack) -> Distributions:
    """Their logarithms, none below that of `LEAST_SHARE`."""
    return np.asarray(np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST_SHARE)))


def hard_vote(members: Stack) -> Distributions:
    """The share of members that vote for each grade; a tie's ``argmax`` is its lowest grade."""
    stacked = np.asarray(members)
    votes = stacked.argmax(axis=-1)[..., None] == np.arange(stacked.shape[-1])
    return np.asarray(votes.mean(axis=0))


def soft_vote(members: Stack, weights: Sequence[float] | FloatArray | None = None) -> Distributions:
    """The mean of the members' distributions, or their sum by weight.

    Args:
        members: ``(M, ..., 5)`` distributions.
        weights: ``(M,)``, 0 or larger, summing to 1.
    """
    stacked = np.asarray(members, dtype=np.float64)
    if weights is None:
        return np.asarray(stacked.mean(axis=0))
    return np.asarray(np.tensordot(np.asarray(weights, np.float64), stacked, axes=1))


def mix_vote(members: Stack) -> Distributions:
    """The hard vote, and where its first place is tied, the soft vote over all five grades."""
    hard = hard_vote(members)
    tied = (hard == hard.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True) > 1
    return np.asarray(np.where(tied, soft_vote(members), hard))


def stacked_vote(
    members: Stack, weights: Sequence[float] | FloatArray, bias: Sequence[float] | FloatArray
) -> Distributions:
    """The multinomial model on log-probabilities: ``softmax(sum_m weights[m] log p_m + bias)``."""
    return softmax(np.tensordot(np.asarray(weights), logs(members), axes=1), 1.0, bias)  # type: ignore[arg-type]


def fit_weights(members: Stack, grades: GradeArray) -> Distributions:
    """The weights of a soft vote that make held-out grades most likely.

    A convex problem on the simplex; each step multiplies a member's weight by its mean share in
    the probability that the vote gives to the true grade (expectation and maximisation).

    Args:
        members: ``(M, N, 5)`` on knees that no member learnt from.
        grades: ``(N,)``.

    Returns:
        ``(M,)``, 0 or larger, summing to 1.
    """
    stacked = np.asarray(members, dtype=np.float64)
    likelihood = np.maximum(stacked[:, np.arange(len(grades)), grades], LEAST_SHARE)
    weights = np.full(len(stacked), 1.0 / len(stacked))
    for _ in range(_WEIGHT_STEPS):
        better = weights * (likelihood / (weights @ likelihood)).mean(axis=1)
        moved = float(np.abs(better - weights).max())
        weights = better / better.sum()
        if moved < 1e-6:
            break
    return weights


def fit_stack(
    members: Stack, grades: GradeArray, shrinkage: float = _STACK_SHRINKAGE
) -> tuple[Distributions, Distributions]:
    """Weights and biases of `stacked_vote`, drawn towards the members' geometric mean.

    Args:
        members: ``(M, N, 5)`` on knees that no member learnt from.
        grades: ``(N,)``.
        shrinkage: penalty on the squared distance from equal weights and no bias, relative to the
            mean loss.

    Returns:
        ``(M,)`` weights, of any sign and sum, and ``(5,)`` biases that sum to 0.
    """
    log_shares = logs(members)
    count, knees, grade_count = log_shares.shape
    each_grade = np.tile(np.eye(grade_count), (knees, 1, 1))
    design = np.concatenate([np.moveaxis(log_shares, 0, -1), each_grade], axis=2)
    prior = np.array([1.0 / count] * count + [0.0] * grade_count)
    fitted = fit_multinomial(design, grades, prior, np.full(len(prior), shrinkage))
    bias = fitted[count:]
    return fitted[:count], bias - bias.mean()
