"""All state of the reading room: one SQLite file for cases, a content store for their pictures.

A case is accepted when `Store.accept` returns: from then on it survives a killed server. It is
answered once: the step out of ``working`` happens in one transaction or not at all.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kellgren.web.contents import ContentStore
from kellgren.web.entries import (
    OPEN_STATES,
    STATES,
    Answer,
    Filter,
    Job,
    QueueFull,
    Upload,
    conditions,
)
from kellgren.web.names import CaseName, case_name, patient_number

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
CREATE INDEX IF NOT EXISTS cases_by_state ON cases (state, number);
CREATE INDEX IF NOT EXISTS cases_by_patient ON cases (patient);
CREATE TABLE IF NOT EXISTS knees (
    case_number INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, place INTEGER NOT NULL,
    grade INTEGER NOT NULL, certainty TEXT NOT NULL,
    picture TEXT NOT NULL, map TEXT NOT NULL, overlay TEXT NOT NULL,
    PRIMARY KEY (case_number, place)
);
CREATE TABLE IF NOT EXISTS likenesses (
    case_number INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, place INTEGER NOT NULL,
    found TEXT NOT NULL, PRIMARY KEY (case_number, place)
);
"""
_NEXT_CHANGE = "(SELECT COALESCE(MAX(changed), 0) + 1 FROM cases)"


