"""What can be asked of stored cases; nothing here changes any."""

from __future__ import annotations

import json

from kellgren.web.storage.case_rows import StoredCase
from kellgren.web.storage.database import Database
from kellgren.web.storage.messages import (
    OPEN_STATES,
    PICTURE_KINDS,
    STATES,
    CaseState,
    Filter,
    PictureKind,
    SimilarDistances,
    conditions,
)

ALL_CONTENTS = (
    "SELECT content FROM cases UNION SELECT report FROM cases UNION "
    "SELECT picture FROM knees UNION SELECT map FROM knees UNION SELECT overlay FROM knees "
    "UNION SELECT picture FROM refused_joints"
)
"""A query for the SHA-256 of every content that a row refers to; empty: of no report."""


class CaseQueries:
    """Questions to a database of cases.

    Args:
        database: of the store.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.transaction, self.select = database.transaction, database.select

    def count_open(self) -> int:
        """Cases that wait or are being read."""
        counts = self.count_states()
        return sum(counts[state] for state in OPEN_STATES)

    def count_states(self) -> dict[CaseState, int]:
        """How many cases are in each state."""
        rows = self.select("SELECT state, COUNT(*) AS cases FROM cases GROUP BY state")
        return dict.fromkeys(STATES, 0) | {row["state"]: row["cases"] for row in rows}

    def oldest_waiting(self) -> float | None:
        """When the case that has waited longest was accepted, Unix time; ``None``: none waits."""
        [(created,)] = self.select("SELECT MIN(created) FROM cases WHERE state = 'waiting'")
        return None if created is None else float(created)

    def is_open(self, identifier: str) -> bool:
        """Whether a case is there and not answered."""
        return bool(
            self.select(
                "SELECT 1 FROM cases WHERE id = ? AND state IN ('waiting', 'working')",
                (identifier,),
            )
        )

    def answered_before(self, created: float, limit: int) -> list[str]:
        """Answered cases accepted before a Unix time, oldest first."""
        rows = self.select(
            "SELECT id FROM cases WHERE created < ? AND state NOT IN ('waiting', 'working') "
            "ORDER BY number LIMIT ?",
            (created, limit),
        )
        return [row["id"] for row in rows]

    def oldest_answered(self) -> str | None:
        """The answered case that was accepted first, unless a reading study needs it."""
        rows = self.select(
            "SELECT id FROM cases WHERE state NOT IN ('waiting', 'working') AND "
            "number NOT IN (SELECT case_number FROM items) ORDER BY number LIMIT 1"
        )
        return rows[0]["id"] if rows else None

    def needed_contents(self) -> set[str]:
        """The SHA-256 of every content that a row refers to."""
        rows = self.select(ALL_CONTENTS)
        return {digest for (digest,) in rows} - {""}

    def case(self, identifier: str) -> StoredCase | None:
        """One case."""
        rows = self.select("SELECT * FROM cases WHERE id = ?", (identifier,))
        return StoredCase.from_row(rows[0]) if rows else None

    def companions(self, case: StoredCase) -> list[str]:
        """Other graded cases of the same patient, oldest first."""
        rows = self.select(
            "SELECT id FROM cases WHERE patient = ? AND id <> ? AND state = 'graded' "
            "AND content <> ? ORDER BY number LIMIT 8",
            (case.patient, case.id, case.content),
        )
        return [row["id"] for row in rows]

    def picture(self, identifier: str, place: int, kind: PictureKind) -> str | None:
        """SHA-256 of a picture of one knee."""
        if kind not in PICTURE_KINDS:
            raise ValueError(kind)
        rows = self.select(
            f"SELECT {kind} FROM knees JOIN cases ON number = case_number "
            "WHERE id = ? AND place = ?",
            (identifier, place),
        )
        return str(rows[0][0]) if rows else None

    def picture_of_refused(self, identifier: str, place: int) -> str | None:
        """SHA-256 of the picture of one refused joint."""
        rows = self.select(
            "SELECT picture FROM refused_joints JOIN cases ON number = case_number "
            "WHERE id = ? AND place = ?",
            (identifier, place),
        )
        return str(rows[0][0]) if rows else None

    def similar(self, identifier: str, place: int) -> SimilarDistances:
        """Numbers and distances of the graded knees most similar to one of a case."""
        rows = self.select(
            "SELECT found FROM likenesses JOIN cases ON number = case_number "
            "WHERE id = ? AND place = ?",
            (identifier, place),
        )
        return tuple((number, far) for number, far in json.loads(rows[0][0])) if rows else ()

    def find(self, wanted: Filter, *, limit: int, offset: int = 0) -> tuple[list[StoredCase], int]:
        """Cases, newest first, and how many there are in all."""
        clauses, values = conditions(wanted)
        where = " AND ".join(clauses) or "1"
        rows = self.select(
            f"SELECT * FROM cases WHERE {where} ORDER BY number DESC LIMIT ? OFFSET ?",
            (*values, limit, offset),
        )
        [(total,)] = self.select(f"SELECT COUNT(*) FROM cases WHERE {where}", values)
        return [StoredCase.from_row(row) for row in rows], total

    def revision(self) -> int:
        """Grows with every change of any case."""
        [(changed,)] = self.select("SELECT COALESCE(MAX(changed), 0) FROM cases")
        return int(changed)
