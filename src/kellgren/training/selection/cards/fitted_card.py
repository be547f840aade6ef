"""A card gets its grade sets and the rule of naming, fitted on the bundle's knees out of fold."""

from __future__ import annotations

from collections.abc import Sequence

from kellgren.grading.card import FORMAT, Card
from kellgren.grading.card_parts.detail_range import DetailRange
from kellgren.grading.grade_sets import LEVELS, can_be_measured, fit_grade_sets
from kellgren.grading.naming import HeldOut, certainty_shares, fit_naming


def with_sets(
    card: Card,
    alone: HeldOut,
    paired: HeldOut | None,
    levels: Sequence[float] = LEVELS,
    *,
    detail: DetailRange | None = None,
) -> Card:
    """The card with sets and rule, or without them where the knees are too few to measure any.

    Args:
        card: of a bundle.
        alone: knees that no member learnt from, each read alone.
        paired: the same, with the contralateral knee; ``None`` where the bundle does not use it.
        levels: of the sets.
        detail: of the same knees.
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
            "detail": detail,
            "out_of_fold": scores,
        }
    )
