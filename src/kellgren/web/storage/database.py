"""The SQLite file of a store: one writer, one reader, every wait bounded, every change whole."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kellgren.web.storage.case_rows import connect
from kellgren.web.storage.opening import LOCKED, LOST, StoreBusy, base_trouble

BUSY_SECONDS = 3.0
"""That a change waits for others, of this process or another, before it is given up."""
_CHECKPOINT_MS = 200
_PROBE_S, _SAMPLES = 0.5, 25


class Database:
    """Connections to one file, for one process with many threads.

    Args:
        path: of the file; made, with its tables, if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        self._open()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one at a time.

        Raises:
            StoreBusy: other changes took too long.
            sqlite3.OperationalError: another program holds the file, or the disk is full.
        """
        with held(self._write_lock):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # SQLite ends a transaction by itself when the disk is full.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def select(self, query: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """Rows of a query, as of the last transaction that ended."""
        with self._read_lock:
            return self._reader.execute(query, tuple(values)).fetchall()

    def forget_old_pages(self) -> bool:
        """Take what was deleted out of the log of changes; False where another program reads it."""
        with held(self._write_lock), held(self._read_lock):
            # Others wait meanwhile, requests among them: not long.
            self._writer.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
            try:
                [(busy, *_)] = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.OperationalError:
                return False
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")
        return not busy

    def trouble(self) -> str:
        """Why the file cannot be written to, as a clause; empty: it can."""
        # With the lock in hand no change of this process can be what another one waits for.
        if self._write_lock.acquire(timeout=_PROBE_S):
            try:
                return base_trouble(self._path, self._inode)
            finally:
                self._write_lock.release()
        for _ in range(_SAMPLES):
            if self._writer.in_transaction:
                return ""
            time.sleep(_PROBE_S / _SAMPLES)
        return LOCKED if self._path.exists() else LOST

    def rescue(self) -> bool:
        """Write the database anew where its file was removed; False where that was not the case."""
        with held(self._write_lock), held(self._read_lock):
            if base_trouble(self._path, self._inode) != LOST or self._path.exists():
                return False
            written = self._path.with_name(f"{self._path.name}.rescued")
            written.unlink(missing_ok=True)
            self._reader.execute("VACUUM INTO ?", (str(written),))
            self._close()
            written.replace(self._path)
            self._open()
            return True

    def close(self) -> None:
        """Close the file."""
        with self._write_lock, self._read_lock:
            self._close()

    def _open(self) -> None:
        self._writer, self._reader = (connect(self._path, BUSY_SECONDS) for _ in range(2))
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.chmod(0o600)
        self._inode = os.stat(self._path).st_ino

    def _close(self) -> None:
        self._reader.close()
        self._writer.close()


@contextmanager
def held(lock: threading.Lock) -> Iterator[None]:
    """A lock, for a block.

    Raises:
        StoreBusy: it was not free in time.
    """
    if not lock.acquire(timeout=BUSY_SECONDS):
        raise StoreBusy("the store is busy with other changes")
    try:
        yield
    finally:
        lock.release()
