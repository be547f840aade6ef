"""What sets, named grades and certainty were worth on held-out knees, and grades elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from kellgren.grading.bundle import Card
from kellgren.grading.judgement import set_name
from kellgren.joint_space.telling.space_words import space_words
from kellgren.reading_schema import GradedRow

_KNEES_OF_A_FILM = 2
_KNEES = {"L": "left knee", "R": "right knee", "": "knee of unknown side"}


def meanings(graded: Sequence[GradedRow]) -> list[str]:
    """What set and certainty are worth, as measured; nothing where none measured that."""
    sets = {row.grade_set.level: row.grade_set.coverage for row in graded}
    lines = [
        f"{set_name(level)}: holds the label of {100 * coverage:.1f} % of held-out knees"
        for level, coverage in sorted(sets.items())
        if coverage is not None
    ]
    if any(row.right_share is not None for row in graded):
        lines.append("certainty: with the share of held-out knees of that word graded right")
    return lines


def joint_spaces(graded: Sequence[GradedRow]) -> list[str]:
    """Widths of the joint space of one film's knees, a line each; of more they are in tables."""
    if len(graded) > _KNEES_OF_A_FILM:
        return []
    return [
        f"{_KNEES[row.side]}: {words}" if len(graded) > 1 else words
        for row in graded
        if row.joint_space is not None
        for words in space_words(row.joint_space.space)
    ]


def promises(card: Card) -> list[tuple[str, str]]:
    """How grade sets, named grades and words for certainty held, cross-fitted by patient."""
    rows = []
    for one in () if card.grade_sets is None else card.grade_sets.levels:
        of_grades = ", ".join("-" if it is None else f"{it:.3f}" for it in one.measured.per_grade)
        rows.append(
            (
                set_name(one.level),
                f"holds the label of {one.measured.coverage:.3f} of held-out knees (by grade "
                f"{of_grades}), {one.measured.mean_size:.2f} grades on average",
            )
        )
    if card.naming is not None:
        held = card.naming.measured
        rows.append(
            (
                "named",
                f"{1 - held.unnamed:.1%} of held-out knees, {held.right_named or 0:.3f} of them "
                f"right; of all {held.right:.3f}, of those not named {held.right_unnamed or 0:.3f}",
            )
        )
    if card.detail is not None:
        within = f"{card.detail.low:.2f} to {card.detail.high:.2f}"
        told_of = f"of {card.detail.knees} knees: beyond it certainty is lowered"
        rows.append(("fine detail", f"{within} {told_of}"))
    words = {word: card.right_share(word) for word in ("high", "moderate", "low")}
    told = ", ".join(f"{word} {share:.3f}" for word, share in words.items() if share is not None)
    return [*rows, ("certainty", f"share of right grades: {told}")] if told else rows


def elsewhere(card: Card) -> list[tuple[str, str]]:
    """Rows about knees of other hospitals: scores, certainty, and what they cannot show."""
    rows = []
    for one in card.elsewhere:
        rows.append(("elsewhere", f"{one.words} ({one.credit}, {one.licence})"))
        for name, delivered, calibrated in one.rows:
            told = f"{delivered} as delivered, {calibrated} calibrated to the readers there"
            rows.append((f"elsewhere: {name}", told))
        rows.append(("elsewhere: certainty", f"{one.certainty}, as delivered"))
        rows.append(("elsewhere: limits", one.limits))
    return rows
