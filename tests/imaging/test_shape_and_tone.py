"""Pixels that are not square, and the few values or bytes that must not hide a whole picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from command_line import EXAMPLES
from dicom_factory import dicom_bytes, full_range, lut_item
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.grey_range import grey_range
from kellgren.imaging.picture import MAX_PIXELS, Picture
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.imaging.square_pixels import with_square_pixels
from kellgren.knee import UNSTRETCHED, resampled, undamped


@pytest.fixture(scope="module")
def knee() -> np.ndarray:
    with Image.open(EXAMPLES / "9177337L.png") as picture:
        return np.asarray(picture.convert("L"))


@pytest.fixture(scope="module")
def words(knee: np.ndarray) -> np.ndarray:
    """Of a detector of 12 bits: nowhere black or white."""
    return (knee.astype(np.uint16) * 12) + 300


def dicom(pixels: np.ndarray, **elements: Any) -> Radiograph:
    return read_radiograph(dicom_bytes(pixels, **elements))


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


# --- square pixels ---------------------------------------------------------------------------


def squeezed(knee: np.ndarray, rows: float, columns: float) -> np.ndarray:
    size = (round(knee.shape[1] * columns), round(knee.shape[0] * rows))
    return np.asarray(Image.fromarray(knee).resize(size, Image.Resampling.BOX))


@pytest.mark.parametrize(
    ("rows", "columns", "elements"),
    [
        (0.5, 1, {"PixelAspectRatio": [2, 1]}),
        (1, 0.5, {"PixelAspectRatio": [1, 2]}),
        (0.75, 1, {"PixelSpacing": [0.2, 0.15]}),
        (1, 0.8, {"ImagerPixelSpacing": [0.12, 0.15]}),
        (0.5, 1, {"NominalScannedPixelSpacing": [0.4, 0.2]}),
    ],
)
def test_pixels_are_made_square_whichever_way_they_are_not(
    knee: np.ndarray, rows: float, columns: float, elements: dict[str, Any]
) -> None:
    read = dicom(squeezed(knee, rows, columns), **full_range(8), **elements)

    assert read.pixels.shape == pytest.approx(knee.shape, abs=2)
    height, width = read.pixels.shape
    whole = np.asarray(Image.fromarray(knee).resize((width, height))) / 255
    assert np.abs(read.pixels - whole).mean() < 0.02
    assert read.stretch == pytest.approx((1 / columns, 1 / rows), rel=0.02)
    assert len(read.warnings) == 1
    assert "resampled" in read.warnings[0]
    if read.spacing is not None:
        assert read.spacing.row_mm == pytest.approx(read.spacing.column_mm, rel=0.01)


@pytest.mark.parametrize(
    ("rows", "ratio", "is_coarse"), [(0.5, [2, 1], True), (0.6, [5, 3], False)]
)
def test_pixels_twice_as_high_as_wide_are_said_to_miss_detail(
    knee: np.ndarray, rows: float, ratio: list[int], *, is_coarse: bool
) -> None:
    read = dicom(squeezed(knee, rows, 1), **full_range(8), PixelAspectRatio=ratio)

    (warning,) = read.warnings
    assert ("detail is missing" in warning) is is_coarse


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PixelAspectRatio": [1, 1]},
        {"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [2, 1]},
        {"PixelSpacing": [0.1439, 0.144]},
    ],
)
def test_square_pixels_stay_as_they_are(knee: np.ndarray, elements: dict[str, Any]) -> None:
    read = dicom(knee, **full_range(8), **elements)

    np.testing.assert_array_equal(read.pixels, dicom(knee, **full_range(8)).pixels)
    assert read.stretch == UNSTRETCHED
    assert read.warnings == ()


@pytest.mark.parametrize("ratio", [[9, 1], [1, 0], [3]])
def test_a_shape_that_no_pixel_has_is_ignored_with_a_warning(
    knee: np.ndarray, ratio: list[int]
) -> None:
    read = dicom(knee, **full_range(8), PixelAspectRatio=ratio)

    assert read.pixels.shape == knee.shape
    assert "ignored" in read.warnings[0]


def test_a_tiff_of_unequal_resolution_is_made_square(tmp_path: Path, knee: np.ndarray) -> None:
    path = tmp_path / "scan.tif"
    Image.fromarray(squeezed(knee, 0.5, 1)).save(
        path, x_resolution=100, y_resolution=50, resolution_unit=3
    )
    read = read_radiograph(path)

    assert read.pixels.shape == pytest.approx(knee.shape, abs=2)
    assert read.spacing is not None
    assert read.spacing.row_mm == pytest.approx(read.spacing.column_mm, rel=0.01) == 0.1


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("film.tif", {"x_resolution": 144, "y_resolution": 72, "resolution_unit": 2}),
        ("film.tif", {"x_resolution": 2, "y_resolution": 1, "resolution_unit": 1}),
        ("film.png", {"dpi": (200, 100)}),
        ("film.jpg", {"dpi": (200, 100), "quality": 95}),
    ],
)
def test_a_shape_without_a_spacing_to_trust_is_heeded(
    tmp_path: Path, knee: np.ndarray, name: str, stated: dict[str, Any]
) -> None:
    Image.fromarray(squeezed(knee, 0.5, 1)).save(tmp_path / name, **stated)
    read = read_radiograph(tmp_path / name)

    assert read.pixels.shape == pytest.approx(knee.shape, abs=2)
    assert "resampled" in read.warnings[0]
    assert read.spacing is None


@pytest.mark.parametrize("stated", [{"dpi": (72, 72)}, {"dpi": (300, 301)}, {}])
def test_pixels_said_to_be_square_stay_as_they_are(
    tmp_path: Path, knee: np.ndarray, stated: dict[str, Any]
) -> None:
    Image.fromarray(knee).save(tmp_path / "film.png", **stated)
    read = read_radiograph(tmp_path / "film.png")

    np.testing.assert_array_equal(read.pixels, read_radiograph(png(knee)).pixels)
    assert read.warnings == ()


def test_a_shape_is_turned_with_its_picture(tmp_path: Path, knee: np.ndarray) -> None:
    """A square picture too, whose sides do not tell that its rows are columns."""
    exif = Image.Exif()
    exif[274] = 6
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(knee)))
    lying.resize((150, 298)).save(tmp_path / "high.jpg", dpi=(100, 200), exif=exif)
    Image.fromarray(knee).save(tmp_path / "square.jpg", dpi=(200, 100), exif=exif)

    assert read_radiograph(tmp_path / "high.jpg").pixels.shape == (300, 298)
    assert read_radiograph(tmp_path / "square.jpg").pixels.shape == (299, 598)


def test_a_picture_at_the_limit_of_its_size_does_not_grow() -> None:
    film = Picture(np.zeros((6700, 6700), np.float32), 8)
    square = with_square_pixels(film, 2.0)

    assert square.pixels.size <= MAX_PIXELS
    assert square.pixels.shape == (6700, 3350)


def waves(rows: int, columns: int, across: float, down: float) -> np.ndarray:
    """A picture of so many waves in its width and its height, 0..1."""
    x, y = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    wave = np.cos(np.pi * 2 * across * x)[None] * np.cos(np.pi * 2 * down * y)[:, None]
    return np.asarray(0.5 + 0.4 * wave, dtype=np.float32)


@pytest.mark.parametrize(("rows", "columns"), [(200, 150), (200, 371), (90, 150), (301, 199)])
def test_detail_that_the_pixels_can_hold_is_where_it_was(rows: int, columns: int) -> None:
    """Up to 0.8 of what the coarser picture can hold: 36 of 45 waves in 90 rows."""
    few = min(rows, 200), min(columns, 150)
    wanted = waves(rows, columns, 0.4 * few[1], 0.4 * few[0])
    made = resampled(waves(200, 150, 0.4 * few[1], 0.4 * few[0]), rows, columns)
    inside = slice(20, -20), slice(20, -20)  # where the mirror image does not continue the waves
    assert np.abs(made - wanted)[inside].max() < 0.02
    assert made.shape == wanted.shape
    assert made.dtype == np.float32


def test_what_fewer_pixels_cannot_hold_goes_without_a_trace() -> None:
    made = resampled(waves(200, 200, 0, 80), 100, 200)
    assert np.abs(made - 0.5)[20:-20].max() < 0.01


@pytest.mark.parametrize("rows", [374, 448, 598])
def test_a_knee_refined_and_reduced_again_is_itself(knee: np.ndarray, rows: int) -> None:
    plane = knee.astype(np.float32) / 255
    back = resampled(resampled(plane, rows, rows), *plane.shape)
    assert np.sqrt(np.square(back - plane).mean()) < 0.0015
    assert np.abs(back - plane).max() < 0.01


@pytest.mark.parametrize("axis", [0, 1])
def test_the_damping_of_long_pixels_is_undone(axis: int) -> None:
    """Pixels are means: of waves seen by short pixels and by ones twice as long, refined."""
    fine = waves(400, 400, 40, 40)
    short = fine.reshape(200, 2, 200, 2).mean((1, 3))
    long = short.reshape(100, 2, 200).mean(1) if axis == 0 else short.reshape(200, 100, 2).mean(2)
    refined = resampled(long, 200, 200)
    inside = slice(20, -20), slice(20, -20)
    assert np.abs(refined - short)[inside].max() > 0.02
    assert np.abs(undamped(refined, axis, 2.0) - short)[inside].max() < 0.01
    flat = np.full((50, 60), 0.7, np.float32)
    np.testing.assert_allclose(undamped(flat, axis, 2.0), flat, atol=1e-6)


# --- a range of grey values ------------------------------------------------------------------


def disturbed(words: np.ndarray, kind: str) -> np.ndarray:
    disturbed = words.copy()
    if kind == "hot pixel":
        disturbed[40, 50] = 65535
    elif kind == "hot pixels":
        disturbed.flat[: 8 * 9973 : 9973] = np.linspace(20_000, 65535, 8)
    elif kind == "label":
        disturbed[5:30, 5:120:2] = 65535
    elif kind == "soft label":
        ramp = np.linspace(3000, 65535, 115).astype(np.uint16)
        disturbed[5:15, 5:120] = np.maximum(disturbed[5:15, 5:120], ramp)
    else:
        disturbed = np.pad(words, 40, constant_values=65535)
    return disturbed


KINDS = ("hot pixel", "hot pixels", "label", "soft label", "frame")


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_values_far_away_do_not_flatten_a_dicom_picture(words: np.ndarray, kind: str) -> None:
    plain, read = dicom(words), dicom(disturbed(words, kind))

    pixels = read.pixels[40:-40, 40:-40] if kind == "frame" else read.pixels
    off = np.abs(pixels - plain.pixels)
    assert np.median(off) < 0.02
    assert (off > 0.05).mean() < 0.05
    assert "hot pixel" in read.warnings[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_values_far_away_do_not_flatten_a_wide_picture(words: np.ndarray, kind: str) -> None:
    plain = read_radiograph(png(words))
    for source in (png(disturbed(words, kind)), disturbed(words, kind)):
        read = read_radiograph(source)
        pixels = read.pixels[40:-40, 40:-40] if kind == "frame" else read.pixels
        assert read.bit_depth == plain.bit_depth == 12
        assert np.median(np.abs(pixels - plain.pixels)) == 0
        assert (read.pixels.max() == 1) is not kind.startswith("hot")
        assert "hot pixel" in read.warnings[0]


@pytest.mark.parametrize("place", [(0, 0), (0, 150), (298, 298), (120, 7)])
def test_a_hot_pixel_takes_the_value_of_its_neighbours(
    words: np.ndarray, place: tuple[int, int]
) -> None:
    hot = words.copy()
    hot[place] = 65535
    off = read_radiograph(hot).pixels - read_radiograph(words).pixels

    assert np.count_nonzero(off) <= 1
    assert np.abs(off).max() < 0.1


def test_darkness_far_away_counts_as_little(words: np.ndarray) -> None:
    signed = words.astype(np.int16)
    hole = signed.copy()
    hole[3, 3] = -30_000

    assert np.abs(dicom(hole).pixels - dicom(signed).pixels).max() < 0.03


@given(st.integers(0, 200), st.integers(1, 55), st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_an_ordinary_picture_keeps_its_whole_range(low: int, spread: int, kind: Any) -> None:
    rng = np.random.default_rng(low)
    values = (low + rng.uniform(0, spread + 1, (64, 64))).astype(kind)  # no value is a rare one
    found = grey_range(values)

    assert (found.low, found.high) == (values.min(), values.max())
    assert found.outside == 0


def test_rare_values_of_a_nearly_flat_picture_are_kept() -> None:
    """A few tones side by side, and a few pixels some steps farther: no gap, no outlier."""
    values = np.full((100, 100), 101, np.uint8)
    values[:40], values[40:60] = 100, 102
    values[0, :6] = 94, 96, 98, 104, 106, 108
    for factor in (1, 12):
        found = grey_range(values.astype(np.uint16) * factor)
        assert (found.low, found.high) == (94 * factor, 108 * factor)


@pytest.mark.parametrize("kind", ["hot pixel", "label", "frame"])
def test_the_range_is_that_of_the_picture_without_what_lies_far_outside(
    words: np.ndarray, kind: str
) -> None:
    soft = disturbed(words, kind)
    if kind == "label":  # its edge shares pixels with the film
        soft[30, 5:120:2] = 4500
    read = dicom(soft)
    pixels = read.pixels[40:-40, 40:-40] if kind == "frame" else read.pixels
    off = np.abs(pixels - dicom(words).pixels)
    assert np.count_nonzero(off) == (0 if kind == "frame" else np.count_nonzero(soft != words))
    outliers = 0 if kind == "hot pixel" else np.count_nonzero(soft == 65535)
    assert read.outliers is not None
    assert np.count_nonzero(read.outliers) == pytest.approx(outliers, abs=60)


def test_what_lies_far_outside_is_known_in_every_format(words: np.ndarray) -> None:
    label = disturbed(words, "label")
    for source in (png(label), label, dicom_bytes(label)):
        outliers = read_radiograph(source).outliers
        assert outliers is not None
        assert np.array_equal(outliers[:30], label[:30] == 65535)
    squeezed_label = dicom(label, PixelAspectRatio=[2, 1])
    assert squeezed_label.outliers is not None
    assert squeezed_label.outliers.shape == squeezed_label.pixels.shape
    assert dicom(words).outliers is None


def test_metal_and_a_black_border_are_no_outliers(words: np.ndarray) -> None:
    with_metal = words.copy()
    with_metal[100:140, 100:200] = 4095
    for values in (with_metal, np.pad(words, 60)):
        assert grey_range(values)[:2] == (values.min(), values.max())


# --- contrasts that the file states and that show nothing -------------------------------------


WINDOW = {"WindowCenter": "1830", "WindowWidth": "3060"}


@pytest.mark.parametrize("holds", [8, 10, 12])
def test_a_table_of_fewer_bits_than_it_says_gives_way_to_the_window(
    words: np.ndarray, holds: int
) -> None:
    entries = np.linspace(0, 2**holds - 1, 4096).astype(np.uint16)
    broken = {"VOILUTSequence": [lut_item(entries, first=0, bits=16)]}
    read = dicom(words, bits=12, **broken, **WINDOW)

    np.testing.assert_array_equal(read.pixels, dicom(words, bits=12, **WINDOW).pixels)
    assert read.warnings == ("VOILUTSequence cannot be used and is ignored",)
    without = dicom(words, bits=12, **broken)
    np.testing.assert_array_equal(without.pixels, dicom(words, bits=12).pixels)


def test_a_window_that_shows_next_to_nothing_gives_way_to_the_range(words: np.ndarray) -> None:
    read = dicom(words, bits=16, WindowCenter="400000", WindowWidth="800000")

    np.testing.assert_array_equal(read.pixels, dicom(words, bits=16).pixels)
    assert "shows nothing" in read.warnings[0]


# --- bytes -----------------------------------------------------------------------------------


def with_tail(pixels: np.ndarray, tail: bytes) -> bytes:
    return dicom_bytes(pixels, **full_range(8), PixelData=pixels.tobytes() + tail)


@pytest.mark.parametrize("tail", [b"\1" * 127, bytes(4095)])
def test_padding_behind_the_pixels_is_cut(knee: np.ndarray, tail: bytes) -> None:
    read = read_radiograph(with_tail(knee, tail))

    np.testing.assert_array_equal(read.pixels, dicom(knee, **full_range(8)).pixels)
    assert str(len(tail)) in read.warnings[0]


def test_more_pixels_than_the_header_says_are_no_padding(knee: np.ndarray) -> None:
    with pytest.raises(UnreadableRadiograph, match="bytes of pixels, expected"):
        read_radiograph(with_tail(knee, knee[:2].tobytes()))


def test_a_file_without_pixels_says_so(knee: np.ndarray) -> None:
    with pytest.raises(UnreadableRadiograph, match="holds no pixels"):
        read_radiograph(dicom_bytes(knee, PixelData=b""))


def test_the_first_picture_of_a_phones_file_is_read(tmp_path: Path, knee: np.ndarray) -> None:
    path = tmp_path / "phone.jpg"
    first = Image.fromarray(knee)
    first.save(path, "MPO", save_all=True, append_images=[first.resize((60, 60))], quality=95)
    read = read_radiograph(path)

    assert read.pixels.shape == knee.shape
    assert np.abs(read.pixels - knee / 255).mean() < 0.02
    assert "several pictures" in read.warnings[0]
