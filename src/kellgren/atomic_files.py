"""Files that are written whole or not at all; files and folders that one process uses at a time."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class CannotWrite(OSError):
    """A file that cannot be written: the disk is full, or permission is missing.

    Its ``filename`` is the file that was to appear, never a temporary one.
    """

    def __str__(self) -> str:
        if self.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "Free space there, or name another place."
        elif self.errno in (errno.EEXIST, errno.ENOTDIR):
            remedy = "A file is where a folder is needed: name another place."
        elif self.errno == errno.EISDIR:
            remedy = "A folder is where a file is needed: name another place."
        elif self.errno == errno.ENXIO:
            remedy = "Name a file; where a command takes it, - is standard output."
        else:
            remedy = "Name another place, or change its permissions."
        return f"{self.filename}: cannot be written ({self.strerror}). {remedy}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the system about this file into `CannotWrite`.

    About this file is an error without a name, one about a folder above, and one about a hidden
    file beside it: a temporary one, or a journal.

    Args:
        path: of the file that a person knows.

    Raises:
        CannotWrite: naming ``path``; errors about other files pass as they are.
    """
    try:
        yield
    except OSError as error:
        if not _is_about(error, path):
            raise
        raise CannotWrite(error.errno, error.strerror, str(path)) from error


def _is_about(error: OSError, path: Path) -> bool:
    if error.errno is None:  # made by a library, not by the system
        return False
    if error.filename is None or isinstance(error.filename, int):
        return True
    about = Path(os.fsdecode(error.filename))
    hidden = about.parent == path.parent and about.name.startswith(".")
    return hidden or about in (path, *path.parents)


_LONGEST = 50  # letters of up to 4 bytes: a name has at most 255, with a mark and a suffix
_TEMPORARY = ".{stem}.{mark}{suffix}"  # the mark: 8 hexadecimal digits


def is_special(path: Path) -> bool:
    """Whether a device, pipe or socket lies there: a new file in its place would destroy it."""
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


@contextmanager
def replaced_whole(path: Path) -> Iterator[Path]:
    """Lend a temporary path beside ``path``; rename it into place when all went well.

    A crash, a full disk or an exception leaves the old file as it was.

    Raises:
        CannotWrite: the disk is full, nothing may be written there, or it is no file.
    """
    if is_special(path):
        raise CannotWrite(errno.ENXIO, "it is a device, a pipe or a socket", str(path))
    with writing(path), _temporary(path) as temporary:
        yield temporary


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    stem, mark = path.stem[:_LONGEST], secrets.token_hex(4)
    temporary = path.with_name(_TEMPORARY.format(stem=stem, mark=mark, suffix=path.suffix))
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


def remove_left_behind(path: Path) -> None:
    """Delete temporary files of processes that were killed while they wrote a file.

    Args:
        path: of the file, which nobody writes now.
    """
    stem, suffix = (glob.escape(part) for part in (path.stem[:_LONGEST], path.suffix))
    name = _TEMPORARY.format(stem=stem, mark="[0-9a-f]" * 8, suffix=suffix)
    for left in path.parent.glob(name):
        left.unlink(missing_ok=True)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[str]]:
    """Open ``path`` for writing text that appears there whole or not at all.

    Raises:
        CannotWrite: the disk is full, or nothing may be written there.
    """
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
