"""TIFF pictures: a strip that is broken is a refusal, though Pillow reads what stands before."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from damaged_files import picture, small_knee
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.radiograph import read_radiograph

STRIP_OFFSETS, STRIP_LENGTHS = 273, 279
KINDS = ("jpeg", "tiff_adobe_deflate", "packbits", "tiff_lzw")


def entry(data: bytes, tag: int) -> int:
    """Where the value of a tag of one long number stands."""
    return data.index(struct.pack("<HHI", tag, 4, 1)) + 8


def number(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_strip_is_read_without_a_warning(kind: str) -> None:
    assert read_radiograph(picture(small_knee(), "TIFF", compression=kind)).warnings == ()


@pytest.mark.parametrize("kind", ["jpeg", "tiff_adobe_deflate", "tiff_lzw"])
@pytest.mark.parametrize("place", [0.3, 0.6])
def test_a_broken_strip_is_refused(kind: str, place: float) -> None:
    data = bytearray(picture(small_knee(), "TIFF", compression=kind))
    start = number(data, entry(data, STRIP_OFFSETS))
    at = start + int(place * number(data, entry(data, STRIP_LENGTHS)))
    data[at : at + 40] = bytes(40)
    with pytest.raises(UnreadableRadiograph, match="is damaged"):
        read_radiograph(bytes(data))


def test_a_strip_that_says_to_end_behind_the_file_is_refused() -> None:
    data = bytearray(picture(small_knee(), "TIFF", compression="tiff_adobe_deflate"))
    at = entry(data, STRIP_LENGTHS)
    data[at : at + 4] = struct.pack("<I", len(data))
    with pytest.raises(UnreadableRadiograph, match="damaged"):
        read_radiograph(bytes(data))


@pytest.mark.parametrize("kind", ["packbits", "tiff_lzw"])
def test_a_changed_code_that_moves_what_follows_does_not_go_unnoticed(kind: str) -> None:
    knee = small_knee()
    sound = picture(knee, "TIFF", compression=kind)
    start, length = (number(sound, entry(sound, tag)) for tag in (STRIP_OFFSETS, STRIP_LENGTHS))
    pixels = read_radiograph(sound).pixels
    moved = 0
    for at in range(start + length // 10, start + length // 2, length // 60):
        data = bytearray(sound)
        data[at] ^= 0x10
        try:
            found = read_radiograph(bytes(data))
        except UnreadableRadiograph:
            continue
        if (abs(found.pixels - pixels) > 8 / 255).mean() > 0.05:
            moved += 1
            assert any("longer or shorter" in warning for warning in found.warnings)
    assert moved


def test_an_uncompressed_strip_of_another_length_than_its_rows_is_warned_of() -> None:
    data = bytearray(picture(small_knee(), "TIFF"))
    at = entry(data, STRIP_LENGTHS)
    data[at : at + 4] = struct.pack("<I", number(data, at) - 7)
    assert any("longer or shorter" in warning for warning in read_radiograph(bytes(data)).warnings)


def test_tiles_are_as_long_as_they_say() -> None:
    knee = np.asarray(small_knee())
    side = 64
    rows, columns = (-(-length // side) for length in knee.shape)
    padded = np.pad(
        knee,
        [(0, side * n - length) for n, length in zip((rows, columns), knee.shape, strict=True)],
    )
    tiles = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side * side)
    data = tiled(tiles, side, knee.shape)
    assert read_radiograph(data).warnings == ()
    assert np.array_equal(read_radiograph(data).pixels * 255, knee)
    short = tiled(tiles, side, knee.shape, length=side * side - 3)
    assert any("longer or shorter" in warning for warning in read_radiograph(short).warnings)


def tiled(tiles: np.ndarray, side: int, shape: tuple[int, ...], length: int = 0) -> bytes:
    """A TIFF of uncompressed tiles, which Pillow does not write."""
    count = len(tiles)
    first = 8
    values = first + tiles.nbytes
    offsets = struct.pack(f"<{count}I", *(first + n * side * side for n in range(count)))
    lengths = struct.pack(f"<{count}I", *[length or side * side] * count)
    entries = [
        (256, 1, shape[1]),
        (257, 1, shape[0]),
        (258, 1, 8),
        (259, 1, 1),
        (262, 1, 1),
        (277, 1, 1),
        (322, 1, side),
        (323, 1, side),
        (324, count, values),
        (325, count, values + len(offsets)),
    ]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, 4, n, value) for tag, n, value in entries)
    place = values + len(offsets) + len(lengths)
    head = b"II*\0" + struct.pack("<I", place)
    return head + tiles.tobytes() + offsets + lengths + directory + bytes(4)
