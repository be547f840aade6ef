"""The tables of cases and their knees: made, written and read with their JSON validated."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kellgren.errors import KellgrenError
from kellgren.reading_schema import ROW_LIST, ModelRecord, ReadingRow
from kellgren.web.storage.case_names import CaseName
from kellgren.web.storage.messages import Answer, CaseState, Upload

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cases (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
    changed INTEGER NOT NULL, created REAL NOT NULL, seconds REAL,
    image TEXT NOT NULL, file TEXT NOT NULL, patient TEXT NOT NULL, side TEXT NOT NULL,
    content TEXT NOT NULL, bytes INTEGER NOT NULL,
    note TEXT NOT NULL DEFAULT '', rows TEXT NOT NULL DEFAULT '[]',
    model TEXT NOT NULL DEFAULT '{}', report TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS doomed (digest TEXT PRIMARY KEY);
CREATE INDEX IF NOT EXISTS cases_by_state ON cases (state, number);
CREATE INDEX IF NOT EXISTS cases_by_patient ON cases (patient);
CREATE TABLE IF NOT EXISTS knees (
    case_number INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, place INTEGER NOT NULL,
    grade INTEGER NOT NULL, certainty TEXT NOT NULL,
    picture TEXT NOT NULL, map TEXT NOT NULL, overlay TEXT NOT NULL,
    PRIMARY KEY (case_number, place)
);
CREATE TABLE IF NOT EXISTS refused_joints (
    case_number INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, place INTEGER NOT NULL,
    picture TEXT NOT NULL, PRIMARY KEY (case_number, place)
);
CREATE TABLE IF NOT EXISTS likenesses (
    case_number INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, place INTEGER NOT NULL,
    found TEXT NOT NULL, PRIMARY KEY (case_number, place)
);
"""
NEXT_REVISION = "(SELECT COALESCE(MAX(changed), 0) + 1 FROM cases)"
"""A query for the revision that the next change makes."""


class InvalidStoredCase(KellgrenError):
    """A case of the database that this version cannot read."""


@dataclass(frozen=True, slots=True)
class StoredCase:
    """One row of the table of cases.

    Attributes:
        number: counts all cases of the store; newer ones have larger numbers.
        id: random, 16 characters.
        state: of its work.
        revision: of the store at its last change.
        created: Unix time.
        seconds: that grading took.
        image: name shown for the file.
        patient: number that stands for the patient, or a random one.
        content: SHA-256 of the file.
        note: why there is no grade.
        rows: of its knees, or the one without a grade; empty until it is answered.
        model: that graded, or refused.
        report: SHA-256 of the structured report; empty: there is none.
    """

    number: int
    id: str
    state: CaseState
    revision: int
    created: float
    seconds: float | None
    image: str
    patient: str
    content: str
    note: str
    rows: tuple[ReadingRow, ...]
    model: ModelRecord | None
    report: str

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> StoredCase:
        """A row of the database, its rows and model validated.

        Raises:
            InvalidStoredCase: they do not have the form of this version.
        """
        try:
            rows = ROW_LIST.validate_json(row["rows"])
            model = None if row["model"] == "{}" else ModelRecord.model_validate_json(row["model"])
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise InvalidStoredCase(
                f"case {row['id']}",
                f"is stored in a form that this version cannot read (at {where})",
                "Delete the case and hand its file in again",
            ) from None
        plain = ("number", "id", "state", "created", "seconds", "image", "patient")
        return cls(
            **{name: row[name] for name in (*plain, "content", "note", "report")},
            revision=row["changed"],
            rows=rows,
            model=model,
        )


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a database, and make its tables if they are not there.

    Args:
        path: of the file.
        busy_seconds: that a change waits for another program's.
    """
    base = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=busy_seconds
    )
    base.row_factory = sqlite3.Row
    base.executescript(_SCHEMA)
    return base


def store_answer(
    base: sqlite3.Connection,
    identifier: str,
    answer: Answer,
    pictures: list[list[str]],
    refused: list[str],
    report: str,
) -> bool:
    """Store an answer, with the digests of its files, if the case is still being read."""
    model = "{}" if answer.model is None else answer.model.model_dump_json()
    row = base.execute(
        f"UPDATE cases SET state = ?, rows = ?, note = ?, model = ?, seconds = ?, report = ?, "
        f"changed = {NEXT_REVISION} WHERE id = ? AND state = 'working' RETURNING number",
        (
            *(answer.state, ROW_LIST.dump_json(answer.rows).decode(), answer.note),
            *(model, answer.seconds, report, identifier),
        ),
    ).fetchone()
    if row is None:
        return False
    for place, (knee, digests) in enumerate(zip(answer.knees, pictures, strict=True)):
        base.execute(
            "INSERT INTO knees VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row["number"], place, knee.grade, knee.certainty, *digests),
        )
        base.execute(
            "INSERT INTO likenesses VALUES (?, ?, ?)",
            (row["number"], place, json.dumps(knee.similar)),
        )
    for place, digest in enumerate(refused):
        base.execute("INSERT INTO refused_joints VALUES (?, ?, ?)", (row["number"], place, digest))
    return True


def insert_case(base: sqlite3.Connection, identifier: str, name: CaseName, upload: Upload) -> None:
    """Insert the case of an upload, waiting."""
    base.execute(
        "INSERT INTO cases (id, state, changed, created, image, file, patient, side, content, "
        f"bytes) VALUES (?, 'waiting', {NEXT_REVISION}, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(identifier, time.time(), name.shown, name.file, name.patient),
            *(upload.side, upload.digest, upload.size),
        ),
    )
