"""DICOM files in every encoding that hospitals send, against values worked out by hand."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_windowing

from dicom_factory import (
    CANARY,
    NEAR,
    codestream,
    dicom_bytes,
    full_range,
    lut_item,
    write_dicom,
)
from kellgren.ensemble import Ensemble
from kellgren.errors import UnreadableRadiograph
from kellgren.grades import Side
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.knee import KneeCrop
from kellgren.pacs.receiver import TRANSFER_SYNTAXES

EXAMPLE = Path(__file__).parents[3] / "examples" / "9589486R.png"
LOSSLESS = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEG2000Lossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGLSLossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
]


@pytest.fixture(scope="module")
def knee() -> np.ndarray:
    """A real knee, (298, 299) uint8: an even number of bytes, as DICOM wants it."""
    return np.asarray(Image.open(EXAMPLE))[:298]


@pytest.fixture(scope="module")
def opinion() -> Callable[[np.ndarray], np.ndarray]:
    """The default model's probabilities for a right knee's pixels; equal pixels are read once."""
    panel = Ensemble.default(threads=1).panel
    known: dict[bytes, np.ndarray] = {}

    def opinion(pixels: np.ndarray) -> np.ndarray:
        key = pixels.tobytes()
        if key not in known:
            known[key] = panel.examine(KneeCrop(pixels, Side.RIGHT)).probabilities
        return known[key]

    return opinion


@pytest.fixture(scope="module")
def ramp() -> np.ndarray:
    """Every value of 12 bits once, (64, 64) uint16."""
    return np.arange(4096, dtype=np.uint16).reshape(64, 64)


def read(tmp_path: Path, pixels: np.ndarray, **options: Any) -> Radiograph:
    """Write and read back; `options` as in `dicom_bytes`."""
    return read_radiograph(write_dicom(tmp_path / "knee.dcm", pixels, **options))


def encoded(
    tmp_path: Path, knee: np.ndarray, transfer_syntax: uid.UID, bits: int, photometric: str
) -> Radiograph:
    """A knee of 8 bits, written in one encoding over its whole range, and read back."""
    top = 2**bits - 1
    stored = np.rint(knee / 255 * top).astype(np.uint8 if bits == 8 else np.uint16)
    if photometric == "MONOCHROME1":
        stored = (top - stored).astype(stored.dtype)
    return read(
        tmp_path,
        stored,
        bits=bits,
        transfer_syntax=transfer_syntax,
        PhotometricInterpretation=photometric,
        **full_range(bits),
    )


def refused(tmp_path: Path, pixels: np.ndarray, **options: Any) -> str:
    with pytest.raises(UnreadableRadiograph) as caught:
        read(tmp_path, pixels, **options)
    assert str(tmp_path) in str(caught.value)
    assert CANARY not in str(caught.value)
    return caught.value.problem


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("transfer_syntax", LOSSLESS, ids=lambda syntax: syntax.name)
def test_one_knee_in_every_encoding_gives_the_same_pixels_and_reading(
    tmp_path: Path,
    knee: np.ndarray,
    opinion: Callable[[np.ndarray], np.ndarray],
    transfer_syntax: uid.UID,
    bits: int,
    photometric: str,
) -> None:
    top = 2**bits - 1
    radiograph = encoded(tmp_path, knee, transfer_syntax, bits, photometric)
    assert radiograph.pixels.dtype == np.float32
    # Half a step of the stored depth, and what float32 rounds.
    assert np.abs(radiograph.pixels - knee / np.float32(255)).max() <= 0.5 / top + 1e-6
    assert (radiograph.file_format, radiograph.bit_depth) == ("DICOM", bits)
    assert radiograph.warnings == ()
    # Fewer bits than the grey values need are another picture; in every encoding the same one.
    original = opinion((np.rint(knee / 255 * top) / top).astype(np.float32))
    assert np.abs(opinion(radiograph.pixels) - original).max() < 1e-3


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("transfer_syntax", "bits", "most"),
    [
        (uid.JPEGBaseline8Bit, 8, 6 / 255),
        (uid.JPEGExtended12Bit, 8, 6 / 255),
        (uid.JPEGExtended12Bit, 12, 0.02),
        *((uid.JPEGLSNearLossless, bits, (NEAR + 0.5) / (2**bits - 1)) for bits in (8, 12, 16)),
        *((uid.JPEG2000, bits, 0.05) for bits in (8, 12, 16)),
        *((uid.HTJ2K, bits, 0.05) for bits in (8, 12, 16)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_one_knee_in_every_lossy_encoding_is_read_nearly(
    tmp_path: Path,
    knee: np.ndarray,
    opinion: Callable[[np.ndarray], np.ndarray],
    transfer_syntax: uid.UID,
    bits: int,
    most: float,
    photometric: str,
) -> None:
    radiograph = encoded(tmp_path, knee, transfer_syntax, bits, photometric)
    error = np.abs(radiograph.pixels - knee / np.float32(255)).max()
    assert 0 < error <= most + 1e-6
    assert (radiograph.bit_depth, radiograph.warnings) == (bits, ())
    original, decoded = opinion(knee / np.float32(255)), opinion(radiograph.pixels)
    assert decoded.argmax() == original.argmax()


def test_the_catalogue_holds_every_encoding_that_is_read() -> None:
    jpeg = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless}
    assert {*LOSSLESS, *jpeg, uid.JPEG2000, uid.HTJ2K} == set(TRANSFER_SYNTAXES)


def test_what_is_not_read_is_refused_by_name(tmp_path: Path, knee: np.ndarray) -> None:
    transfer_syntax = uid.JPIPHTJ2KReferenced
    problem = refused(
        tmp_path, knee, transfer_syntax=transfer_syntax, PixelData=encapsulate([bytes(100)])
    )
    assert problem == f"is compressed with {transfer_syntax.name}, which is not read here"


@pytest.mark.parametrize(
    "syntax",
    [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless],
)
def test_the_frame_asked_for_is_the_one_that_is_read(
    tmp_path: Path, knee: np.ndarray, syntax: uid.UID
) -> None:
    frames = [knee, knee // 2, knee[::-1]]
    if syntax.is_compressed:
        data = encapsulate([codestream(frame, 8, syntax) for frame in frames])
    else:
        data = np.stack(frames).tobytes()
    path = tmp_path / "frames.dcm"
    write_dicom(path, knee, transfer_syntax=syntax, NumberOfFrames=3, PixelData=data)
    for number, frame in enumerate(frames, start=1):
        shown = read_radiograph(path, number).pixels
        assert np.allclose(shown, frame / 255, atol=1e-6)
    for wanted, problem in ((None, "none was chosen"), (4, "holds no frame 4")):
        with pytest.raises(UnreadableRadiograph, match=problem):
            read_radiograph(path, wanted)


def test_an_odd_number_of_bytes_may_be_padded_or_not(tmp_path: Path, knee: np.ndarray) -> None:
    odd = knee[:149]
    padded = odd.tobytes() + b"\0"
    radiograph = read(tmp_path, odd, PixelData=padded, **full_range(8))
    np.testing.assert_allclose(radiograph.pixels, odd / 255, atol=1e-6)
    rle = read(tmp_path, odd, transfer_syntax=uid.RLELossless, **full_range(8))
    np.testing.assert_allclose(rle.pixels, odd / 255, atol=1e-6)


def test_eight_bits_are_shown_as_those_of_a_png_file(tmp_path: Path, knee: np.ndarray) -> None:
    assert knee.min() > 0
    assert knee.max() < 255
    np.testing.assert_allclose(read(tmp_path, knee).pixels, knee / 255, atol=1e-6)
    dark = read(tmp_path, knee, PhotometricInterpretation="MONOCHROME1").pixels
    np.testing.assert_allclose(dark, 1 - knee / 255, atol=1e-6)


def test_eight_bits_of_another_quantity_are_shown_by_their_range(
    tmp_path: Path, knee: np.ndarray
) -> None:
    whole = (knee - np.float32(knee.min())) / (knee.max() - knee.min())
    for modality in ({"RescaleSlope": 16}, {"RescaleIntercept": -128}):
        np.testing.assert_allclose(read(tmp_path, knee, **modality).pixels, whole, atol=1e-6)
    faint = (knee // 64) + np.uint8(100)  # shows nothing as it is
    assert np.ptp(read(tmp_path, faint).pixels) == 1


def test_signed_values_and_whole_range_without_window(tmp_path: Path, ramp: np.ndarray) -> None:
    signed = ramp.astype(np.int16) - 2048
    radiograph = read(tmp_path, signed, bits=12)
    np.testing.assert_allclose(radiograph.pixels, ramp / 4095, atol=1e-6)


@pytest.mark.parametrize(
    "transfer_syntax",
    [syntax for syntax in LOSSLESS if syntax != uid.ExplicitVRLittleEndian],
    ids=lambda syntax: syntax.name,
)
def test_signed_values_in_other_encodings(
    tmp_path: Path, ramp: np.ndarray, transfer_syntax: uid.UID
) -> None:
    signed = ramp.astype(np.int16) - 2048
    radiograph = read(tmp_path, signed, bits=12, transfer_syntax=transfer_syntax)
    np.testing.assert_allclose(radiograph.pixels, ramp / 4095, atol=1e-6)


def test_signed_values_of_fewer_bits_ignore_what_lies_above(
    tmp_path: Path, ramp: np.ndarray
) -> None:
    # -1 of 12 bits is stored as 0x0FFF: the upper four bits belong to nobody.
    stored = ((ramp.astype(np.int16) - 2048) & 0x0FFF).astype(np.int16)
    radiograph = read(tmp_path, stored, bits=12)
    np.testing.assert_allclose(radiograph.pixels, ramp / 4095, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "centre", "width", "value", "expected"),
    [
        ("LINEAR", 2048, 4096, 2047, 2047 / 4095),
        ("LINEAR", 1000, 101, 999.5 + 25, 0.75),
        ("LINEAR", 1000, 101, 949, 0.0),
        ("LINEAR", 1000, 101, 1051, 1.0),
        ("LINEAR", 1000, 1, 999, 0.0),
        ("LINEAR", 1000, 1, 1000, 1.0),
        ("LINEAR_EXACT", 1000, 100, 975, 0.25),
        ("LINEAR_EXACT", 1000, 100, 1050, 1.0),
        ("LINEAR_EXACT", 1000, 0.5, 999, 0.0),
        ("SIGMOID", 1000, 100, 1000, 0.5),
        ("SIGMOID", 1000, 100, 1025, 1 / (1 + np.exp(-1))),
        ("SIGMOID", 1000, 1, 0, 0.0),
    ],
)
def test_window_by_hand(
    tmp_path: Path,
    ramp: np.ndarray,
    function: str,
    centre: float,
    width: float,
    value: float,
    expected: float,
) -> None:
    pixels = read(
        tmp_path, ramp, bits=12, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function
    ).pixels.ravel()
    assert np.interp(value, np.arange(4096), pixels) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_agrees_with_pydicom(tmp_path: Path, ramp: np.ndarray, function: str) -> None:
    window = {"WindowCenter": 1800.5, "WindowWidth": 700, "VOILUTFunction": function}
    dataset = Dataset()
    dataset.BitsStored, dataset.PixelRepresentation = 12, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in window.items():
        setattr(dataset, keyword, value)
    expected = apply_windowing(ramp, dataset) / 4095
    np.testing.assert_allclose(read(tmp_path, ramp, bits=12, **window).pixels, expected, atol=1e-5)


def test_first_of_several_windows_is_used(tmp_path: Path, ramp: np.ndarray) -> None:
    one = read(tmp_path, ramp, bits=12, WindowCenter=1000, WindowWidth=500)
    several = read(tmp_path, ramp, bits=12, WindowCenter=[1000, 9], WindowWidth=[500, 9])
    np.testing.assert_array_equal(one.pixels, several.pixels)


def test_rescale_comes_before_the_window(tmp_path: Path, ramp: np.ndarray) -> None:
    radiograph = read(
        tmp_path,
        ramp,
        bits=12,
        RescaleSlope=2,
        RescaleIntercept=-1000,
        WindowCenter=0.5,
        WindowWidth=1001,
    )
    expected = np.clip((2.0 * ramp - 1000) / 1000 + 0.5, 0, 1)
    np.testing.assert_allclose(radiograph.pixels, expected, atol=1e-6)


def test_negative_slope_turns_the_picture_over(tmp_path: Path, ramp: np.ndarray) -> None:
    radiograph = read(tmp_path, ramp, bits=12, RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_allclose(radiograph.pixels, 1 - ramp / 4095, atol=1e-6)


def test_modality_table(tmp_path: Path, ramp: np.ndarray) -> None:
    table = (np.arange(1000) ** 2 // 100).astype(np.uint16)
    item = lut_item(table, first=200, bits=16)
    radiograph = read(tmp_path, ramp, bits=12, ModalityLUTSequence=[item])
    dataset = Dataset()
    dataset.ModalityLUTSequence = [item]
    dataset.set_original_encoding(False, True)
    values = apply_modality_lut(ramp, dataset).astype(float)
    np.testing.assert_allclose(radiograph.pixels, values / values.max(), atol=1e-6)


@pytest.mark.parametrize(
    "transfer_syntax",
    [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian],
    ids=lambda syntax: syntax.name,
)
def test_value_of_interest_table_wins_over_the_window(
    tmp_path: Path, ramp: np.ndarray, transfer_syntax: uid.UID
) -> None:
    table = (1023 * np.sqrt(np.arange(2000) / 1999)).astype(np.uint16)
    radiograph = read(
        tmp_path,
        ramp,
        bits=12,
        transfer_syntax=transfer_syntax,
        VOILUTSequence=[lut_item(table, first=500, bits=10)],
        WindowCenter=1,
        WindowWidth=1,
    )
    expected = table[np.clip(ramp.astype(int) - 500, 0, 1999)] / 1023
    np.testing.assert_allclose(radiograph.pixels, expected, atol=1e-6)


def test_table_of_8_bit_entries_over_12_bit_values(tmp_path: Path, ramp: np.ndarray) -> None:
    table = (np.arange(4096) // 16).astype(np.uint16)
    expected = table / 255
    wide = lut_item(table, first=0, bits=8)
    packed = lut_item(table, first=0, bits=8)
    packed.LUTData = table.astype(np.uint8).tobytes()
    for item in (wide, packed):
        pixels = read(tmp_path, ramp, bits=12, VOILUTSequence=[item]).pixels
        np.testing.assert_allclose(pixels.ravel(), expected, atol=1e-6)


def test_table_that_starts_below_zero(tmp_path: Path, ramp: np.ndarray) -> None:
    signed = ramp.astype(np.int16) - 2048
    item = lut_item(np.arange(4096, dtype=np.uint16), first=-2048, bits=12)
    radiograph = read(tmp_path, signed, bits=12, VOILUTSequence=[item])
    np.testing.assert_allclose(radiograph.pixels, ramp / 4095, atol=1e-6)


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverted", "warned"),
    [
        ("MONOCHROME2", None, False, False),
        ("MONOCHROME2", "IDENTITY", False, False),
        ("MONOCHROME2", "INVERSE", True, True),
        ("MONOCHROME1", None, True, False),
        ("MONOCHROME1", "INVERSE", True, False),
        ("MONOCHROME1", "IDENTITY", False, True),
        ("MONOCHROME1", "SHAPELESS", True, False),
    ],
)
def test_bone_is_bright(
    tmp_path: Path,
    ramp: np.ndarray,
    photometric: str,
    shape: str | None,
    is_inverted: bool,
    warned: bool,
) -> None:
    elements = {} if shape is None else {"PresentationLUTShape": shape}
    radiograph = read(tmp_path, ramp, bits=12, PhotometricInterpretation=photometric, **elements)
    expected = ramp / 4095
    np.testing.assert_allclose(
        radiograph.pixels, 1 - expected if is_inverted else expected, atol=1e-6
    )
    assert any("bone is bright" in warning for warning in radiograph.warnings) == warned


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_no_part_of_the_range(
    tmp_path: Path, ramp: np.ndarray, photometric: str
) -> None:
    stored = ramp // 2 + 1000
    stored[:8] = 4000
    stored[8:10] = 4005
    pixels = read(
        tmp_path,
        stored,
        bits=12,
        PhotometricInterpretation=photometric,
        PixelPaddingValue=4000,
        PixelPaddingRangeLimit=4010,
    ).pixels
    assert (pixels[:10] == 0).all()
    assert (pixels[10:].min(), pixels[10:].max()) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("elements", "side", "warned"),
    [
        ({}, Side.UNKNOWN, False),
        ({"ImageLaterality": "L"}, Side.LEFT, False),
        ({"Laterality": "R"}, Side.RIGHT, False),
        ({"ImageLaterality": "R", "Laterality": "R"}, Side.RIGHT, False),
        ({"ImageLaterality": "", "Laterality": "L"}, Side.LEFT, False),
        ({"ImageLaterality": "R", "Laterality": "L"}, Side.UNKNOWN, False),
        ({"ImageLaterality": "B"}, Side.UNKNOWN, False),
        ({"ImageLaterality": "U", "Laterality": "L"}, Side.UNKNOWN, True),
        ({"Laterality": ["L", "R"]}, Side.UNKNOWN, True),
        ({"ImageLaterality": "CANARY"}, Side.UNKNOWN, True),
    ],
)
def test_laterality_is_never_guessed(
    tmp_path: Path, knee: np.ndarray, elements: dict[str, Any], side: Side, warned: bool
) -> None:
    radiograph = read(tmp_path, knee, **elements)
    assert radiograph.side is side
    assert any("aterality" in warning for warning in radiograph.warnings) == warned
    assert not any("CANARY" in warning for warning in radiograph.warnings)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, None),
        (
            {"PixelSpacing": [0.2, 0.1]},
            (0.1, 0.1, "PixelSpacing (calibration unknown)"),
        ),
        (
            {"PixelSpacing": [0.2, 0.1], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.1, 0.1, "PixelSpacing (calibration FIDUCIAL)"),
        ),
        (
            {"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [0.3, 0.3]},
            (0.1, 0.1, "PixelSpacing (calibration unknown)"),
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.1]},
            (0.1, 0.1, "ImagerPixelSpacing (at the detector)"),
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.1], "PixelSpacing": [0.2, 0.1]},
            (0.1, 0.1, "ImagerPixelSpacing (at the detector)"),
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.1], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.08, 0.08, "ImagerPixelSpacing / EstimatedRadiographicMagnificationFactor"),
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.1], "EstimatedRadiographicMagnificationFactor": 0.1},
            (0.1, 0.1, "ImagerPixelSpacing (at the detector)"),
        ),
        (
            {"NominalScannedPixelSpacing": [0.2, 0.1]},
            (0.1, 0.1, "NominalScannedPixelSpacing"),
        ),
        ({"PixelSpacing": [0, 0.1]}, None),
        ({"PixelSpacing": [1000, 0.1]}, None),
        ({"ImagerPixelSpacing": [0.1]}, None),
    ],
)
def test_spacing_says_where_it_comes_from(
    tmp_path: Path,
    knee: np.ndarray,
    elements: dict[str, Any],
    expected: tuple[float, float, str] | None,
) -> None:
    """Pixels twice as high as wide are made square, at the finer of the two spacings."""
    spacing = read(tmp_path, knee, **elements).spacing
    if expected is None:
        assert spacing is None
    else:
        assert spacing is not None
        assert (spacing.row_mm, spacing.column_mm) == pytest.approx(expected[:2])
        assert spacing.source == expected[2]


@pytest.mark.parametrize(
    ("keyword", "broken"),
    [
        ("WindowCenter", b"CANARY"),
        ("WindowWidth", b"-5"),
        ("WindowWidth", b"NaN "),
        ("PixelSpacing", b"CANARY"),
        ("PixelSpacing", b"1\\2\\3"),
        ("ImagerPixelSpacing", b"1e999 "),
        ("RescaleSlope", b"CANARY"),
        ("RescaleSlope", b"0 "),
        ("NumberOfFrames", b"CANARY"),
    ],
)
def test_a_broken_element_costs_a_warning_not_the_picture(
    tmp_path: Path, ramp: np.ndarray, keyword: str, broken: bytes
) -> None:
    placeholder = "1234567890"[: len(broken)]
    elements = {"WindowCenter": 2048, "WindowWidth": 4096, keyword: placeholder}
    path = write_dicom(tmp_path / "knee.dcm", ramp, bits=12, **elements)
    padded = placeholder.encode() + b" " * (len(broken) % 2)
    data = path.read_bytes()
    assert data.count(padded) == 1
    path.write_bytes(data.replace(padded, broken.ljust(len(padded))))
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, ramp / 4095, atol=1e-6)
    assert radiograph.warnings == (f"{keyword} cannot be used and is ignored",)
    assert radiograph.spacing is None


def test_a_table_shorter_than_it_says_falls_back_to_the_window(
    tmp_path: Path, ramp: np.ndarray
) -> None:
    item = lut_item(np.arange(4096, dtype=np.uint16), first=0, bits=12)
    item.LUTData = item.LUTData[:100]
    radiograph = read(tmp_path, ramp, bits=12, VOILUTSequence=[item], **full_range(12))
    np.testing.assert_allclose(radiograph.pixels, ramp / 4095, atol=1e-6)
    assert radiograph.warnings == ("VOILUTSequence cannot be used and is ignored",)


def test_a_window_that_shows_nothing_falls_back_to_the_whole_range(
    tmp_path: Path, ramp: np.ndarray
) -> None:
    radiograph = read(tmp_path, ramp, bits=12, WindowCenter=30000, WindowWidth=10)
    np.testing.assert_allclose(radiograph.pixels, ramp / 4095, atol=1e-6)
    assert "shows nothing" in radiograph.warnings[0]


@pytest.mark.parametrize("start", [128, 132, None], ids=["DICM", "file meta", "bare data set"])
@pytest.mark.parametrize(
    "transfer_syntax",
    [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian],
    ids=lambda syntax: syntax.name,
)
def test_files_without_preamble_or_meta(
    tmp_path: Path, ramp: np.ndarray, start: int | None, transfer_syntax: uid.UID
) -> None:
    data = dicom_bytes(ramp, bits=12, transfer_syntax=transfer_syntax)
    if start is None:
        start = 132 + 12 + int.from_bytes(data[140:144], "little")
    path = tmp_path / "1.2.826.0.1"
    path.write_bytes(data[start:] if start > 128 else bytes(128) + data[128:])
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, ramp / 4095, atol=1e-6)
    assert any("transfer syntax" in text for text in radiograph.warnings) == (start > 132)


@pytest.mark.parametrize(
    ("elements", "problem"),
    [
        ({"PhotometricInterpretation": "RGB"}, "PhotometricInterpretation is RGB"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "is PALETTE COLOR"),
        ({"PhotometricInterpretation": "CANARY"}, "is missing or unknown"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"SamplesPerPixel": 3}, "several samples"),
        ({"BitsAllocated": 32}, "bits in 32"),
        ({"BitsStored": 17}, "17 bits"),
        ({"HighBit": 15}, "HighBit"),
        ({"PixelRepresentation": 2}, "PixelRepresentation"),
        ({"Rows": 63}, "8192 bytes of pixels, expected 8064"),
        ({"Rows": 65}, "8192 bytes of pixels, expected 8320"),
        ({"Rows": 50_000, "Columns": 50_000}, "claims 50000 x 50000"),
        ({"drop": ("Rows",)}, "Rows is missing"),
        ({"drop": ("PixelData",)}, "without a picture"),
    ],
)
def test_what_is_no_grey_single_frame_is_refused(
    tmp_path: Path, ramp: np.ndarray, elements: dict[str, Any], problem: str
) -> None:
    assert problem in refused(tmp_path, ramp, **{"bits": 12, **elements})


def test_a_blank_picture_is_refused(tmp_path: Path, ramp: np.ndarray) -> None:
    assert "blank" in refused(tmp_path, np.full_like(ramp, 77), bits=12)
    assert "blank" in refused(tmp_path, np.full_like(ramp, 77), bits=12, PixelPaddingValue=77)


@pytest.mark.parametrize(
    "transfer_syntax",
    [uid.JPEG2000Lossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGBaseline8Bit],
    ids=lambda syntax: syntax.name,
)
def test_compressed_picture_of_another_size_than_the_header_is_refused(
    tmp_path: Path, knee: np.ndarray, transfer_syntax: uid.UID
) -> None:
    problem = refused(tmp_path, knee, transfer_syntax=transfer_syntax, Rows=knee.shape[0] - 1)
    assert "in its compressed picture" in problem


def test_compressed_picture_of_another_method_than_the_header_is_refused(
    tmp_path: Path, knee: np.ndarray
) -> None:
    data = dicom_bytes(knee, transfer_syntax=uid.JPEGBaseline8Bit)
    lying = data.replace(uid.JPEGBaseline8Bit.encode(), uid.JPEGLSLossless.encode(), 1)
    (tmp_path / "lying.dcm").write_bytes(lying)
    with pytest.raises(UnreadableRadiograph, match="holds no JPEG-LS"):
        read_radiograph(tmp_path / "lying.dcm")


def test_an_unknown_compression_is_named(tmp_path: Path, knee: np.ndarray) -> None:
    video = refused(
        tmp_path, knee, transfer_syntax=uid.MPEG2MPML, PixelData=encapsulate([bytes(100)])
    )
    assert "MPEG2" in video
    data = dicom_bytes(knee).replace(
        uid.ExplicitVRLittleEndian.encode() + b"\0", b"1.2.3".ljust(20)
    )
    (tmp_path / "odd.dcm").write_bytes(data)
    with pytest.raises(UnreadableRadiograph, match="an unknown method"):
        read_radiograph(tmp_path / "odd.dcm")


def deflated(meta: bytes, dataset: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return meta + packer.compress(dataset) + packer.flush()


def test_deflate_bombs_are_not_inflated(tmp_path: Path, ramp: np.ndarray) -> None:
    data = dicom_bytes(ramp, bits=12, transfer_syntax=uid.DeflatedExplicitVRLittleEndian)
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    dataset = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    bombs = {
        "tail.dcm": deflated(data[:start], dataset + bytes(60 * 2**20)),
        "zeros.dcm": deflated(data[:start], bytes(60 * 2**20)),
        "twice.dcm": deflated(data[:start], data[132:start] + dataset),
        "cut.dcm": data[:-100],
    }
    for name, bomb in bombs.items():
        (tmp_path / name).write_bytes(bomb)
        with pytest.raises(UnreadableRadiograph, match=r"damaged|missing|more DICOM elements"):
            read_radiograph(tmp_path / name)
