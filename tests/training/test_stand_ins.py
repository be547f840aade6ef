"""Heads of the stand-ins that `benchmarks/speed.py` and `eight_votes.py` measure."""

from __future__ import annotations

import numpy as np
import torch
from stand_ins import fit_head
from torch import nn


def _fitted(means: np.ndarray, logits: np.ndarray) -> tuple[nn.Linear, float]:
    head = nn.Linear(means.shape[1], logits.shape[1])
    return head, fit_head(head, means, logits)


def test_a_head_gives_the_logits_that_follow_from_the_features():
    chance = np.random.default_rng(0)
    means = chance.normal(3.0, 1.0, (60, 4))
    logits = means @ chance.normal(size=(4, 5)) + chance.normal(size=5)
    head, kept = _fitted(means, logits)
    with torch.no_grad():
        given = head(torch.from_numpy(means).float()).numpy()
    assert kept > 0.999
    np.testing.assert_allclose(given, logits, atol=0.02)


def test_what_a_head_keeps_is_judged_on_knees_left_out():
    """More features than knees give any logits of the knees that they are fitted to."""
    chance = np.random.default_rng(0)
    _, kept = _fitted(chance.normal(size=(40, 200)), chance.normal(size=(40, 5)))
    assert kept < 0.1
