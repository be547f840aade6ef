"""Copies of a store, taken while a server uses it, and put back when none does.

A backup has the form of a store: the database, and the films and pictures that it refers to.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kellgren.atomic_files import replaced_whole
from kellgren.errors import KellgrenError
from kellgren.web.storage.blobs import BlobStore, UnusableContent
from kellgren.web.storage.case_queries import ALL_CONTENTS
from kellgren.web.storage.opening import (
    BASE,
    CONTENTS,
    LOG_SUFFIXES,
    QUARANTINE,
    check_base,
    connected,
    filling,
    locked,
    make_private,
)


class UnusableBackup(KellgrenError):
    """A folder that holds no backup, or one into which no backup can be written."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Attributes:
        cases: in the database.
        files: films and pictures.
        missing: the SHA-256 of those that the database refers to and that could not be copied.
    """

    cases: int
    files: int
    missing: tuple[str, ...]


def back_up(store: Path, target: Path) -> Copied:
    """Copy a store; a server may go on using it.

    Args:
        store: folder of the store.
        target: a new or empty folder.

    Raises:
        UnusableBackup: the target is not empty, or there is no store.
        DamagedBase: the store's database is damaged.
        CannotWrite: the target's disk is full, or broken.
    """
    if not (store / BASE).is_file():
        raise UnusableBackup(store, "holds no store", "Name the folder of one with --store")
    if target.exists() and any(target.iterdir()):
        raise UnusableBackup(target, "is not empty", "Name a new folder")
    with filling(store):
        check_base(store)
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Under its name when all is there: half a backup is none.
    copy = target / f".{BASE}"
    with filling(target):
        with (
            closing(connected(store / BASE, "ro", 30)) as a,
            closing(sqlite3.connect(copy)) as b,
        ):
            a.backup(b)
            b.execute("PRAGMA journal_mode = DELETE")
        copied = _copy_contents(copy, [store / CONTENTS], target)
        with replaced_whole(target / BASE) as whole:
            copy.replace(whole)
        make_private(target)
    return copied


def restore(backup: Path, store: Path) -> Copied:
    """Put a backup back; the database that is there, and films it does not know, are set aside.

    Args:
        backup: folder of the backup.
        store: folder of the store; no server may be using it.

    Raises:
        UnusableBackup: there is no backup.
        DamagedBase: the backup's database is damaged.
        StoreInUse: a server is running.
        CannotWrite: the store's disk is full, or broken.
    """
    if not (backup / BASE).is_file():
        raise UnusableBackup(backup, "holds no backup", "Name a folder that was backed up into")
    with filling(backup):
        check_base(backup)
    store.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(store), filling(store):
        copied = _copy_contents(backup / BASE, [backup / CONTENTS, store / QUARANTINE], store)
        _set_base_aside(store)
        with replaced_whole(store / BASE) as whole:
            shutil.copyfile(backup / BASE, whole)
        make_private(store)
    return copied


def _copy_contents(base: Path, sources: list[Path], target: Path) -> Copied:
    """Copy all that a database refers to and that is not there yet, each file compared."""
    with closing(connected(base, "ro", 5)) as opened:
        [(cases,)] = opened.execute("SELECT COUNT(*) FROM cases")
        needed = sorted({digest for (digest,) in opened.execute(ALL_CONTENTS)} - {""})
    blobs, missing = BlobStore(target / CONTENTS), []
    for digest in needed:
        if not _is_there(blobs, digest) and not _copy(digest, sources, blobs):
            missing.append(digest)
    return Copied(cases, len(needed) - len(missing), tuple(missing))


def _is_there(blobs: BlobStore, digest: str) -> bool:
    try:
        blobs.verify(digest)
    except UnusableContent:
        return False
    return True


def _copy(digest: str, sources: list[Path], blobs: BlobStore) -> bool:
    for path in (
        folder / part for folder in sources for part in (f"{digest[:2]}/{digest}", digest)
    ):
        if not path.is_file():
            continue
        with path.open("rb") as stream:
            received, found, _ = blobs.receive(stream)
        if found == digest:
            blobs.commit(received, digest)
            return True
        received.unlink()
    return False


def _set_base_aside(store: Path) -> None:
    for name in (BASE, *(f"{BASE}{suffix}" for suffix in LOG_SUFFIXES)):
        if (store / name).exists():
            (store / QUARANTINE).mkdir(exist_ok=True, mode=0o700)
            (store / name).replace(store / QUARANTINE / f"{name}.{round(time.time())}")
