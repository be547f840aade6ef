"""Reading studies on disk: which knees, who reads them, what each reader said and when."""

from __future__ import annotations

import json
import random
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from kellgren.web.store import Store

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
_ITEMS = """
SELECT items.number AS item, items.settled, items.place, cases.id AS case_id, cases.image,
       cases.patient, cases.rows, knees.picture
FROM items JOIN cases ON cases.number = items.case_number
JOIN knees ON knees.case_number = items.case_number AND knees.place = items.place
WHERE items.study = ? ORDER BY items.number
"""


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader says of a knee.

    Attributes:
        grade: 0..4, or `UNGRADABLE`.
        seconds: from the picture to the grade.
        comment: in the reader's words.
    """

    grade: int
    seconds: float
    comment: str


class StudyStore:
    """Studies over the cases of a store.

    Args:
        store: whose file they share; a deleted case leaves its studies.
    """

    def __init__(self, store: Store) -> None:
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

    def all(self) -> list[sqlite3.Row]:
        """Every study, newest first."""
        return self._store.select("SELECT * FROM studies ORDER BY number DESC")

    def study(self, identifier: str) -> sqlite3.Row | None:
        """One study."""
        found = self._store.select("SELECT * FROM studies WHERE id = ?", (identifier,))
        return found[0] if found else None

    def items(self, study: sqlite3.Row) -> list[sqlite3.Row]:
        """The knees of a study, in the order of its making."""
        return self._store.select(_ITEMS, (study["number"],))

    def readers(self, study: sqlite3.Row) -> list[sqlite3.Row]:
        """Who reads, and how far each is."""
        return self._store.select(
            "SELECT readers.*, (SELECT COUNT(*) FROM reads WHERE reader = readers.number) AS done "
            "FROM readers WHERE study = ? ORDER BY number",
            (study["number"],),
        )

    def reads(self, study: sqlite3.Row) -> dict[tuple[int, int], sqlite3.Row]:
        """All reads of a study, by reader and item."""
        found = self._store.select(
            "SELECT reads.* FROM reads JOIN readers ON readers.number = reader WHERE study = ?",
            (study["number"],),
        )
        return {(row["reader"], row["item"]): row for row in found}

    def order(self, reader: sqlite3.Row, items: list[sqlite3.Row]) -> list[sqlite3.Row]:
        """The knees in a reader's own order, the same every time."""
        shuffled = list(items)
        random.Random(reader["seed"]).shuffle(shuffled)
        return shuffled

    def read(self, reader: sqlite3.Row, item: int, said: Read) -> None:
        """Keep a read: the first stays for ever, later ones change the final grade and comment."""
        with self._store.transaction() as base:
            base.execute(
                "INSERT INTO reads VALUES (?1, ?2, ?3, ?4, ?3, ?5, ?6) ON CONFLICT DO UPDATE "
                "SET final = excluded.final, comment = excluded.comment, "
                "changed = excluded.changed",
                (reader["number"], item, said.grade, said.seconds, said.comment, time.time()),
            )

    def settle(self, item: int, grade: int | None) -> None:
        """Keep what was agreed on where readers differ; ``None`` opens the question again."""
        with self._store.transaction() as base:
            base.execute("UPDATE items SET settled = ? WHERE number = ?", (grade, item))

    def delete(self, study: sqlite3.Row) -> None:
        """Delete a study with all its reads; its cases stay."""
        with self._store.transaction() as base:
            base.execute("DELETE FROM studies WHERE number = ?", (study["number"],))


def agreed(item: sqlite3.Row, finals: list[int]) -> int | None:
    """The grade of a knee: settled, or what all who read it say; ``None`` where there is none."""
    if item["settled"] is not None:
        return int(item["settled"])
    said = set(finals)
    return finals[0] if len(said) == 1 and finals[0] != UNGRADABLE else None


def reading_of(item: sqlite3.Row) -> dict[str, Any]:
    """The model's reading of a study's knee."""
    reading: dict[str, Any] = json.loads(item["rows"])[item["place"]]
    return reading
