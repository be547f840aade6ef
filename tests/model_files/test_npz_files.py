"""NPZ files: what numpy writes is read, and a bomb or a forgery is a ValueError that says which."""

from __future__ import annotations

import io
import re
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.model_files.npz import npz_arrays

MOST = 2**20


def packed(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def entry(content: bytes, method: int = zipfile.ZIP_DEFLATED, name: str = "a") -> bytes:
    """An archive of one array, whose content is given."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def header(shape: str, dtype: str = "'<f4'", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


WHOLE = packed(a=np.zeros(1000, dtype=np.float32))


def with_every_flag(content: bytes) -> bytes:
    """The same archive, said to be encrypted."""
    changed = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[changed.index(signature) + offset] |= 1
    return bytes(changed)


def with_method(content: bytes, method: int) -> bytes:
    changed = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = changed.index(signature) + offset
        changed[at : at + 2] = struct.pack("<H", method)
    return bytes(changed)


def with_bad_deflate(content: bytes) -> bytes:
    start = content.index(b"a.npy") + len(b"a.npy") + 20
    return content[:start] + b"\xff" * 8 + content[start + 8 :]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.zeros((0, 3), dtype=np.float16),
        np.array("key"),
        np.array(["a", "Bcd"]),
        np.array([True, False]),
        np.arange(4, dtype=">i4"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(array: np.ndarray, save: Callable[..., None]) -> None:
    stream = io.BytesIO()
    save(stream, a=array, other=np.zeros(3))
    found = npz_arrays(stream.getvalue(), ["a"], MOST)
    assert set(found) == {"a"}
    np.testing.assert_array_equal(found["a"], array)
    assert (found["a"].dtype, found["a"].flags.writeable) == (array.dtype, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (packed(a=np.zeros(MOST, dtype=np.uint8)), f"its arrays take {MOST + 128} bytes"),
        (bytes(MOST * 3), f"it has {MOST * 3} bytes, {MOST} are the most"),
        (with_bad_deflate(WHOLE), "no whole NPZ file: error"),
        (with_method(WHOLE, 9), "its array a is packed by method 9"),
        (entry(b"", zipfile.ZIP_LZMA), "its array a is packed by method 14"),
        (with_every_flag(WHOLE), "its array a is encrypted"),
        (WHOLE[: len(WHOLE) // 2], "no whole NPZ file: BadZipFile"),
        (b"", "no whole NPZ file: BadZipFile"),
        (packed(b=np.zeros(3)), "0 arrays are called a"),
        (packed(a=np.array([{}], dtype=object)), "its array a holds object"),
        (entry(header("(2, 'x')")), "shape"),
        (entry(header("(1000000000000,)") + bytes(4)), "does not have the size that it states"),
        (entry(header("(-1,)")), "does not have the size that it states"),
        (entry(header(f"({2**62}, 4)") + bytes(4)), "does not have the size that it states"),
        (entry(header("(3,)") + bytes(16)), "does not have the size that it states"),
        (entry(header("(1,)", "'V8'") + bytes(8)), "not numbers or text"),
        (entry(header("(1,)", version=b"\x09\x00") + bytes(4)), "format"),
        (entry(b"no array"), "magic string"),
        (entry(header("(" * 3000 + ")" * 3000)), "header"),
    ],
)
def test_a_bomb_or_a_forgery_is_named(content: bytes, words: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=re.escape(words)):
            npz_arrays(content, ["a"], MOST)
        assert tracemalloc.get_traced_memory()[1] < 8 * MOST
    finally:
        tracemalloc.stop()


def test_an_array_of_two_entries_is_refused() -> None:
    stream, inner = io.BytesIO(), io.BytesIO()
    np.save(inner, np.array([1.0]))
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", inner.getvalue())
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", inner.getvalue())
    with pytest.raises(ValueError, match="2 arrays are called a"):
        npz_arrays(stream.getvalue(), ["a"], MOST)


@settings(max_examples=200, deadline=None)
@given(
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)
)
def test_changed_bytes_are_read_or_a_value_error(places: list[tuple[float, int]]) -> None:
    changed = bytearray(WHOLE)
    for where, value in places:
        changed[int(where * len(changed))] = value
    try:
        found = npz_arrays(bytes(changed), ["a"], MOST)["a"]
    except ValueError:
        return
    assert found.nbytes <= MOST
