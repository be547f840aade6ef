"""Scratch on disk: what would grow in memory with the number of files, gone when its user ends.

SQLite keeps such a database in its cache, here 2 MiB, and the rest in a nameless file in the
folder for temporary files (``SQLITE_TMPDIR``, ``TMPDIR``, ``/var/tmp``); a killed process leaves
nothing behind.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from kellgren.atomic_files import CannotWrite

_CACHE_KIB = 2048


def scratch_database(*statements: str) -> sqlite3.Connection:
    """Open an empty database for one thread; the statements make its tables.

    It is one long transaction without a journal: nothing of it outlives the connection.
    """
    database = sqlite3.connect("", isolation_level=None)
    for statement in (
        f"PRAGMA cache_size = -{_CACHE_KIB}",
        "PRAGMA journal_mode = OFF",
        "PRAGMA synchronous = OFF",
        "PRAGMA temp_store = FILE",
        *statements,
        "BEGIN",
    ):
        database.execute(statement)
    return database


@contextmanager
def scratch_space() -> Iterator[None]:
    """Within it, a disk on which scratch has no place is told of like any other.

    Raises:
        CannotWrite: the folder for temporary files is full, or nothing may be written there.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        where = "the folder for temporary files (TMPDIR)"
        raise CannotWrite(errno.ENOSPC, str(error), where) from error


def text_key(text: str) -> bytes:
    """Text as it is stored and compared: in Python's order, lone surrogates too."""
    return text.encode("utf-8", "surrogatepass")


def key_text(key: bytes) -> str:
    """The text of a key."""
    return key.decode("utf-8", "surrogatepass")


def sorted_on_disk(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Sort names, each with a remark, in Python's order of text, however many they are."""
    with closing(scratch_database("CREATE TABLE row (name BLOB, remark TEXT)")) as database:
        database.executemany(
            "INSERT INTO row VALUES (?, ?)", ((text_key(name), remark) for name, remark in rows)
        )
        for name, remark in database.execute("SELECT name, remark FROM row ORDER BY name"):
            yield key_text(name), remark
