"""Inputs that may be read as a radiograph: paths, open binary files, bytes, arrays; their names."""

from __future__ import annotations

import os
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from kellgren.imaging.picture import MAX_FILE_BYTES, RejectedPicture, check_length, file_content

BytesLike: TypeAlias = bytes | bytearray | memoryview
RadiographInput: TypeAlias = str | os.PathLike[str] | BinaryIO | BytesLike | npt.NDArray[Any]
"""A path; an open binary file; the bytes of a file; or grey values ``(H, W)``."""


def input_name(source: object) -> str:
    """How readings and messages name an input: its path, the file object's name, or its kind."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, np.ndarray):
        return "array"
    if isinstance(source, bytes | bytearray | memoryview):
        return "bytes"
    name = getattr(source, "name", None)
    if isinstance(name, str | bytes | os.PathLike) and name:
        return os.fsdecode(name)
    return "file object" if hasattr(source, "read") else type(source).__name__


def input_bytes(source: object) -> bytes:
    """The bytes of a picture file; of an open one from its position to its end.

    Raises:
        RejectedPicture: empty, larger than `MAX_FILE_BYTES`, unreadable, or nothing with bytes.
    """
    if isinstance(source, str | os.PathLike):
        return file_content(os.fsdecode(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return check_length(bytes(source))
    if hasattr(source, "read"):
        return check_length(_stream_bytes(source))
    raise RejectedPicture(
        f"is of the type {type(source).__name__}, which is not read",
        "Pass a path, an open binary file, the bytes of a file, or a NumPy array",
    )


def _stream_bytes(stream: Any) -> bytes:
    """At most one byte more than `MAX_FILE_BYTES`; unbuffered streams give less than asked for."""
    data = bytearray()
    try:
        while len(data) <= MAX_FILE_BYTES:
            block = stream.read(MAX_FILE_BYTES + 1 - len(data))
            if not isinstance(block, bytes | bytearray | memoryview):
                raise RejectedPicture("is not open as a binary file", "Open it with mode 'rb'")
            if not block:
                break
            data += block
    except (OSError, ValueError) as error:  # ValueError: a closed file, or text that is no UTF-8
        raise RejectedPicture(
            f"cannot be read ({type(error).__name__})", "Open it with mode 'rb' and read it once"
        ) from None
    return bytes(data)
