"""What passes between those who take films in, those who read them and those who ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STATES = ("waiting", "working", "graded", "refused", "failed")
OPEN_STATES, NOT_GRADED = ("waiting", "working"), ("refused", "failed")


class QueueFull(Exception):
    """More cases wait than the server promised to take."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that arrived: on the disk, not yet a case."""

    arrived: Path
    digest: str
    size: int
    name: str
    side: str


@dataclass(frozen=True, slots=True)
class Job:
    """What a grader needs to know of a case."""

    id: str
    content: Path
    file: str
    image: str
    side: str


@dataclass(frozen=True, slots=True)
class KneePictures:
    """PNG files of one knee: the crop, the map to lay over it, the sheet with both.

    Attributes:
        similar: graded knees of the index that look like it, by number, with their distances.
    """

    grade: int
    certainty: str
    picture: bytes
    map: bytes
    overlay: bytes
    similar: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a case.

    Attributes:
        state: ``graded``, ``refused`` or ``failed``.
        rows: as in the tables of the command line.
        note: why there is no grade.
        model: that looked.
        knees: pictures of each graded knee.
        report: structured report on a DICOM picture.
        seconds: of the grader's work.
    """

    state: str
    rows: list[dict[str, Any]]
    note: str = ""
    model: dict[str, str] = field(default_factory=dict)
    knees: tuple[KneePictures, ...] = ()
    report: bytes | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Filter:
    """Which cases to list; an empty field asks for nothing.

    Attributes:
        grades: any knee of the case has one of them.
        certainties: likewise.
        states: of the case.
        after: only cases that changed after this revision.
    """

    grades: tuple[int, ...] = ()
    certainties: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    after: int = 0


def conditions(wanted: Filter) -> tuple[list[str], list[Any]]:
    """A filter as conditions of a query over cases, and their values."""
    found: list[str] = []
    values: list[Any] = []
    for column, chosen in (("grade", wanted.grades), ("certainty", wanted.certainties)):
        if chosen:
            marks = ", ".join("?" * len(chosen))
            found.append(f"number IN (SELECT case_number FROM knees WHERE {column} IN ({marks}))")
            values += chosen
    if wanted.states:
        found.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values += wanted.states
    if wanted.after:
        found.append("changed > ?")
        values.append(wanted.after)
    return found, values
