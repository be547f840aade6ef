"""Arrays, open files and bytes are read like paths, or refused with a reason that names them."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kellgren
from command_line import EXAMPLES
from damaged_files import small_knee
from dicom_factory import full_range, write_dicom
from kellgren import InvalidOption, KneeReading, Side, UnreadableRadiograph
from kellgren.file_names import patient_and_side
from kellgren.imaging import radiograph_input
from kellgren.imaging.radiograph import read_radiograph

KNEES = [EXAMPLES / f"{name}.png" for name in ("9177337L", "9177337R", "9637958L")]
RIGHT = EXAMPLES / "9177337R.png"


def grey(path: Path = RIGHT) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("path", KNEES, ids=lambda path: path.stem)
def test_a_knee_reads_the_same_as_path_and_as_array(path: Path) -> None:
    (from_path,) = kellgren.read(path, threads=1)
    (from_array,) = kellgren.read(grey(path), side=patient_and_side(path)[1], threads=1)

    assert from_array.probabilities == from_path.probabilities
    assert np.array_equal(from_array.maps, from_path.maps)
    assert without_source(from_array) == without_source(from_path)


def without_source(reading: KneeReading) -> dict[str, Any]:
    """What does not depend on whether the side is known from the name or from the caller."""
    checks = [check.to_dict() for check in reading.checks if check.name != "side"]
    return {**reading.to_dict(), "image": "", "checks": checks, "side_evidence": []}


def test_a_knee_reads_the_same_from_an_open_file_and_from_memory() -> None:
    (from_path,) = kellgren.read(str(RIGHT), threads=1)
    with RIGHT.open("rb") as stream:
        (from_file,) = kellgren.read(stream, threads=1)
    (from_memory,) = kellgren.read(io.BytesIO(RIGHT.read_bytes()), side="R", threads=1)

    assert from_file.to_dict() == from_path.to_dict()
    assert without_source(from_memory) == without_source(from_path)


def test_a_dicom_file_reads_the_same_from_memory(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "film.dcm", grey(), **full_range(8), ImageLaterality="R", PixelSpacing=[0.2, 0.2]
    )
    (from_path,) = kellgren.read(path, threads=1)
    (from_memory,) = kellgren.read(io.BytesIO(path.read_bytes()), threads=1)

    assert from_memory.to_dict() == {**from_path.to_dict(), "image": "file object"}
    assert (from_memory.side, from_memory.mm_per_pixel) == (Side.RIGHT, pytest.approx(0.2))


@pytest.mark.parametrize(
    ("form", "depth"),
    [("uint8", 8), ("uint16", 8), (">u2", 8), ("float16", 16), ("float32", 32), ("float64", 64)],
)
def test_arrays_of_every_type_give_the_same_grey_values(form: str, depth: int) -> None:
    pixels = grey()
    array = (pixels / 255).astype(form) if "float" in form else pixels.astype(form)
    radiograph = read_radiograph(array)

    tolerance = 1e-3 if form == "float16" else 1e-6
    np.testing.assert_allclose(radiograph.pixels, pixels / 255, atol=tolerance)
    assert radiograph.pixels.dtype == np.float32
    assert (radiograph.source, radiograph.file_format) == ("array", "array")
    assert (radiograph.bit_depth, radiograph.side) == (depth, Side.UNKNOWN)
    assert (radiograph.spacing, radiograph.warnings) == (None, ())


def test_an_array_is_scaled_like_a_file_of_its_depth(tmp_path: Path) -> None:
    twelve_bits = (grey().astype(np.uint32) * 4095 // 255).astype(np.uint16)
    Image.fromarray(twelve_bits).save(tmp_path / "knee.png")
    radiograph = read_radiograph(twelve_bits)
    assert radiograph.bit_depth == 12
    np.testing.assert_array_equal(radiograph.pixels, read_radiograph(tmp_path / "knee.png").pixels)


@pytest.mark.parametrize("form", ["uint8", "float32"])
def test_an_array_is_copied_and_may_lie_in_memory_anyhow(form: str) -> None:
    array = (grey() / 255).astype(form) if form == "float32" else grey().copy()
    before = array.copy()
    turned = read_radiograph(array[::-1, ::2])
    array[:] = 0
    expected = read_radiograph(np.ascontiguousarray(before[::-1, ::2]))
    np.testing.assert_array_equal(turned.pixels, expected.pixels)


def test_inverted_grey_values_are_turned_over(tmp_path: Path) -> None:
    negative = 255 - grey()
    Image.fromarray(negative).save(tmp_path / "negative.png")
    for source in (negative, tmp_path / "negative.png"):
        pixels = read_radiograph(source, inverted=True).pixels
        np.testing.assert_allclose(pixels, grey() / 255, atol=1e-6)
        np.testing.assert_allclose(read_radiograph(source).pixels, negative / 255, atol=1e-6)


def test_the_given_spacing_is_used_and_a_contradiction_is_a_warning(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "film.dcm", grey(), **full_range(8), PixelSpacing=[0.2, 0.2])
    spaced = read_radiograph(grey(), mm_per_pixel=0.15).spacing
    assert spaced is not None
    assert (spaced.row_mm, spaced.column_mm) == (0.15, 0.15)
    assert read_radiograph(path, mm_per_pixel=0.2001).warnings == ()
    other = read_radiograph(path, mm_per_pixel=0.3)
    assert other.spacing is not None
    assert other.spacing.column_mm == 0.3
    assert other.warnings == ("the file states 0.2 mm per pixel; 0.3 mm was given and used",)
    (reading,) = kellgren.read(grey(), mm_per_pixel=0.15, threads=1)
    assert reading.mm_per_pixel == 0.15


@pytest.mark.parametrize("value", [0, -1, 9, float("nan"), float("inf"), "0.2", True])
def test_a_spacing_that_cannot_be_is_an_error(value: Any) -> None:
    with pytest.raises(InvalidOption, match=r"mm_per_pixel: is .* 0\.01 to 5"):
        read_radiograph(RIGHT, mm_per_pixel=value)


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", True])
def test_a_frame_that_cannot_be_is_an_error(value: Any) -> None:
    with pytest.raises(InvalidOption, match=r"frame: is .* whole number from 1"):
        kellgren.read(RIGHT, frame=value)


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((64, 64, 3), np.uint8), r"has the shape \(64, 64, 3\)"),
        (np.zeros(64, np.uint8), r"has the shape \(64,\)"),
        (np.zeros((0, 64), np.uint8), r"is empty: its shape is \(0, 64\)"),
        (np.zeros((8, 64), np.uint8), "64 x 8 pixels"),
        (np.broadcast_to(np.uint8(0), (30_000, 30_000)), "more than 20000 on a side"),
        (np.eye(64, dtype=np.int64), "has the type int64"),
        (np.eye(64, dtype=np.int16), "has the type int16"),
        (np.eye(64) > 0, "has the type bool"),
        (np.eye(64) * 1j, "has the type complex128"),
        (np.full((64, 64), "x"), "has the type <U1"),
        (np.eye(64) * np.nan, "no finite numbers"),
        (np.where(np.eye(64) > 0, np.inf, 0), "no finite numbers"),
        (np.eye(64) * 255, "from 0 to 255, expected 0 to 1"),
        (np.eye(64) - 0.5, "from -0.5 to 0.5, expected 0 to 1"),
        (np.full((64, 64), 9, np.uint8), "is blank"),
        (np.ma.masked_less(np.eye(64), 0.5), "is a masked array"),
    ],
)
def test_an_array_that_is_no_grey_picture_is_refused(array: np.ndarray, problem: str) -> None:
    with pytest.raises(UnreadableRadiograph, match=f"^array: .*{problem}") as caught:
        kellgren.read(array)
    assert caught.value.subject == "array"


def test_a_matrix_is_read_as_the_array_that_it_holds() -> None:
    """Of its own kind it keeps two axes whatever is done with it, which ended in a traceback."""
    knee = small_knee()
    with pytest.warns(PendingDeprecationWarning):
        matrix = read_radiograph(np.asmatrix(knee))
    assert type(matrix.pixels) is np.ndarray
    assert np.array_equal(matrix.pixels, read_radiograph(knee).pixels)


class Drip(io.RawIOBase):
    """An unbuffered stream that gives at most 1000 bytes at a time."""

    name = 7  # as of a file that was opened by its descriptor

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def read(self, size: int = -1) -> bytes:
        block, self.rest = self.rest[: min(size, 1000)], self.rest[min(size, 1000) :]
        return block


def test_streams_of_all_kinds_are_read_from_their_position_and_left_open(tmp_path: Path) -> None:
    data, expected = RIGHT.read_bytes(), read_radiograph(RIGHT).pixels
    after_header = io.BytesIO(b"header" + data)
    after_header.seek(6)
    (tmp_path / "knee.png.gz").write_bytes(gzip.compress(data))
    with (
        gzip.open(tmp_path / "knee.png.gz") as packed,
        tempfile.SpooledTemporaryFile() as spooled,
        RIGHT.open("rb", buffering=0) as unbuffered,
    ):
        spooled.write(data)
        spooled.seek(0)
        for stream in (after_header, packed, spooled, unbuffered, Drip(data)):
            np.testing.assert_array_equal(read_radiograph(stream).pixels, expected)
            assert not stream.closed
    for copied in (data, bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(read_radiograph(copied).pixels, expected)


def test_an_open_file_is_named_and_sided_by_its_path() -> None:
    with RIGHT.open("rb") as stream:
        (reading,) = kellgren.read(stream, threads=1)
    assert (reading.image, reading.side) == (str(RIGHT), Side.RIGHT)


class Located(os.PathLike):
    def __fspath__(self) -> str:
        return str(RIGHT)


def test_any_path_object_is_a_path() -> None:
    assert read_radiograph(Located()).source == str(RIGHT)


def closed_file() -> io.BufferedReader:
    with RIGHT.open("rb") as stream:
        return stream


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: io.BytesIO(), "^file object: is empty"),
        (lambda: b"", "^bytes: is empty"),
        (lambda: b"%PDF-1.4 of a report", "^bytes: is a PDF document"),
        (lambda: io.StringIO("text"), "^file object: is not open as a binary file"),
        (closed_file, r"9177337R\.png: cannot be read \(ValueError\)"),
        (lambda: [1, 2], "^list: is of the type list"),
        (lambda: None, "^NoneType: is of the type NoneType"),
        (lambda: Image.new("L", (64, 64)), "^Image: is of the type Image"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(make: Any, problem: str) -> None:
    with pytest.raises(UnreadableRadiograph, match=problem) as caught:
        read_radiograph(make())
    assert caught.value.remedy


def test_a_stream_without_end_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from kellgren.imaging import picture

    for module in (picture, radiograph_input):
        monkeypatch.setattr(module, "MAX_FILE_BYTES", 2**20)
    with open("/dev/zero", "rb") as stream, pytest.raises(UnreadableRadiograph, match="larger"):
        read_radiograph(stream)
