"""Pictures in, grey values out: PNG, JPEG and TIFF, and everything that is no picture."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kellgren.errors import UnreadableRadiograph
from kellgren.grades import Side
from kellgren.imaging.picture import MIN_SIDE, SUFFIXES, RejectedPicture, check_size
from kellgren.imaging.radiograph import read_radiograph

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.png"))
ONE_GREY_LEVEL_OF_16_BITS = 1 / 65535


@pytest.fixture(scope="module")
def knee() -> np.ndarray:
    """A real knee, (H, W) uint8."""
    return np.asarray(Image.open(EXAMPLES[0]))


@pytest.fixture(scope="module")
def ramp() -> np.ndarray:
    """Every grey level of 8 bits, (64, 64) uint8, different in each corner."""
    return (np.arange(64 * 64) % 256).astype(np.uint8).reshape(64, 64)


def save(pixels: np.ndarray, path: Path, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_keeps_its_promises(path: Path) -> None:
    radiograph = read_radiograph(path)
    assert radiograph.pixels.dtype == np.float32
    assert np.array_equal(np.rint(radiograph.pixels * 255), np.asarray(Image.open(path)))
    assert (radiograph.source, radiograph.file_format) == (str(path), "PNG")
    assert (radiograph.side, radiograph.spacing, radiograph.bit_depth) == (Side.UNKNOWN, None, 8)
    assert radiograph.warnings == ()


@pytest.mark.parametrize(
    ("name", "widen", "options", "tolerance"),
    [
        ("knee.png", 1, {}, 0),
        ("knee.tif", 1, {}, 0),
        ("knee.tiff", 1, {"compression": "tiff_lzw"}, 0),
        ("deflated.tif", 1, {"compression": "tiff_adobe_deflate"}, 0),
        ("wide.png", 257, {}, ONE_GREY_LEVEL_OF_16_BITS),
        ("wide.tif", 257, {}, ONE_GREY_LEVEL_OF_16_BITS),
        ("wide_lzw.tif", 257, {"compression": "tiff_lzw"}, ONE_GREY_LEVEL_OF_16_BITS),
        ("knee.jpg", 1, {"quality": 95}, 6 / 255),
        ("progressive.jpeg", 1, {"quality": 95, "progressive": True}, 6 / 255),
    ],
)
def test_one_knee_in_every_format_gives_the_same_pixels(
    tmp_path: Path, knee: np.ndarray, name: str, widen: int, options: dict, tolerance: float
) -> None:
    stored = knee if widen == 1 else knee.astype(np.uint16) * widen
    radiograph = read_radiograph(save(stored, tmp_path / name, **options))
    assert np.abs(radiograph.pixels - knee / np.float32(255)).max() <= tolerance
    assert radiograph.bit_depth == (8 if widen == 1 else 16)
    assert radiograph.warnings == ()


@given(depth=st.sampled_from([8, 10, 12, 14, 16]))
def test_wide_integers_are_scaled_by_the_smallest_depth_that_holds_them(
    tmp_path_factory: pytest.TempPathFactory, depth: int
) -> None:
    stored = np.linspace(0, 2**depth - 1, 32 * 32).astype(np.uint16).reshape(32, 32)
    path = tmp_path_factory.mktemp("depth") / "ramp.png"
    radiograph = read_radiograph(save(stored, path))
    assert radiograph.bit_depth == depth
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0.0, 1.0)
    np.testing.assert_allclose(radiograph.pixels, stored / (2**depth - 1), atol=1e-6)


def test_tiff_of_both_byte_orders_and_32_bits(tmp_path: Path, ramp: np.ndarray) -> None:
    big_endian = Image.frombytes("I;16B", (64, 64), ramp.astype(">u2").tobytes())
    big_endian.save(tmp_path / "big.tif")
    wide = save(ramp.astype(np.int32), tmp_path / "wide.tif")
    for path in (tmp_path / "big.tif", wide):
        np.testing.assert_array_equal(np.rint(read_radiograph(path).pixels * 255), ramp)


@pytest.mark.parametrize("widen", [1, 257])
def test_white_is_zero_tiff_is_turned_over(tmp_path: Path, ramp: np.ndarray, widen: int) -> None:
    stored = ramp if widen == 1 else ramp.astype(np.uint16) * widen
    path = save(stored, tmp_path / "film.tif")
    data = bytearray(path.read_bytes())
    black_is_zero = bytes.fromhex("06010300010000000100")
    at = data.index(black_is_zero)
    data[at + 8] = 0
    path.write_bytes(data)
    np.testing.assert_array_equal(np.rint(read_radiograph(path).pixels * 255), 255 - ramp)


def test_floating_point_tiff_must_lie_in_the_unit_range(tmp_path: Path, ramp: np.ndarray) -> None:
    unit = save((ramp / 255).astype(np.float32), tmp_path / "unit.tif")
    np.testing.assert_array_equal(np.rint(read_radiograph(unit).pixels * 255), ramp)
    for name, factor in (("large", 2.0), ("negative", -1.0), ("nan", np.nan)):
        path = save((ramp / 255 * factor).astype(np.float32), tmp_path / f"{name}.tif")
        with pytest.raises(UnreadableRadiograph, match="floating-point"):
            read_radiograph(path)


def test_grey_stored_as_colour_is_grey(tmp_path: Path, ramp: np.ndarray) -> None:
    grey = Image.fromarray(ramp)
    for mode in ("RGB", "RGBA", "LA", "P"):
        grey.convert(mode).save(tmp_path / f"{mode}.png")
        radiograph = read_radiograph(tmp_path / f"{mode}.png")
        np.testing.assert_array_equal(np.rint(radiograph.pixels * 255), ramp)
        assert radiograph.warnings == ()


def test_colour_is_read_as_luminance_with_a_warning(tmp_path: Path, ramp: np.ndarray) -> None:
    colour = np.dstack([ramp, ramp[::-1], ramp.T])
    radiograph = read_radiograph(save(colour, tmp_path / "photo.png"))
    expected = colour @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(radiograph.pixels * 255, expected, atol=0.51)
    assert "colour picture" in radiograph.warnings[0]


def test_transparent_parts_are_black_with_a_warning(tmp_path: Path, ramp: np.ndarray) -> None:
    alpha = np.full_like(ramp, 255)
    alpha[:10] = 0
    radiograph = read_radiograph(save(np.dstack([ramp + 1, alpha]), tmp_path / "cut.png"))
    assert (radiograph.pixels[:10] == 0).all()
    np.testing.assert_array_equal(np.rint(radiograph.pixels[10:] * 255), (ramp + 1)[10:])
    assert "transparent" in radiograph.warnings[0]


@pytest.mark.parametrize("name", ["turned.jpg", "turned.png", "turned.tif"])
def test_orientation_tag_is_applied(tmp_path: Path, knee: np.ndarray, name: str) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the top of the scene is the picture's right edge
    stored = np.rot90(knee[:200])
    path = save(stored, tmp_path / name, exif=exif, **({"quality": 95} if "jpg" in name else {}))
    np.testing.assert_allclose(read_radiograph(path).pixels, knee[:200] / 255, atol=6 / 255)


def test_tiff_resolution_is_spacing_unless_it_is_a_screens(
    tmp_path: Path, ramp: np.ndarray
) -> None:
    spacing = read_radiograph(
        save(ramp, tmp_path / "film.tif", x_resolution=50, y_resolution=100, resolution_unit=3)
    ).spacing
    assert spacing is not None
    assert (spacing.row_mm, spacing.column_mm) == pytest.approx((0.1, 0.1))
    assert spacing.source == "TIFF resolution"
    for name, dpi in (("screen.tif", 72), ("web.tif", 96), ("absurd.tif", 1e6)):
        assert read_radiograph(save(ramp, tmp_path / name, dpi=(dpi, dpi))).spacing is None
    assert read_radiograph(save(ramp, tmp_path / "none.tif")).spacing is None


def test_content_decides_and_a_wrong_suffix_is_warned_of(tmp_path: Path, knee: np.ndarray) -> None:
    wrong = save(knee, tmp_path / "knee.dcm", format="PNG")
    radiograph = read_radiograph(str(wrong))
    assert (radiograph.file_format, radiograph.source) == ("PNG", str(wrong))
    assert radiograph.warnings == ("the file is named .dcm but holds a PNG picture",)
    assert read_radiograph(save(knee, tmp_path / "KNEE.PNG", format="PNG")).warnings == ()
    assert read_radiograph(save(knee, tmp_path / "knee", format="PNG")).warnings == ()


def test_suffixes_are_those_of_the_formats() -> None:
    jpeg, dicom = {".jpg", ".jpeg", ".jpe", ".jfif"}, {".dcm", ".dicom", ".dic", ".ima"}
    assert {".png", ".tif", ".tiff"} | jpeg | dicom == SUFFIXES


def test_sizes_are_checked_at_their_limits() -> None:
    check_size(MIN_SIDE, 20_000)
    check_size(4_500, 10_000)
    for rows, columns in [(MIN_SIDE - 1, 100), (100, MIN_SIDE - 1), (20_001, 32), (4_500, 10_001)]:
        with pytest.raises(RejectedPicture, match="claims"):
            check_size(rows, columns)


def refused(path: Path) -> str:
    with pytest.raises(UnreadableRadiograph) as caught:
        read_radiograph(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy.endswith(".")
    assert caught.value.problem[-1] != "."
    return caught.value.problem


def test_what_is_no_picture_is_named_for_what_it_is(tmp_path: Path, knee: np.ndarray) -> None:
    contents = {
        "empty": b"",
        "text": "grade,knee\n0,links\u00e4\n".encode() * 50,
        "PDF": b"%PDF-1.7\n" + bytes(100),
        "gzip": b"\x1f\x8b\x08" + bytes(100),
        "GIF": b"GIF89a" + bytes(100),
        "BMP": b"BM" + bytes(100),
        "no PNG": bytes(range(128, 256)) * 4,
    }
    for word, content in contents.items():
        path = tmp_path / f"{word}.png"
        path.write_bytes(content)
        assert word in refused(path)
    with zipfile.ZipFile(tmp_path / "a.png", "w") as archive:
        archive.write(EXAMPLES[0], "knee.png")
    assert "ZIP" in refused(tmp_path / "a.png")


def test_what_is_no_file_is_named_for_what_it_is(tmp_path: Path) -> None:
    assert "folder" in refused(tmp_path)
    assert "does not exist" in refused(tmp_path / "nowhere.png")
    assert "cannot be opened" in refused(tmp_path / ("long" * 1000))
    assert "cannot be opened" in refused(tmp_path / "nul\0byte.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "regular file" in refused(tmp_path / "pipe.png")


def test_permission_denied(tmp_path: Path, knee: np.ndarray) -> None:
    path = save(knee, tmp_path / "secret.png")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # the superuser may read everything
        os.seteuid(65534)
    try:
        assert "may not be read" in refused(path)
    finally:
        os.seteuid(user)


def test_pictures_that_show_no_knee_are_refused(tmp_path: Path, knee: np.ndarray) -> None:
    assert "blank" in refused(save(np.full_like(knee, 128), tmp_path / "blank.png"))
    Image.fromarray(knee).convert("1").save(tmp_path / "bits.png")
    assert "without grey levels" in refused(tmp_path / "bits.png")
    Image.fromarray(knee).convert("CMYK").save(tmp_path / "print.jpg")
    assert "CMYK" in refused(tmp_path / "print.jpg")
    assert "fewer than 32" in refused(save(knee[:31], tmp_path / "strip.png"))
    negative = save(knee.astype(np.int32) - 300, tmp_path / "negative.tif")
    assert "outside 0 to 65535" in refused(negative)


@pytest.mark.parametrize("name", ["pages.tif", "moving.png"])
def test_several_pictures_in_one_file_are_refused(
    tmp_path: Path, knee: np.ndarray, name: str
) -> None:
    first, second = Image.fromarray(knee), Image.fromarray(knee[::-1])
    first.save(tmp_path / name, save_all=True, append_images=[second])
    assert "several pictures" in refused(tmp_path / name)


def test_reading_a_png_does_not_load_the_dicom_decoders() -> None:
    program = (
        "import sys; from kellgren.imaging.radiograph import read_radiograph;"
        f"read_radiograph({str(EXAMPLES[0])!r});"
        "sys.exit('pydicom' in sys.modules or 'imagecodecs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
