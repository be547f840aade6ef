"""Headers that contradict their pixels, or state greys where newer objects do."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate

from damaged_files import small_knee
from dicom_factory import dicom_bytes, full_range
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.radiograph import read_radiograph

BITS = 12


@pytest.fixture
def words() -> np.ndarray:
    """A real knee in 12 of 16 bits."""
    return small_knee().astype(np.uint16) * 16


@pytest.fixture
def overlay(words: np.ndarray) -> np.ndarray:
    """The same with an overlay in its highest bit, as files of the eighties have it."""
    marked = words.copy()
    marked[::3] |= 0x8000
    return marked


def read(pixels: np.ndarray, **options: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    radiograph = read_radiograph(dicom_bytes(pixels, bits=BITS, **full_range(BITS), **options))
    return radiograph.pixels, radiograph.warnings


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless]
)
def test_bits_above_those_stored_are_left_out_with_a_warning(
    words: np.ndarray, overlay: np.ndarray, syntax: uid.UID
) -> None:
    plain, none = read(words, transfer_syntax=syntax)
    marked, warnings = read(overlay, transfer_syntax=syntax)
    assert np.array_equal(plain, marked)
    assert none == ()
    assert [f"bits above the {BITS}" in warning for warning in warnings] == [True]


@pytest.mark.parametrize("kept", [0xFFFF, 0x0FFF])
def test_bits_above_a_sign_are_no_overlay(words: np.ndarray, kept: int) -> None:
    signed = ((words.astype(np.int32) - 2048) & kept).astype(np.uint16).view(np.int16)
    assert read(signed, RescaleIntercept=2048)[1] == ()


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEG2000Lossless])
def test_more_compressed_bits_than_stored_ones_are_refused(
    overlay: np.ndarray, syntax: uid.UID
) -> None:
    encode = {
        uid.JPEGLSLossless: imagecodecs.jpegls_encode,
        uid.JPEG2000Lossless: lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0),
    }[syntax]
    pixels = encapsulate([bytes(encode(overlay))])
    with pytest.raises(UnreadableRadiograph, match=f"more than the {BITS} bits"):
        read(overlay, transfer_syntax=syntax, PixelData=pixels)


def test_a_sign_that_the_header_denies_is_warned_of(words: np.ndarray) -> None:
    signed = words.astype(np.int16) - 2048
    pixels = encapsulate([bytes(imagecodecs.jpeg2k_encode(signed, level=0, bitspersample=BITS))])
    options = {"transfer_syntax": uid.JPEG2000Lossless, "PixelData": pixels}
    assert "have a sign" in read(words, **options)[1][0]
    assert read(signed, RescaleIntercept=2048, **options)[1] == ()


def test_a_photometric_interpretation_in_small_letters_is_read(words: np.ndarray) -> None:
    data = dicom_bytes(4095 - words, bits=BITS, **full_range(BITS))
    small = data.replace(b"MONOCHROME2 ", b"monochrome1 ")
    assert small != data
    assert np.allclose(read_radiograph(small).pixels, read(words)[0])


def group(sequence: str, **elements: Any) -> Dataset:
    inner, outer = Dataset(), Dataset()
    for keyword, value in elements.items():
        setattr(inner, keyword, value)
    setattr(outer, sequence, [inner])
    return outer


def test_the_greys_of_a_frame_stand_in_its_functional_group(words: np.ndarray) -> None:
    plain = read(words)[0]
    window = group("FrameVOILUTSequence", WindowCenter=2048, WindowWidth=4096)
    bare = read_radiograph(
        dicom_bytes(words, bits=BITS, SharedFunctionalGroupsSequence=[window])
    ).pixels
    assert np.array_equal(bare, plain)

    turned = group("PixelValueTransformationSequence", RescaleSlope=-1, RescaleIntercept=4095)
    as_it_is = group("PixelValueTransformationSequence", RescaleSlope=1, RescaleIntercept=0)
    frames = np.concatenate([words, 4095 - words])
    data = dicom_bytes(
        frames,
        bits=BITS,
        Rows=len(words),
        NumberOfFrames=2,
        **full_range(BITS),
        PerFrameFunctionalGroupsSequence=[as_it_is, turned],
    )
    for frame in (1, 2):
        assert np.allclose(read_radiograph(data, frame).pixels, plain), frame


def test_the_spacing_of_a_frame_stands_in_its_functional_group(words: np.ndarray) -> None:
    measures = group("PixelMeasuresSequence", PixelSpacing=[0.2, 0.1])
    data = dicom_bytes(words, bits=BITS, SharedFunctionalGroupsSequence=[measures])
    assert read_radiograph(data).pixels.shape == (2 * len(words), words.shape[1])
