"""A card gets its grade sets and the rule of naming, fitted on the bundle's knees out of fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kellgren.grading.calibration import CERTAINTY_WORDS, certainty
from kellgren.grading.card import FORMAT, Card
from kellgren.grading.grade_sets import LEVELS, can_be_measured, fit_grade_sets
from kellgren.grading.naming import HeldOut, fit_naming


def with_sets(
    card: Card, alone: HeldOut, paired: HeldOut | None, levels: Sequence[float] = LEVELS
) -> Card:
    """The card with sets and rule, or without them where the knees are too few to measure any.

    Args:
        card: of a bundle.
        alone: knees that no member learnt from, each read alone.
        paired: the same, with the contralateral knee; ``None`` where the bundle does not use it.
        levels: of the sets.
    """
    if not can_be_measured(alone.patients):
        return card.model_copy(update={"format": FORMAT})
    fitted = [
        None
        if knees is None
        else fit_grade_sets(knees.probabilities, knees.labels, knees.patients, levels)
        for knees in (alone, paired)
    ]
    scores = {**card.out_of_fold, **certainty_shares(alone)}
    for replaced in ("likely_coverage", "likely_mean_length"):
        scores.pop(replaced, None)
    return card.model_copy(
        update={
            "format": FORMAT,
            "grade_sets": fitted[0],
            "grade_sets_paired": fitted[1],
            "naming": fit_naming(alone),
            "out_of_fold": scores,
        }
    )


def certainty_shares(knees: HeldOut) -> dict[str, dict[str, dict[str, int | float | None]]]:
    """How many knees bear each word for certainty, and the share of right grades among them."""
    words = np.array([certainty(row) for row in knees.probabilities])
    return {
        "certainty": {
            word: {
                "knees": int((words == word).sum()),
                "accuracy": round(float(knees.right[words == word].mean()), 4)
                if (words == word).any()
                else None,
            }
            for word, _ in CERTAINTY_WORDS
        }
    }
