"""Arrays of an NPZ file whose size is known before a byte is unpacked."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_KINDS = "biufU"  # truth values, numbers and text: nothing that would be unpickled
_MOST_HEADER = 10_000
_MOST_FRAME = 2**20  # of the names and headers of a ZIP file
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, MemoryError),
    *(NotImplementedError, RuntimeError, OverflowError, SyntaxError, TypeError, KeyError),
)


def npz_arrays(content: bytes, names: Collection[str], most_bytes: int) -> dict[str, Array]:
    """The named arrays of an NPZ file, as `numpy.savez` and `numpy.savez_compressed` write it.

    Args:
        content: of the file.
        names: of the arrays that are wanted; others are left packed.
        most_bytes: that the wanted arrays may have together, unpacked.

    Raises:
        ValueError: it is no such file, is encrypted, or packed by another method than deflate;
            an array is missing, damaged, larger than allowed, or of another size than it states.
            The message is one clause that says which.
    """
    if len(content) > most_bytes + _MOST_FRAME:
        raise ValueError(f"it has {len(content)} bytes, {most_bytes} are the most")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [_entry(archive, name) for name in names]
            total = sum(entry.file_size for entry in entries)
            if total > most_bytes:
                raise ValueError(f"its arrays take {total} bytes, {most_bytes} are the most")
            return {
                name: _array(name, _unpacked(archive, entry))
                for name, entry in zip(names, entries, strict=True)
            }
    except _UNREADABLE as error:
        raise ValueError(f"no whole NPZ file: {type(error).__name__}") from None


def _entry(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    matches = [entry for entry in archive.infolist() if entry.filename == f"{name}.npy"]
    if len(matches) != 1:
        raise ValueError(f"{len(matches)} arrays are called {name}, one should be")
    if matches[0].flag_bits & _ENCRYPTED:
        raise ValueError(f"its array {name} is encrypted")
    if matches[0].compress_type not in _METHODS:
        raise ValueError(f"its array {name} is packed by method {matches[0].compress_type}")
    return matches[0]


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as stream:
        whole = stream.read(entry.file_size)  # never more, whatever the packed bytes would give
        if len(whole) != entry.file_size or stream.read(1):
            raise ValueError(f"{entry.filename} does not have the size that it states")
    return whole


def _array(name: str, content: bytes) -> Array:
    """An array from the content of an NPY file; its own numbers, writable."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"its array {name} has format {version}")
    try:
        shape, columns_first, dtype = read_header(stream, max_header_size=_MOST_HEADER)
    except tokenize.TokenError:  # since Python 3.12, of what is a ValueError before
        raise ValueError(f"the header of its array {name} cannot be read") from None
    if dtype.kind not in _KINDS or dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"its array {name} holds {dtype}, not numbers or text")
    data = content[stream.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"its array {name} does not have the size that it states")
    order: Any = "F" if columns_first else "C"
    return np.ndarray(shape, dtype, data, order=order).copy(order=order)
