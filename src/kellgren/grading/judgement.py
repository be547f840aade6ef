"""What a card lets a reading say of a knee: grade, set, certainty, whether the grade is named."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from kellgren.arrays import Distributions
from kellgren.errors import InvalidOption
from kellgren.grades import Grade
from kellgren.grading.calibration import CERTAINTY_WORDS, certainty, likely_grades
from kellgren.grading.card import Card
from kellgren.grading.grade_sets import DEFAULT_LEVEL, GradeSets


def set_name(level: float) -> str:
    """Such as ``90 % set``."""
    return f"{100 * level:g} % set"


def right_in(share: float | None) -> str:
    """Such as ``, right in 88 % of held-out knees``; empty where not measured."""
    return "" if share is None else f", right in {100 * share:.0f} % of held-out knees"


def certainty_words(certainty: str, share: float | None) -> str:
    """Such as `` Certainty high, right in 88 % of held-out knees.``; empty where not measured."""
    return "" if share is None else f" Certainty {certainty}{right_in(share)}."


@dataclass(frozen=True, slots=True)
class GradeSet:
    """Neighbouring grades that hold the label at a stated rate.

    Attributes:
        lowest: grade of the set.
        highest: grade of the set.
        level: share of labels that such sets are to hold, 0..1.
        coverage: share that they held out of fold; ``None`` where the bundle has no fitted sets:
            then these are the grades that hold this share of the probability.
    """

    lowest: Grade
    highest: Grade
    level: float
    coverage: float | None = None

    @property
    def grades(self) -> str:
        """Such as ``2`` or ``1 to 3``."""
        low, high = int(self.lowest), int(self.highest)
        return str(low) if low == high else f"{low} to {high}"

    @property
    def measured(self) -> str:
        """Such as ``holds the label of 90.1 % of held-out knees``; empty where not measured."""
        if self.coverage is None:
            return ""
        return f"holds the label of {100 * self.coverage:.1f} % of held-out knees"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows from the probabilities of one knee.

    Attributes:
        grade: the most probable one.
        probabilities: of the grades 0 to 4.
        certainty: ``high``, ``moderate`` or ``low``.
        right_share: of right grades among the out-of-fold knees of that certainty; ``None`` where
            the card does not say.
        grade_set: at the level that was asked for.
        doubts: why the grade should not be named; empty where it may be.
        named: whether it is.
    """

    grade: Grade
    probabilities: tuple[float, ...]
    certainty: str
    right_share: float | None
    grade_set: GradeSet
    doubts: tuple[str, ...]
    named: bool

    @property
    def facts(self) -> dict[str, Any]:
        """The attributes by name, as a reading takes them over."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Judge:
    """Judges knees by a card.

    Args:
        card: of the bundle.
        level: of the sets, one that the card has, or 0.5 to 0.99 where it has none.
        always_grade: name a grade whatever the doubts; they are stated all the same.

    Raises:
        InvalidOption: the card has no sets of that level.
    """

    def __init__(
        self, card: Card, *, level: float = DEFAULT_LEVEL, always_grade: bool = False
    ) -> None:
        self._card, self._level, self._always = card, level, always_grade
        if card.grade_sets is not None:
            card.grade_sets.at(level)
        elif not 0.5 <= level <= 0.99:
            raise InvalidOption("level", f"is {level:g}", "Choose 0.5 to 0.99")

    def of(
        self,
        probabilities: Distributions,
        disagreement: float | None,
        *,
        refused: bool = False,
        paired: bool = False,
        beyond: bool = False,
    ) -> Judgement:
        """Judge one knee.

        Args:
            probabilities: ``(5,)``, calibrated; a local calibration is applied here.
            disagreement: of the members, in nats; ``None`` where there is one only.
            refused: whether a check refused the picture, which was graded all the same.
            paired: whether the contralateral knee was taken into account.
            beyond: whether its fine detail lies beyond the card's range: the word for certainty
                is the next lower one, and the set is widened.
        """
        local = self._card.local_calibration
        if local is not None:
            probabilities = local.shift.apply(probabilities)
        word, top = certainty(probabilities), int(np.argmax(probabilities))
        if beyond:
            word = _lower(word)
        rule = self._card.naming
        doubts: tuple[str, ...] = ()
        if rule is not None:
            low, high = self._ends(probabilities, rule.level, paired=paired, beyond=beyond)[:2]
            top_share = float(probabilities[top])
            doubts = rule.doubts(top_share, high - low + 1, disagreement, refused)
        ends = self._ends(probabilities, self._level, paired=paired, beyond=beyond)
        lowest, highest, coverage = ends
        return Judgement(
            grade=Grade(top),
            probabilities=tuple(float(share) for share in probabilities),
            certainty=word,
            right_share=self._card.right_share(word),
            grade_set=GradeSet(Grade(lowest), Grade(highest), self._level, coverage),
            doubts=doubts,
            named=self._always or not doubts,
        )

    def beyond(self, detail: float) -> tuple[str, ...]:
        """The warning of a knee whose fine detail lies beyond the card's range; else nothing.

        Args:
            detail: of the knee, see `kellgren.imaging.integrity.fine_detail`.
        """
        measured = self._card.detail
        told = "" if measured is None else measured.beyond(detail)
        return (told,) if told else ()

    def _ends(
        self, probabilities: Distributions, level: float, *, paired: bool, beyond: bool
    ) -> tuple[int, int, float | None]:
        fitted = (self._card.grade_sets_paired if paired else None) or self._card.grade_sets
        if fitted is None:
            return *likely_grades(probabilities, level), None
        told = (widened_set if beyond else GradeSets.set_of)(fitted, probabilities, level)
        return *told, fitted.at(level).measured.coverage


def widened_set(fitted: GradeSets, probabilities: Distributions, level: float) -> tuple[int, int]:
    """Lowest and highest grade of a knee's set of the next higher level.

    At the highest level the more probable of the set's neighbours is added.

    Args:
        fitted: sets.
        probabilities: ``(5,)``.
        level: of the set that is widened.
    """
    higher = [one.level for one in fitted.levels if one.level > fitted.at(level).level]
    if higher:
        return fitted.set_of(probabilities, higher[0])
    low, high = fitted.set_of(probabilities, level)
    beside = [grade for grade in (low - 1, high + 1) if 0 <= grade < len(probabilities)]
    added = max(beside, key=lambda grade: float(probabilities[grade]), default=low)
    return min(low, added), max(high, added)


def _lower(word: str) -> str:
    """The next lower word for certainty, of the lowest itself."""
    words = [one for one, _ in CERTAINTY_WORDS]
    return words[min(words.index(word) + 1, len(words) - 1)]
