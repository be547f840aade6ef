"""Compressed pixel data that is damaged: refused, or read with a warning, and never for long."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from damaged_files import replaced, small_knee
from dicom_factory import codestream, dicom_bytes
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.dicom.codestream import MOST_LAYERS, MOST_TILES
from kellgren.imaging.dicom.lossless_bits import uses_all_bits
from kellgren.imaging.radiograph import Radiograph, read_radiograph

BITS = 12
CODING_STYLE = b"\xff\x52"


@pytest.fixture(scope="module")
def knee() -> np.ndarray:
    """A real knee with noise, as detectors have it: (96, 96) uint16 of 12 bits."""
    noise = np.random.default_rng(0).integers(0, 16, (96, 96))
    return (small_knee() * np.uint16(16) + noise).astype(np.uint16)


def read(knee: np.ndarray, syntax: uid.UID, compressed: bytes) -> Radiograph:
    return read_radiograph(
        dicom_bytes(knee, bits=BITS, transfer_syntax=syntax, PixelData=encapsulate([compressed]))
    )


def refusal(knee: np.ndarray, syntax: uid.UID, compressed: bytes) -> str:
    with pytest.raises(UnreadableRadiograph) as caught:
        read(knee, syntax, compressed)
    return caught.value.problem


def broken(compressed: bytes) -> bytes:
    """Some bytes in the middle of the data are others; none of them begins a marker."""
    return replaced(compressed, len(compressed) // 2, bytes(range(1, 61)))


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_jpeg_takes_up_just_the_bits_its_values_need(
    knee: np.ndarray, predictor: int, bits: int
) -> None:
    import imagecodecs

    values = (knee >> 4).astype(np.uint8) if bits == 8 else knee << (bits - 12)
    packed = imagecodecs.jpeg8_encode(
        values, lossless=True, predictor=predictor, bitspersample=bits
    )
    assert uses_all_bits(packed, values)
    other = values.copy()
    other[30:60, ::2] ^= 1 << (bits - 2)
    assert not uses_all_bits(packed, other)


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEG2000Lossless])
def test_broken_lossless_data_is_refused(knee: np.ndarray, syntax: uid.UID) -> None:
    sound = codestream(knee, BITS, syntax)
    assert read(knee, syntax, sound).warnings == ()
    problem = refusal(knee, syntax, broken(sound))
    assert problem == "is damaged: its compressed data does not end where its picture does"


def test_broken_lossy_jpeg_2000_is_read_with_a_warning(knee: np.ndarray) -> None:
    sound = codestream(knee, BITS, uid.JPEG2000)
    assert read(knee, uid.JPEG2000, sound).warnings == ()
    (warning,) = read(knee, uid.JPEG2000, broken(sound)).warnings
    assert "warned of damage" in warning


def test_broken_high_throughput_jpeg_2000_is_refused(knee: np.ndarray) -> None:
    sound = codestream(knee, BITS, uid.HTJ2KLossless)
    assert read(knee, uid.HTJ2KLossless, sound).warnings == ()
    assert "damaged" in refusal(knee, uid.HTJ2KLossless, broken(sound))


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEGLosslessSV1, uid.JPEGExtended12Bit])
def test_data_without_an_end_is_refused_before_it_is_decoded(
    knee: np.ndarray, syntax: uid.UID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CharLS never comes back from some of it."""
    monkeypatch.delattr("kellgren.imaging.dicom.stored_values.decode_isolated")
    cut = codestream(knee, BITS, syntax)[:-1000]
    assert refusal(knee, syntax, cut) == "is damaged: its compressed data has no end"


def test_broken_baseline_jpeg_is_refused() -> None:
    knee = small_knee()
    jpeg = codestream(knee, 8, uid.JPEGBaseline8Bit)
    damaged = jpeg[: len(jpeg) // 2] + bytes(100) + jpeg[len(jpeg) // 2 + 100 :]
    data = dicom_bytes(knee, transfer_syntax=uid.JPEGBaseline8Bit, PixelData=encapsulate([damaged]))
    with pytest.raises(UnreadableRadiograph, match="JPEG decoder says"):
        read_radiograph(data)


def test_run_length_data_that_goes_on_after_the_picture_is_warned_of(knee: np.ndarray) -> None:
    sound = codestream(knee, BITS, uid.RLELossless)
    longer = sound + bytes([5, 1, 2, 3, 4, 5, 6, 0])
    (warning,) = read(knee, uid.RLELossless, longer).warnings
    assert "warned of damage" in warning


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEG2000])
def test_jpeg_2000_of_absurdly_many_parts_is_refused(knee: np.ndarray, syntax: uid.UID) -> None:
    sound = codestream(knee, BITS, syntax)
    tiles = replaced(sound, sound.index(b"\xff\x51") + 22, struct.pack(">II", 1, 1))
    assert f"more than {MOST_TILES} tiles" in refusal(knee, syntax, tiles)
    style = sound.index(CODING_STYLE)
    layers = replaced(sound, style + 6, struct.pack(">H", MOST_LAYERS + 1))
    assert f"more than {MOST_LAYERS} layers" in refusal(knee, syntax, layers)
    length, levels = 12, sound[style + 9]
    precincts = struct.pack(">HB", length + 1 + levels, sound[style + 4] | 1)
    tiny = replaced(sound, style + 2, precincts)
    tiny = tiny[: style + 2 + length] + b"\x11" * (levels + 1) + tiny[style + 2 + length :]
    assert "tiny precincts" in refusal(knee, syntax, tiny)
