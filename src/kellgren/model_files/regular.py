"""A file read once, as one regular file of bounded size: no pipe, no device, nothing endless."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file, by one opening of its path.

    A link to a regular file is followed. A pipe is not waited for.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, or is a pipe, a device or a folder.
        ValueError: it is larger.
    """
    # without O_NONBLOCK, opening a pipe waits until somebody writes into it
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, flags)) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > most:
            raise ValueError(f"it has {status.st_size} bytes, {most} are the most possible")
        # one byte more than there should be, so that a file that grows meanwhile is noticed
        parts, left = [], status.st_size + 1
        while left and (part := stream.read(left)):
            parts.append(part)
            left -= len(part)
        if not left:
            raise OSError(errno.EBUSY, "it grew while it was read", str(path))
    return parts[0] if len(parts) == 1 else b"".join(parts)
