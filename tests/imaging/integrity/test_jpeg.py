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


def test_sound_pictures_in_colour_with_restarts_and_subsampling_are_not_damaged() -> None:
    colour = np.stack([small_knee()] * 3, axis=-1)
    for options in ({}, {"subsampling": 2}, {"restart_marker_blocks": 3}, {"progressive": True}):
        assert read_radiograph(picture(colour, "JPEG", **options)).warnings == ()
