"""The vocabulary of the clinic: Kellgren-Lawrence grades and the side of a knee."""

from __future__ import annotations

from enum import Enum, IntEnum

GRADE_COUNT = 5


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
        """What a reader sees on a knee of this grade, as one phrase."""
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
