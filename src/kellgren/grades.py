"""Kellgren-Lawrence grades, the side of a knee, and what stands beside every grade."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Literal, Self

from kellgren.errors import InvalidOption

GRADE_COUNT = 5
Notice = Literal["Research software, not a medical device."]
NOTICE: Notice = "Research software, not a medical device."
"""What stands beside every answer, in every interface."""
NOT_NAMED = "not sure enough to name a grade"
"""What stands where a grade would, in every interface."""


class Grade(IntEnum):
    """Kellgren-Lawrence grade of one knee, as read in the Osteoarthritis Initiative.

    Five versions of the scale are in use and differ from grade 1 upwards; this is the one of the
    OAI reading protocol, whose readings are the labels of the training data.
    """

    NONE = 0
    DOUBTFUL = 1
    MINIMAL = 2
    MODERATE = 3
    SEVERE = 4

    @property
    def label(self) -> str:
        """The grade's one-word clinical name, in lower case."""
        return self.name.lower()

    @property
    def finding(self) -> str:
        """The radiographic findings that define this grade, as one phrase."""
        return _FINDINGS[self]


_FINDINGS = {
    Grade.NONE: "no radiographic feature of osteoarthritis",
    Grade.DOUBTFUL: "doubtful joint-space narrowing, possible osteophytic lipping",
    Grade.MINIMAL: "definite osteophytes, possible joint-space narrowing",
    Grade.MODERATE: "several osteophytes, definite narrowing, some sclerosis",
    Grade.SEVERE: "large osteophytes, marked narrowing, severe sclerosis, deformity",
}


class Side(Enum):
    """Which knee of the patient: the patient's left or right, never the picture's."""

    LEFT = "L"
    RIGHT = "R"
    UNKNOWN = ""

    @property
    def label(self) -> str:
        """``left``, ``right`` or ``unknown``."""
        return self.name.lower()

    @classmethod
    def of(cls, value: Self | str | None) -> Self:
        """The side that a caller gives.

        Args:
            value: a side; ``"L"``, ``"R"``, ``"left"`` or ``"right"`` in any case; ``None`` or
                an empty text where the side is not known.

        Raises:
            InvalidOption: none of these.
        """
        if isinstance(value, cls):
            return value
        text = "" if value is None else value
        known = {side.value.lower(): side for side in cls}
        known |= {side.label: side for side in cls if side.value}
        if not isinstance(text, str) or text.lower() not in known:
            raise InvalidOption(
                "side", f"is {value!r}", "Choose 'L', 'R', 'left', 'right', or None if unknown"
            )
        return known[text.lower()]
