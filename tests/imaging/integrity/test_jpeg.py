"""JPEG pictures: scans are counted, and what libjpeg warns of is a refusal."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from damaged_files import picture, small_knee
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.integrity.jpeg import MOST_SCANS, MOST_SEGMENTS, outline
from kellgren.imaging.radiograph import read_radiograph


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    return picture(small_knee(), "JPEG", quality=90)


@pytest.fixture(scope="module")
def progressive() -> bytes:
    return picture(small_knee(), "JPEG", quality=90, progressive=True)


def refusal(data: bytes) -> str:
    with pytest.raises(UnreadableRadiograph) as caught:
        read_radiograph(data)
    return caught.value.problem


def test_a_progressive_jpeg_of_thousands_of_scans_is_refused(progressive: bytes) -> None:
    assert outline(progressive).scans == 6
    assert read_radiograph(progressive).warnings == ()
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    many = progressive[:-2] + last * 30_000 + progressive[-2:]
    assert refusal(many) == f"is a JPEG of more than {MOST_SCANS} scans, which no X-ray needs"


def test_a_jpeg_of_thousands_of_segments_is_refused(jpeg: bytes) -> None:
    comments = b"\xff\xfe\0\2" * (MOST_SEGMENTS + 1)
    assert "segments" in refusal(jpeg[:2] + comments + jpeg[2:])


def test_a_preview_within_a_segment_and_what_follows_the_end_do_not_count(
    jpeg: bytes, progressive: bytes
) -> None:
    inside = b"\xff\xed" + struct.pack(">H", len(progressive) + 2) + progressive
    assert outline(jpeg[:2] + inside + jpeg[2:] + progressive * 20).scans == outline(jpeg).scans


@pytest.mark.parametrize("kind", ["cut off", "zeros", "bytes left over"])
def test_damage_that_the_decoder_notices_is_refused(jpeg: bytes, kind: str) -> None:
    half = len(jpeg) // 2
    damaged = {
        "cut off": jpeg[:half] + b"\xff\xd9",
        "zeros": jpeg[:half] + bytes(100) + jpeg[half + 100 :],
        "bytes left over": jpeg[:-2] + b"kellgren" + jpeg[-2:],
    }[kind]
    problem = refusal(damaged)
    assert problem.startswith("is damaged: its JPEG decoder says 'Corrupt JPEG data")
    assert not any(letter.isdigit() for letter in problem)


def test_a_block_too_many_is_noticed_though_it_fits_into_the_last_byte() -> None:
    """144 blocks of data behind a header that states 11 x 13: as after damage that adds one."""
    tile = np.tile(small_knee(), (2, 2))
    warned = 0
    for left in range(16):
        knee = tile[:96, left : left + 96].copy()
        knee[88:, 80:] = 128  # the last two blocks: the last one takes six bits
        sound = picture(knee, "JPEG", quality=90)
        assert read_radiograph(sound).warnings == ()
        size = sound.index(b"\0\x60\0\x60")
        damaged = sound[:size] + b"\0\x68\0\x58" + sound[size + 4 :]
        try:
            warnings = read_radiograph(damaged).warnings
        except UnreadableRadiograph:  # a whole byte was left over
            continue
        assert any("goes on behind its last block" in warning for warning in warnings)
        warned += 1
    assert warned > 0


def test_sound_pictures_in_colour_with_restarts_and_subsampling_are_not_damaged() -> None:
    colour = np.stack([small_knee()] * 3, axis=-1)
    for options in ({}, {"subsampling": 2}, {"restart_marker_blocks": 3}, {"progressive": True}):
        assert read_radiograph(picture(colour, "JPEG", **options)).warnings == ()


UNEVEN = "a quantisation table of the JPEG is unlike any encoder's: it is perhaps damaged"


@pytest.mark.parametrize(("place", "number"), [(5, 90), (20, 200), (30, 1), (63, 255)])
def test_a_number_that_stands_out_of_a_quantisation_table_is_warned_of(
    place: int, number: int
) -> None:
    data = bytearray(picture(small_knee(), "JPEG", quality=60))
    table = data.index(b"\xff\xdb") + 5
    assert UNEVEN not in read_radiograph(bytes(data)).warnings
    data[table + place] = number
    assert UNEVEN in read_radiograph(bytes(data)).warnings


@pytest.mark.parametrize("quality", [5, 25, 50, 75, 90, 95, 100, "web_low", "maximum"])
def test_tables_of_encoders_are_even(quality: int | str) -> None:
    data = picture(small_knee(), "JPEG", quality=quality)
    assert UNEVEN not in read_radiograph(data).warnings
