"""All state of the server: one SQLite file for cases, a folder of blobs for their pictures.

A case is accepted when `CaseStore.accept` returns: from then on it survives a killed server. It is
answered once: the step out of ``working`` happens in one transaction or not at all.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from kellgren.web.storage.blobs import BlobStore
from kellgren.web.storage.case_names import CaseName, case_name, patient_number
from kellgren.web.storage.case_queries import CaseQueries
from kellgren.web.storage.case_rows import (
    NEXT_REVISION,
    StoredCase,
    insert_case,
    store_answer,
)
from kellgren.web.storage.database import Database, held
from kellgren.web.storage.messages import (
    PICTURE_KINDS,
    Answer,
    Job,
    QueueFull,
    Upload,
)
from kellgren.web.storage.opening import (
    BASE,
    CONTENTS,
    QUARANTINE,
    check_base,
    filling,
    in_quarantine,
    locked,
    make_private,
)


class CaseStore(CaseQueries):
    """Cases and their files, for one process with many threads.

    Args:
        folder: of the store; made if it is not there, readable by its owner only.
        keep_names: see `Settings`.

    Attributes:
        set_aside: contents that no row refers to, put into quarantine at the start.

    Raises:
        StoreInUse: another process has it.
        DamagedBase: its database is damaged; nothing was changed.
        CannotWrite: its disk is full, or broken.
    """

    def __init__(self, folder: Path, *, keep_names: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self._keep_names = folder, keep_names
        self._lock = locked(folder)
        try:
            with filling(folder):
                make_private(folder)
                check_base(folder)
                self.blobs = BlobStore(folder / CONTENTS)
                # Files and the rows that refer to them change together; readers never wait for it.
                self._file_lock = threading.Lock()
                super().__init__(Database(folder / BASE))
                self._recover()
                self.set_aside = self._set_aside()
        except BaseException:
            self._lock.close()
            raise
        [(self._secret,)] = self.select("SELECT value FROM facts WHERE name = 'secret'")

    def _recover(self) -> None:
        """Let what was being read wait again, and end the deletions that a kill cut in two."""
        with self.transaction() as base:
            base.execute(
                "INSERT OR IGNORE INTO facts VALUES ('secret', ?)", (secrets.token_bytes(32),)
            )
            base.execute(
                f"UPDATE cases SET state = 'waiting', changed = {NEXT_REVISION} "
                "WHERE state = 'working'"
            )
        self._discard([digest for (digest,) in self.select("SELECT digest FROM doomed")])

    def _set_aside(self) -> int:
        """Fetch from quarantine what rows refer to, and put there what none refers to."""
        needed = self.needed_contents()
        for path in in_quarantine(self.folder):
            if path.name in needed:
                self.blobs.commit(path, path.name)
        strangers = [digest for digest in self.blobs.digests() if digest not in needed]
        for digest in strangers:
            self.blobs.move_out(digest, self.folder / QUARANTINE)
        return len(strangers)

    def close(self) -> None:
        """Close the database, and leave the store to other processes."""
        self.database.close()
        self._lock.close()

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
        with held(self._file_lock):
            try:
                self._insert(uploads, named, most_open)
            except BaseException:
                self._remove_unneeded(upload.digest for upload in uploads)
                raise
        return [identifier for identifier, _ in named]

    def _insert(
        self, uploads: list[Upload], named: list[tuple[str, CaseName]], most_open: int
    ) -> None:
        with self.transaction() as base:
            [open_cases] = base.execute(
                "SELECT COUNT(*) FROM cases WHERE state IN ('waiting', 'working')"
            ).fetchone()
            if open_cases + len(uploads) > most_open:
                raise QueueFull
            for upload in uploads:
                self.blobs.commit(upload.path, upload.digest)
            for upload, (identifier, name) in zip(uploads, named, strict=True):
                insert_case(base, identifier, name, upload)

    def claim(self, last: Sequence[str] = ()) -> Job | None:
        """Take the oldest waiting case.

        Args:
            last: identifiers of cases that are taken only where no other one waits.
        """
        marks = ", ".join("?" * len(last))
        with self.transaction() as base:
            row = base.execute(
                f"UPDATE cases SET state = 'working', changed = {NEXT_REVISION} WHERE number = "
                "(SELECT number FROM cases WHERE state = 'waiting' "
                f"ORDER BY id IN ({marks}), number LIMIT 1) "
                "RETURNING id, content, file, image, side",
                tuple(last),
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
        """Store an answer; False where the case was deleted, or answered before.

        Raises:
            OSError: the disk is full; nothing was stored.
            sqlite3.OperationalError: likewise, or another program holds the database.
        """
        files = [getattr(knee, kind) for knee in answer.knees for kind in PICTURE_KINDS]
        files += answer.refused
        files += [] if answer.report is None else [answer.report]
        staged: list[tuple[Path, str]] = []
        try:
            for file in files:
                staged.append(self.blobs.stage(file))  # undone if the next fails
            with held(self._file_lock):
                return self._store_answer(identifier, answer, staged)
        finally:
            for path, _ in staged:
                path.unlink(missing_ok=True)

    def _store_answer(
        self, identifier: str, answer: Answer, staged: list[tuple[Path, str]]
    ) -> bool:
        digests = [digest for _, digest in staged]
        report = "" if answer.report is None else digests[-1]
        kinds = len(PICTURE_KINDS)
        pictures = [digests[n * kinds : (n + 1) * kinds] for n in range(len(answer.knees))]
        refused = digests[len(answer.knees) * kinds :][: len(answer.refused)]
        try:
            with self.transaction() as base:
                is_stored = store_answer(base, identifier, answer, pictures, refused, report)
                if is_stored:
                    for path, digest in staged:
                        self.blobs.commit(path, digest)
        except BaseException:
            self._remove_unneeded(digests)
            raise
        return is_stored

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

    def delete(self, identifier: str) -> bool:
        """Delete a case, its rows and every file that no other case needs."""
        with held(self._file_lock):
            cases = self.select("SELECT * FROM cases WHERE id = ?", (identifier,))
            if not cases:
                return False
            [case] = cases
            knees = self.select(
                "SELECT picture, map, overlay FROM knees WHERE case_number = ?1 UNION ALL "
                "SELECT picture, '', '' FROM refused_joints WHERE case_number = ?1",
                (case["number"],),
            )
            files = {
                case["content"],
                case["report"],
                *(digest for knee in knees for digest in knee),
            }
            with self.transaction() as base:
                base.execute("DELETE FROM cases WHERE number = ?", (case["number"],))
                base.executemany(
                    "INSERT OR IGNORE INTO doomed VALUES (?)", [(it,) for it in files - {""}]
                )
            self._discard(files)
        return True

    def _discard(self, digests: Iterable[str]) -> None:
        """Remove the files of deleted cases that no other case needs."""
        self._remove_unneeded(digests)
        with self.transaction() as base:
            base.execute("DELETE FROM doomed")

    def _remove_unneeded(self, digests: Iterable[str]) -> None:
        for digest in set(digests) - {""}:
            if not self._is_needed(digest):
                self.blobs.remove(digest)

    def _is_needed(self, digest: str) -> bool:
        [(needed,)] = self.select(
            "SELECT EXISTS (SELECT 1 FROM cases WHERE ?1 IN (content, report)) OR "
            "EXISTS (SELECT 1 FROM knees WHERE ?1 IN (picture, map, overlay)) OR "
            "EXISTS (SELECT 1 FROM refused_joints WHERE picture = ?1)",
            (digest,),
        )
        return bool(needed)
