"""Reading studies in the database: their knees, readers and reads."""

from __future__ import annotations

import random
import secrets
import sqlite3
import time
from dataclasses import dataclass

from kellgren.reading_schema import ROW_LIST, GradedRow, ReadingRecord
from kellgren.web.storage.cases import CaseStore

UNGRADABLE = -1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS studies (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS items (
    number INTEGER PRIMARY KEY, study INTEGER NOT NULL REFERENCES studies ON DELETE CASCADE,
    case_number INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, place INTEGER NOT NULL,
    settled INTEGER, UNIQUE (study, case_number, place)
);
CREATE TABLE IF NOT EXISTS readers (
    number INTEGER PRIMARY KEY, study INTEGER NOT NULL REFERENCES studies ON DELETE CASCADE,
    id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, seed INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS reads (
    reader INTEGER NOT NULL REFERENCES readers ON DELETE CASCADE,
    item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
    first INTEGER NOT NULL, seconds REAL NOT NULL, final INTEGER NOT NULL,
    comment TEXT NOT NULL DEFAULT '', changed REAL NOT NULL, PRIMARY KEY (reader, item)
);
"""
_STUDIES = "SELECT number, id, name, created FROM studies"
_ITEMS = """
SELECT items.number AS item, items.settled, items.place, cases.id AS case_id, cases.image,
       cases.patient, cases.rows, knees.picture
FROM items JOIN cases ON cases.number = items.case_number
JOIN knees ON knees.case_number = items.case_number AND knees.place = items.place
WHERE items.study = ? ORDER BY items.number
"""


@dataclass(frozen=True, slots=True)
class Study:
    """A reading study; ``created`` in Unix time."""

    number: int
    id: str
    name: str
    created: float


@dataclass(frozen=True, slots=True)
class StudyReader:
    """A reader of a study.

    Attributes:
        number: of the reader, in the database.
        id: random, part of the reader's address.
        name: chosen by whoever made the study.
        seed: of the reader's own order of the knees.
        done: knees read so far.
    """

    number: int
    id: str
    name: str
    seed: int
    done: int


@dataclass(frozen=True, slots=True)
class StudyItem:
    """A knee of a study.

    Attributes:
        item: its number in the database.
        adjudicated: the grade agreed on; ``None``: open.
        place: of the knee in its case, from 0.
        case_id: of the case.
        image: name of the case's file.
        patient: number that stands for the patient.
        picture: SHA-256 of the crop.
        reading: the model's.
    """

    item: int
    adjudicated: int | None
    place: int
    case_id: str
    image: str
    patient: str
    picture: str
    reading: ReadingRecord


@dataclass(frozen=True, slots=True)
class Read:
    """A reader's grades of one knee.

    Attributes:
        first: 0..4, or `UNGRADABLE`; never changes.
        final: likewise, after revisions.
        seconds: from the display of the picture to the first grade.
        comment: the reader's, of the last revision.
    """

    first: int
    final: int
    seconds: float
    comment: str


Reads = dict[tuple[int, int], Read]
"""Reads of a study by the numbers of reader and item."""


class StudyStore:
    """Studies over the cases of a store.

    Args:
        store: whose file they share; a deleted case leaves its studies.
    """

    def __init__(self, store: CaseStore) -> None:
        self._store = store
        with store.transaction() as base:
            for statement in _SCHEMA.split(";"):
                base.execute(statement)

    def create(self, name: str, cases: list[str], readers: list[str]) -> str | None:
        """Make a study of every graded knee of some cases, or of all cases if none are named.

        Returns:
            Its identifier; ``None`` where there is no knee to read.
        """
        identifier = secrets.token_urlsafe(12)
        with self._store.transaction() as base:
            rows = base.execute(
                "SELECT cases.id, case_number, place FROM knees "
                "JOIN cases ON cases.number = case_number ORDER BY case_number, place"
            ).fetchall()
            chosen = [row for row in rows if not cases or row["id"] in set(cases)]
            if not chosen:
                return None
            study = base.execute(
                "INSERT INTO studies (id, name, created) VALUES (?, ?, ?)",
                (identifier, name, time.time()),
            ).lastrowid
            base.executemany(
                "INSERT INTO items (study, case_number, place) VALUES (?, ?, ?)",
                [(study, row["case_number"], row["place"]) for row in chosen],
            )
            base.executemany(
                "INSERT INTO readers (study, id, name, seed) VALUES (?, ?, ?, ?)",
                [
                    (study, secrets.token_urlsafe(12), reader, secrets.randbits(32))
                    for reader in readers
                ],
            )
        return identifier

    def all(self) -> list[Study]:
        """Every study, newest first."""
        return [Study(*row) for row in self._store.select(f"{_STUDIES} ORDER BY number DESC")]

    def study(self, identifier: str) -> Study | None:
        """One study."""
        rows = self._store.select(f"{_STUDIES} WHERE id = ?", (identifier,))
        return Study(*rows[0]) if rows else None

    def items(self, study: Study) -> list[StudyItem]:
        """The knees of a study, in the order in which it was made."""
        return [_item(row) for row in self._store.select(_ITEMS, (study.number,))]

    def count_items(self, study: Study) -> int:
        """How many knees a study has."""
        [(count,)] = self._store.select(
            "SELECT COUNT(*) FROM items WHERE study = ?", (study.number,)
        )
        return int(count)

    def readers(self, study: Study) -> list[StudyReader]:
        """The readers of a study, and how far each is."""
        rows = self._store.select(
            "SELECT number, id, name, seed, "
            "(SELECT COUNT(*) FROM reads WHERE reader = readers.number) AS done "
            "FROM readers WHERE study = ? ORDER BY number",
            (study.number,),
        )
        return [StudyReader(*row) for row in rows]

    def reads(self, study: Study) -> Reads:
        """All reads of a study."""
        rows = self._store.select(
            "SELECT reads.* FROM reads JOIN readers ON readers.number = reader WHERE study = ?",
            (study.number,),
        )
        return {
            (row["reader"], row["item"]): Read(
                row["first"], row["final"], row["seconds"], row["comment"]
            )
            for row in rows
        }

    def order(self, reader: StudyReader, items: list[StudyItem]) -> list[StudyItem]:
        """The knees in a reader's own order, the same every time."""
        shuffled = list(items)
        random.Random(reader.seed).shuffle(shuffled)
        return shuffled

    def save_read(
        self, reader: StudyReader, item: int, *, grade: int, seconds: float, comment: str
    ) -> None:
        """Store a read: the first grade stays, later ones change the final grade and comment."""
        with self._store.transaction() as base:
            base.execute(
                "INSERT INTO reads VALUES (?1, ?2, ?3, ?4, ?3, ?5, ?6) ON CONFLICT DO UPDATE "
                "SET final = excluded.final, comment = excluded.comment, "
                "changed = excluded.changed",
                (reader.number, item, grade, seconds, comment, time.time()),
            )

    def adjudicate(self, item: int, grade: int | None) -> None:
        """Store the grade agreed on where readers differ; ``None`` opens the knee again."""
        with self._store.transaction() as base:
            base.execute("UPDATE items SET settled = ? WHERE number = ?", (grade, item))

    def delete(self, study: Study) -> None:
        """Delete a study with all its names, reads and comments; its cases stay."""
        with self._store.transaction() as base:
            base.execute("DELETE FROM studies WHERE number = ?", (study.number,))


def consensus_grade(item: StudyItem, finals: list[int]) -> int | None:
    """The grade of a knee: adjudicated, or that of all who read it; ``None``: there is none."""
    if item.adjudicated is not None:
        return item.adjudicated
    return finals[0] if len(set(finals)) == 1 and finals[0] != UNGRADABLE else None


def _item(row: sqlite3.Row) -> StudyItem:
    graded = ROW_LIST.validate_json(row["rows"])[row["place"]]
    assert isinstance(graded, GradedRow)  # the table of knees holds no others
    return StudyItem(
        item=row["item"],
        adjudicated=row["settled"],
        place=row["place"],
        case_id=row["case_id"],
        image=row["image"],
        patient=row["patient"],
        picture=row["picture"],
        reading=graded.reading,
    )
