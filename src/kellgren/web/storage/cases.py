"""All state of the server: one SQLite file for cases, a folder of blobs for their pictures.

A case is accepted when `CaseStore.accept` returns: from then on it survives a killed server. It is
answered once: the step out of ``working`` happens in one transaction or not at all.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from kellgren.atomic_files import taken_alone
from kellgren.errors import InvalidOption
from kellgren.web.storage.blobs import BlobStore
from kellgren.web.storage.case_names import case_name, patient_number
from kellgren.web.storage.case_rows import (
    NEXT_REVISION,
    StoredCase,
    connect,
    insert_case,
    store_answer,
)
from kellgren.web.storage.messages import (
    OPEN_STATES,
    PICTURE_KINDS,
    STATES,
    Answer,
    CaseState,
    Filter,
    Job,
    PictureKind,
    QueueFull,
    SimilarDistances,
    Upload,
    conditions,
)


class CaseStore:
    """Cases and their files, for one process with many threads.

    Args:
        folder: of the store; made if it is not there, readable by its owner only.
        keep_names: see `Settings`.

    Raises:
        InvalidOption: another process has it.
    """

    def __init__(self, folder: Path, *, keep_names: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self._keep_names = folder, keep_names
        self._process_lock = _taken(folder)
        self.blobs = BlobStore(folder / "contents")
        # Files and the rows that refer to them change together; readers never wait for that.
        self._file_lock, self._write_lock, self._read_lock = (threading.Lock() for _ in range(3))
        self._writer, self._reader = (connect(folder / "cases.sqlite") for _ in range(2))
        with self.transaction() as base:
            base.execute(
                "INSERT OR IGNORE INTO facts VALUES ('secret', ?)", (secrets.token_bytes(32),)
            )
            base.execute(
                f"UPDATE cases SET state = 'waiting', changed = {NEXT_REVISION} "
                "WHERE state = 'working'"
            )
        self._discard(self.blobs.digests())  # of a deletion or an answer that a kill cut in two
        [(self._secret,)] = self.select("SELECT value FROM facts WHERE name = 'secret'")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one at a time."""
        with self._write_lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    def select(self, query: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """Rows of a query, as of the last transaction that ended."""
        with self._read_lock:
            return self._reader.execute(query, tuple(values)).fetchall()

    def close(self) -> None:
        """Close the database."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()
        self._process_lock.close()

    def accept(self, uploads: list[Upload], *, most_open: int) -> list[str]:
        """Make cases of uploads, all or none.

        Returns:
            Their random identifiers.

        Raises:
            QueueFull: more than ``most_open`` cases would be waiting.
        """
        named = [
            (secrets.token_urlsafe(12), case_name(u.name, self._secret, keep=self._keep_names))
            for u in uploads
        ]
        with self._file_lock, self.transaction() as base:
            [open_cases] = base.execute(
                "SELECT COUNT(*) FROM cases WHERE state IN ('waiting', 'working')"
            ).fetchone()
            if open_cases + len(uploads) > most_open:
                raise QueueFull
            for upload in uploads:
                self.blobs.commit(upload.path, upload.digest)
            for upload, (identifier, name) in zip(uploads, named, strict=True):
                insert_case(base, identifier, name, upload)
        return [identifier for identifier, _ in named]

    def count_open(self) -> int:
        """Cases that wait or are being read."""
        counts = self.count_states()
        return sum(counts[state] for state in OPEN_STATES)

    def count_states(self) -> dict[CaseState, int]:
        """How many cases are in each state."""
        rows = self.select("SELECT state, COUNT(*) AS cases FROM cases GROUP BY state")
        return dict.fromkeys(STATES, 0) | {row["state"]: row["cases"] for row in rows}

    def claim(self) -> Job | None:
        """Take the oldest waiting case."""
        with self.transaction() as base:
            row = base.execute(
                f"UPDATE cases SET state = 'working', changed = {NEXT_REVISION} WHERE number = "
                "(SELECT MIN(number) FROM cases WHERE state = 'waiting') "
                "RETURNING id, content, file, image, side"
            ).fetchone()
        if row is None:
            return None
        return Job(
            id=row["id"],
            content=self.blobs.path(row["content"]).resolve(),
            file=row["file"],
            image=row["image"],
            side=row["side"],
        )

    def release(self, identifier: str) -> None:
        """Put a claimed case back into the queue, at its place."""
        with self.transaction() as base:
            base.execute(
                f"UPDATE cases SET state = 'waiting', changed = {NEXT_REVISION} "
                "WHERE id = ? AND state = 'working'",
                (identifier,),
            )

    def finish(self, identifier: str, answer: Answer) -> bool:
        """Store an answer; False where the case was deleted, or answered before."""
        with self._file_lock:
            pictures = [
                [self.blobs.write(getattr(knee, kind)) for kind in PICTURE_KINDS]
                for knee in answer.knees
            ]
            refused = [self.blobs.write(picture) for picture in answer.refused]
            report = "" if answer.report is None else self.blobs.write(answer.report)
            with self.transaction() as base:
                is_stored = store_answer(base, identifier, answer, pictures, refused, report)
            if not is_stored:
                digests = [digest for of_knee in pictures for digest in of_knee]
                self._discard([report, *refused, *digests])
        return is_stored

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

    def picture(self, identifier: str, place: int, kind: PictureKind) -> Path | None:
        """A picture of one knee."""
        if kind not in PICTURE_KINDS:
            raise ValueError(kind)
        rows = self.select(
            f"SELECT {kind} FROM knees JOIN cases ON number = case_number "
            "WHERE id = ? AND place = ?",
            (identifier, place),
        )
        return self.blobs.path(rows[0][0]) if rows else None

    def picture_of_refused(self, identifier: str, place: int) -> Path | None:
        """The picture of one refused joint."""
        rows = self.select(
            "SELECT picture FROM refused_joints JOIN cases ON number = case_number "
            "WHERE id = ? AND place = ?",
            (identifier, place),
        )
        return self.blobs.path(rows[0][0]) if rows else None

    def similar(self, identifier: str, place: int) -> SimilarDistances:
        """Numbers and distances of the graded knees most similar to one of a case."""
        rows = self.select(
            "SELECT found FROM likenesses JOIN cases ON number = case_number "
            "WHERE id = ? AND place = ?",
            (identifier, place),
        )
        return tuple((number, far) for number, far in json.loads(rows[0][0])) if rows else ()

    def drop_similar_of_other_indexes(self, checksum: str) -> None:
        """Numbers stand for knees of one index: drop those of any index but this one."""
        with self.transaction() as base:
            stored = base.execute("SELECT value FROM facts WHERE name = 'similar'").fetchone()
            if stored is None or stored["value"] != checksum:
                base.execute("DELETE FROM likenesses")
                base.execute("INSERT OR REPLACE INTO facts VALUES ('similar', ?)", (checksum,))

    def is_of(self, case: StoredCase, patient: str) -> bool:
        """Whether a case is of a patient, as far as the name of its file stated that."""
        return case.patient == patient_number(self._secret, patient)

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

    def delete(self, identifier: str) -> bool:
        """Delete a case, its rows and every file that no other case needs."""
        with self._file_lock:
            cases = self.select("SELECT * FROM cases WHERE id = ?", (identifier,))
            if not cases:
                return False
            [case] = cases
            knees = self.select(
                "SELECT picture, map, overlay FROM knees WHERE case_number = ?1 UNION ALL "
                "SELECT picture, '', '' FROM refused_joints WHERE case_number = ?1",
                (case["number"],),
            )
            with self.transaction() as base:
                base.execute("DELETE FROM cases WHERE number = ?", (case["number"],))
            self._discard(
                [case["content"], case["report"], *(digest for knee in knees for digest in knee)]
            )
        with self._write_lock:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return True

    def _discard(self, digests: Iterable[str]) -> None:
        for digest in set(digests) - {""}:
            [(needed,)] = self.select(
                "SELECT EXISTS (SELECT 1 FROM cases WHERE ?1 IN (content, report)) OR "
                "EXISTS (SELECT 1 FROM knees WHERE ?1 IN (picture, map, overlay)) OR "
                "EXISTS (SELECT 1 FROM refused_joints WHERE picture = ?1)",
                (digest,),
            )
            if not needed:
                self.blobs.remove(digest)


def _taken(folder: Path) -> IO[bytes]:
    """Hold the store: a second server would take up cases that the first is about to answer."""
    lock = taken_alone(folder / "lock")
    if lock is None:
        raise InvalidOption(folder, "is in use by another server", "Name another --store")
    return lock