class Store:
    """Cases and their files, for one process with many threads.

    Args:
        folder: of the store; made if it is not there, readable by its owner only.
        keep_names: see `Settings`.
    """

    def __init__(self, folder: Path, *, keep_names: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self._keep_names = folder, keep_names
        self.contents = ContentStore(folder / "contents")
        # Files and rows that speak of them change together; who only looks never waits for that.
        self._placing, self._writing, self._reading = (threading.Lock() for _ in range(3))
        self._base, self._reader = (_connection(folder / "cases.sqlite") for _ in range(2))
        with self.transaction() as base:
            base.execute(
                "INSERT OR IGNORE INTO facts VALUES ('secret', ?)", (secrets.token_bytes(32),)
            )
            base.execute(
                f"UPDATE cases SET state = 'waiting', changed = {_NEXT_CHANGE} "
                "WHERE state = 'working'"
            )
        self._discard(self.contents.all())  # of a deletion or an answer that a kill cut in two
        [(self._secret,)] = self.select("SELECT value FROM facts WHERE name = 'secret'")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one at a time."""
        with self._writing:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def select(self, query: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """Rows of a query, as of the last transaction that ended."""
        with self._reading:
            return self._reader.execute(query, tuple(values)).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        with self._writing, self._reading:
            self._reader.close()
            self._base.close()

    def accept(self, uploads: list[Upload], *, most_open: int) -> list[str]:
        """Make cases of uploads, all or none.

        Returns:
            Their identifiers, drawn by chance.

        Raises:
            QueueFull: more than ``most_open`` cases would be waiting.
        """
        named = [
            (secrets.token_urlsafe(12), case_name(u.name, self._secret, keep=self._keep_names))
            for u in uploads
        ]
        with self._placing, self.transaction() as base:
            [open_cases] = base.execute(
                "SELECT COUNT(*) FROM cases WHERE state IN ('waiting', 'working')"
            ).fetchone()
            if open_cases + len(uploads) > most_open:
                raise QueueFull
            for upload in uploads:
                self.contents.settle(upload.arrived, upload.digest)
            for upload, (identifier, name) in zip(uploads, named, strict=True):
                _insert(base, identifier, name, upload)
        return [identifier for identifier, _ in named]

    def count_open(self) -> int:
        """Cases that wait or are being read."""
        counts = self.count_states()
        return sum(counts[state] for state in OPEN_STATES)

    def count_states(self) -> dict[str, int]:
        """How many cases are in each state."""
        found = self.select("SELECT state, COUNT(*) AS cases FROM cases GROUP BY state")
        return dict.fromkeys(STATES, 0) | {row["state"]: row["cases"] for row in found}

    def claim(self) -> Job | None:
        """Take the oldest waiting case."""
        with self.transaction() as base:
            row = base.execute(
                f"UPDATE cases SET state = 'working', changed = {_NEXT_CHANGE} WHERE number = "
                "(SELECT MIN(number) FROM cases WHERE state = 'waiting') "
                "RETURNING id, content, file, image, side"
            ).fetchone()
        if row is None:
            return None
        content = self.contents.path(row["content"])
        return Job(row["id"], content, row["file"], row["image"], row["side"])

    def release(self, identifier: str) -> None:
        """Put a claimed case back in its place."""
        with self.transaction() as base:
            base.execute(
                f"UPDATE cases SET state = 'waiting', changed = {_NEXT_CHANGE} "
                "WHERE id = ? AND state = 'working'",
                (identifier,),
            )

    def finish(self, identifier: str, answer: Answer) -> bool:
        """Keep an answer; False where nobody waits for it: deleted, or answered already."""
        with self._placing:
            kept = [
                [self.contents.keep(part) for part in (knee.picture, knee.map, knee.overlay)]
                for knee in answer.knees
            ]
            report = "" if answer.report is None else self.contents.keep(answer.report)
            with self.transaction() as base:
                awaited = _answered(base, identifier, answer, kept, report)
            if not awaited:
                self._discard([report, *(digest for pictures in kept for digest in pictures)])
        return awaited

    def case(self, identifier: str) -> sqlite3.Row | None:
        """One case."""
        found = self.select("SELECT * FROM cases WHERE id = ?", (identifier,))
        return found[0] if found else None

    def companions(self, case: sqlite3.Row) -> list[str]:
        """Other graded cases of the same patient, oldest first."""
        found = self.select(
            "SELECT id FROM cases WHERE patient = ? AND id <> ? AND state = 'graded' "
            "AND content <> ? ORDER BY number LIMIT 8",
            (case["patient"], case["id"], case["content"]),
        )
        return [row["id"] for row in found]

    def picture(self, identifier: str, place: int, kind: str) -> Path | None:
        """A picture of one knee: ``picture``, ``map`` or ``overlay``."""
        if kind not in ("picture", "map", "overlay"):
            raise ValueError(kind)
        found = self.select(
            f"SELECT {kind} FROM knees JOIN cases ON number = case_number "
            "WHERE id = ? AND place = ?",
            (identifier, place),
        )
        return self.contents.path(found[0][0]) if found else None

    def similar(self, identifier: str, place: int) -> list[tuple[int, float]]:
        """Numbers and distances of the graded knees most like one of a case."""
        found = self.select(
            "SELECT found FROM likenesses JOIN cases ON number = case_number "
            "WHERE id = ? AND place = ?",
            (identifier, place),
        )
        return [(number, far) for number, far in json.loads(found[0][0])] if found else []

    def forget_likenesses_of_others(self, index: str) -> None:
        """Numbers mean knees of one index only: drop those found in another than this one."""
        with self.transaction() as base:
            known = base.execute("SELECT value FROM facts WHERE name = 'similar'").fetchone()
            if known is None or known["value"] != index:
                base.execute("DELETE FROM likenesses")
                base.execute("INSERT OR REPLACE INTO facts VALUES ('similar', ?)", (index,))

    def is_of(self, case: sqlite3.Row, patient: str) -> bool:
        """Whether a case's film is of a patient, as far as its file's name said so."""
        return bool(case["patient"] == patient_number(self._secret, patient))

    def find(self, wanted: Filter, *, limit: int, offset: int = 0) -> tuple[list[sqlite3.Row], int]:
        """Cases, newest first, and how many there are in all."""
        found, values = conditions(wanted)
        where = " AND ".join(found) or "1"
        rows = self.select(
            f"SELECT * FROM cases WHERE {where} ORDER BY number DESC LIMIT ? OFFSET ?",
            (*values, limit, offset),
        )
        [(total,)] = self.select(f"SELECT COUNT(*) FROM cases WHERE {where}", values)
        return rows, total

    def revision(self) -> int:
        """Grows with every change of any case."""
        [(changed,)] = self.select("SELECT COALESCE(MAX(changed), 0) FROM cases")
        return int(changed)

    def delete(self, identifier: str) -> bool:
        """Delete a case, its rows and every file that no other case needs."""
        with self._placing:
            case = self.case(identifier)
            if case is None:
                return False
            knees = self.select(
                "SELECT picture, map, overlay FROM knees WHERE case_number = ?", (case["number"],)
            )
            with self.transaction() as base:
                base.execute("DELETE FROM cases WHERE number = ?", (case["number"],))
            self._discard(
                [case["content"], case["report"], *(digest for knee in knees for digest in knee)]
            )
        with self._writing:
            self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return True

    def _discard(self, digests: Iterable[str]) -> None:
        for digest in set(digests) - {""}:
            [(needed,)] = self.select(
                "SELECT EXISTS (SELECT 1 FROM cases WHERE ?1 IN (content, report)) OR "
                "EXISTS (SELECT 1 FROM knees WHERE ?1 IN (picture, map, overlay))",
                (digest,),
            )
            if not needed:
                self.contents.remove(digest)


def _connection(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    base.row_factory = sqlite3.Row
    base.executescript(_SCHEMA)
    return base


def _answered(
    base: sqlite3.Connection, identifier: str, answer: Answer, kept: list[list[str]], report: str
) -> bool:
    """Write an answer down, if the case is still being read."""
    row = base.execute(
        f"UPDATE cases SET state = ?, rows = ?, note = ?, model = ?, seconds = ?, report = ?, "
        f"changed = {_NEXT_CHANGE} WHERE id = ? AND state = 'working' RETURNING number",
        (
            *(answer.state, json.dumps(answer.rows), answer.note),
            *(json.dumps(answer.model), answer.seconds, report, identifier),
        ),
    ).fetchone()
    if row is None:
        return False
    for place, (knee, pictures) in enumerate(zip(answer.knees, kept, strict=True)):
        base.execute(
            "INSERT INTO knees VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row["number"], place, knee.grade, knee.certainty, *pictures),
        )
        base.execute(
            "INSERT INTO likenesses VALUES (?, ?, ?)",
            (row["number"], place, json.dumps(knee.similar)),
        )
    return True


def _insert(base: sqlite3.Connection, identifier: str, name: CaseName, upload: Upload) -> None:
    base.execute(
        "INSERT INTO cases (id, state, changed, created, image, file, patient, side, content, "
        f"bytes) VALUES (?, 'waiting', {_NEXT_CHANGE}, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(identifier, time.time(), name.shown, name.file, name.patient),
            *(upload.side, upload.digest, upload.size),
        ),
    )
