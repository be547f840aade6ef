"""Files that are written whole or not at all; files and folders that one process uses at a time."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replaced_whole(path: Path) -> Iterator[Path]:
    """Lend a temporary path beside ``path``; rename it into place when all went well.

    A crash, a full disk or an exception leaves the old file as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    # Made by the system with the permissions that any new file gets: asking for the umask would
    # change it for all threads.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[str]]:
    """Open ``path`` for writing text that appears there whole or not at all."""
    with replaced_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as f:
        yield f


def taken_alone(path: Path) -> IO[bytes] | None:
    """Take a lock file for this process, until the stream is closed or the process ends.

    Args:
        path: of the lock file; made if it is not there, with its folder.

    Returns:
        What holds it; `None` where another process, or another stream of this one, has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        stream = path.open("ab")
        if not _locked(stream):
            stream.close()
            return None
        # Whoever had it may have removed the file before it was locked here.
        if path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
        stream.close()


def _locked(stream: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
