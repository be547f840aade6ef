"""Messages between the routes, the database and the grader processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, TypeAdapter

from kellgren.reading_schema import (
    CertaintyLevel,
    GradeNumber,
    ModelRecord,
    ReadingRow,
    SideLetter,
    UngradedRow,
)

CaseState = Literal["waiting", "working", "graded", "refused", "failed"]
FinalState = Literal["graded", "refused", "failed"]
PictureKind = Literal["picture", "map", "overlay"]
STATES: tuple[CaseState, ...] = ("waiting", "working", "graded", "refused", "failed")
OPEN_STATES: tuple[CaseState, ...] = ("waiting", "working")
UNGRADED_STATES: tuple[CaseState, ...] = ("refused", "failed")
PICTURE_KINDS: tuple[PictureKind, ...] = ("picture", "map", "overlay")


class QueueFull(Exception):
    """More cases wait than the server accepts."""


class InvalidMessage(Exception):
    """A grader's message that does not have its form."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Upload:
    """A received file: on the disk, not yet a case.

    Attributes:
        path: temporary.
        digest: SHA-256 of the content, hexadecimal.
        size: in bytes.
        name: as the client sent it; anything at all.
        side: of every knee in it, if the client knows it.
    """

    path: Path
    digest: str
    size: int
    name: str
    side: SideLetter


class Job(_Message):
    """What a grader needs to know of a case.

    Attributes:
        id: of the case.
        content: absolute path of the file.
        file: neutral name under which it is read, with the side and suffix of the original.
        image: name that rows and readings give to it.
        side: of every knee in it, if the client knows it.
    """

    id: str
    content: Path
    file: str
    image: str
    side: SideLetter


SimilarDistances = tuple[tuple[Annotated[int, Field(ge=0)], FiniteFloat], ...]
"""Numbers of knees in the index of similar knees, and their distances, nearest first."""


@dataclass(frozen=True, slots=True)
class KneePictures:
    """PNG files of one knee, with what the database is searched by.

    Attributes:
        grade: of the reading.
        certainty: of the reading.
        picture: the crop.
        map: the class-activation map, to lay over the crop.
        overlay: crop, map, grade and probabilities on one sheet.
        similar: graded knees of the index that resemble it.
    """

    grade: GradeNumber
    certainty: CertaintyLevel
    picture: bytes
    map: bytes
    overlay: bytes
    similar: SimilarDistances = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a case.

    Attributes:
        state: of the case from now on.
        rows: as in the tables of the command line.
        note: why there is no grade.
        model: that graded, or refused.
        knees: pictures of each graded knee, in the order of the rows.
        report: structured report on a DICOM picture, a DICOM file.
        seconds: that grading took.
        refused: a picture of each refused joint, in the order of the rows.
    """

    state: FinalState
    rows: tuple[ReadingRow, ...]
    note: str = ""
    model: ModelRecord | None = None
    knees: tuple[KneePictures, ...] = ()
    report: bytes | None = None
    seconds: float = 0.0
    refused: tuple[bytes, ...] = ()


class GraderReady(_Message):
    """The first message of a grader: its model is loaded."""

    model: ModelRecord


class _KneeHeader(_Message):
    grade: GradeNumber
    certainty: CertaintyLevel
    similar: SimilarDistances


class AnswerHeader(_Message):
    """The first line of an answer on the wire; the files that it counts follow without separator.

    Attributes:
        sizes: in bytes, of picture, map and overlay of each knee in turn, of the picture of each
            refused joint, and of the report.
    """

    state: Literal["graded", "refused"]
    rows: tuple[ReadingRow, ...]
    note: str
    model: ModelRecord
    knees: tuple[_KneeHeader, ...]
    has_report: bool
    seconds: NonNegativeFloat
    sizes: tuple[Annotated[int, Field(ge=0)], ...]


def refused_joints(rows: Sequence[ReadingRow]) -> list[UngradedRow]:
    """The rows of joints that were found and refused; rows of a file without any have no checks."""
    return [row for row in rows if isinstance(row, UngradedRow) and row.checks]


GRADER_MESSAGE: TypeAdapter[GraderReady | AnswerHeader] = TypeAdapter(GraderReady | AnswerHeader)
"""Validates a line that a grader sent."""


def encoded_answer(answer: Answer) -> bytes:
    """An answer as a grader sends it: a line of JSON, then its files."""
    files = [getattr(knee, kind) for knee in answer.knees for kind in PICTURE_KINDS]
    files += answer.refused
    if answer.report is not None:
        files.append(answer.report)
    header = {
        "state": answer.state,
        "rows": [row.model_dump(mode="json") for row in answer.rows],
        "note": answer.note,
        "model": None if answer.model is None else answer.model.model_dump(),
        "knees": [
            {"grade": knee.grade, "certainty": knee.certainty, "similar": knee.similar}
            for knee in answer.knees
        ],
        "has_report": answer.report is not None,
        "seconds": answer.seconds,
        "sizes": [len(file) for file in files],
    }
    return b"".join([json.dumps(header).encode(), b"\n", *files])


def decoded_answer(header: AnswerHeader, files: Sequence[bytes]) -> Answer:
    """The answer of a header and the files that followed it.

    Raises:
        InvalidMessage: they do not belong together.
    """
    refused = len(refused_joints(header.rows))
    if len(files) != len(PICTURE_KINDS) * len(header.knees) + refused + header.has_report:
        raise InvalidMessage(f"{len(files)} files for {len(header.knees)} knees")
    graded = sum(row.grade is not None for row in header.rows)
    if graded != len(header.knees) or (graded > 0) != (header.state == "graded"):
        raise InvalidMessage(f"{header.state}, with {graded} rows and {len(header.knees)} knees")
    pictures = iter(files)
    return Answer(
        state=header.state,
        rows=header.rows,
        note=header.note,
        model=header.model,
        knees=tuple(
            KneePictures(
                *(knee.grade, knee.certainty, next(pictures), next(pictures), next(pictures)),
                similar=knee.similar,
            )
            for knee in header.knees
        ),
        refused=tuple(next(pictures) for _ in range(refused)),
        report=next(pictures) if header.has_report else None,
        seconds=header.seconds,
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """Which cases to list; an empty field does not restrict.

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
    """A filter as SQL conditions on cases, and their values."""
    clauses: list[str] = []
    values: list[Any] = []
    for column, chosen in (("grade", wanted.grades), ("certainty", wanted.certainties)):
        if chosen:
            marks = ", ".join("?" * len(chosen))
            clauses.append(f"number IN (SELECT case_number FROM knees WHERE {column} IN ({marks}))")
            values += chosen
    if wanted.states:
        clauses.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values += wanted.states
    if wanted.after:
        clauses.append("changed > ?")
        values.append(wanted.after)
    return clauses, values
