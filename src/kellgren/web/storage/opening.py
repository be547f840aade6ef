"""Opening a store: by one process at a time, for its owner only, and never at the cost of a film.

A database that is damaged is refused and left as it is. Contents that no row refers to, of which
there are many where a database was lost, are moved to the folder ``quarantine`` and never deleted;
a database that comes back from a backup finds them there.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Literal

from kellgren.atomic_files import CannotWrite, taken_alone, writing
from kellgren.errors import KellgrenError

BASE, CONTENTS, QUARANTINE = "cases.sqlite", "contents", "quarantine"
"""Names in the folder of a store."""
_LOCK = "store.lock"
_CHECK_S = 30.0
LOG_SUFFIXES = ("-wal", "-shm")
"""Of the files that SQLite keeps beside a database."""


class StoreInUse(KellgrenError):
    """Two servers on one store would answer cases twice; or its database is held by a program."""


class DamagedBase(KellgrenError):
    """A database that SQLite cannot read, or that does not agree with itself."""


def locked(folder: Path) -> IO[bytes]:
    """Take a store for this process; closing the file gives it back, and so does any death.

    Raises:
        StoreInUse: another process has it.
    """
    stream = taken_alone(folder / _LOCK)
    if stream is None:
        raise StoreInUse(
            folder,
            "is the store of a server that is running",
            "End that server, or name another folder with --store",
        )
    return stream


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Have what goes wrong while a store, or a copy of one, is written name its folder.

    Raises:
        CannotWrite: its disk is full, or broken.
        StoreInUse: another program holds its database, say.
    """
    try:
        with writing(folder):
            yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise CannotWrite(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from None
        raise StoreInUse(folder, f"cannot be used: {trouble_text(error)}", "Try again") from None


def make_private(folder: Path) -> None:
    """Take from a store's folder and files the permissions of all but their owner."""
    if os.name != "posix":
        return
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        for path in folder.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)
        folder.chmod(0o700)
    for path in folder.glob(f"{BASE}*"):
        path.chmod(0o600)


def connected(base: Path, mode: Literal["ro", "rw"], seconds: float) -> sqlite3.Connection:
    """Open a database that is there, to read or to write; never a new one.

    Args:
        base: its file.
        mode: ``ro``: nothing in its folder changes.
        seconds: to wait for another program's lock.
    """
    return sqlite3.connect(f"{base.resolve().as_uri()}?mode={mode}", timeout=seconds, uri=True)


def check_base(folder: Path) -> None:
    """Look whether a store's database can be used, without changing it.

    A log of changes that lies beside a missing or empty database, and that SQLite would delete,
    goes into quarantine.

    Raises:
        DamagedBase: it cannot.
        sqlite3.OperationalError: another program holds it.
    """
    base = folder / BASE
    if not base.is_file() or not base.stat().st_size:
        _keep_logs(folder)
        return
    try:
        # Read-only: closing would else write the log of a killed server into a damaged file.
        with closing(connected(base, "ro", _CHECK_S)) as opened:
            [(found,), *_] = opened.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        if trouble_text(error) == LOCKED:
            raise
        found = str(error)
    if found != "ok":
        raise DamagedBase(
            base,
            f"is damaged ({' '.join(found.split())})",
            "Nothing was changed. Restore a backup with `kellgren store restore`; without one, "
            "move this file away: its films then go into quarantine, not lost",
        )


def _keep_logs(folder: Path) -> None:
    for suffix in LOG_SUFFIXES:
        log = folder / f"{BASE}{suffix}"
        if log.is_file():
            (folder / QUARANTINE).mkdir(exist_ok=True, mode=0o700)
            log.replace(folder / QUARANTINE / f"{log.name}.{round(time.time())}")


def in_quarantine(folder: Path) -> Iterator[Path]:
    """The files that were put aside."""
    if (folder / QUARANTINE).is_dir():
        yield from (path for path in (folder / QUARANTINE).iterdir() if path.is_file())


def base_trouble(base: Path, opened: int) -> str:
    """Why an open database cannot be written to, as a clause; empty: it can.

    Args:
        base: its path.
        opened: number of the file (inode) when it was opened.
    """
    try:
        if base.stat().st_ino != opened:
            return LOST
        with closing(connected(base, "rw", 0.5)) as probe:
            probe.isolation_level = None
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("SELECT COUNT(*) FROM sqlite_schema").fetchall()
            probe.execute("ROLLBACK")
    except FileNotFoundError:
        return LOST
    except sqlite3.Error as error:
        return trouble_text(error)
    return ""


LOCKED = "another program holds the database locked"
LOST = "the database was removed while the server runs"
"""What `base_trouble` says of a lock, and where the file is not the one that was opened."""


def trouble_text(error: Exception) -> str:
    """What is wrong with a store, as a clause for people who run it."""
    if isinstance(error, OSError):
        return f"the disk cannot be written ({error.strerror})"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return {
        sqlite3.SQLITE_BUSY: LOCKED,
        sqlite3.SQLITE_LOCKED: LOCKED,
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_CORRUPT: "the database is damaged",
        sqlite3.SQLITE_NOTADB: "the database is damaged",
    }.get(code, f"the database cannot be written ({error})")


def is_of_the_disk(error: Exception) -> bool:
    """Whether an error may pass by itself: a lock, a full disk; not a fault of what is written."""
    return isinstance(error, OSError) or type(error) in (
        sqlite3.OperationalError,
        sqlite3.DatabaseError,
        StoreBusy,
    )


class StoreBusy(sqlite3.OperationalError):
    """The store was busy with other changes for too long."""

    sqlite_errorcode = sqlite3.SQLITE_BUSY
