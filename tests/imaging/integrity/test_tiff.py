"""TIFF pictures: a strip that is broken is a refusal, though Pillow reads what stands before."""

from __future__ import annotations

import struct

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
