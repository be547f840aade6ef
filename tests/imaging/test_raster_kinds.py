"""Kinds of PNG and TIFF that Pillow opens and decodes to other greys than other programs show."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from damaged_files import picture
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.radiograph import Radiograph, read_radiograph

_ORIENTATION, _ROWS_PER_STRIP, _SAMPLE_FORMAT = 274, 278, 339


@pytest.fixture
def ramp() -> np.ndarray:
    """All 256 greys, (64, 96) uint8, no row or column like another."""
    return (np.arange(64 * 96).reshape(64, 96) * 7 % 256).astype(np.uint8)


def tiff(planes: list[np.ndarray], *more: tuple[int, int]) -> bytes:
    """An uncompressed little-endian TIFF that stores each sample by itself.

    Args:
        planes: ``(H, W)`` each.
        more: tags of one short number.
    """
    height, width = planes[0].shape
    bits, count = planes[0].itemsize * 8, len(planes)
    pixels = b"".join(plane.astype(plane.dtype.newbyteorder("<")).tobytes() for plane in planes)
    lists, offset = b"", 8 + len(pixels)

    def several(kind: str, numbers: list[int]) -> int:
        nonlocal lists
        packed = struct.pack(f"<{count}{kind}", *numbers)
        if len(packed) <= 4:
            return int.from_bytes(packed, "little")
        lists += packed
        return offset + len(lists) - len(packed)

    size = len(pixels) // count
    tags = {
        256: (3, 1, width),
        257: (3, 1, height),
        258: (3, count, several("H", [bits] * count)),
        259: (3, 1, 1),
        262: (3, 1, 2 if count == 3 else 1),
        273: (4, count, several("I", [8 + n * size for n in range(count)])),
        277: (3, 1, count),
        278: (3, 1, height),
        279: (4, count, several("I", [size] * count)),
        284: (3, 1, 2),
        **{tag: (3, 1, value) for tag, value in more},
    }
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", offset + len(lists)) + pixels + lists + directory


def png(pixels: np.ndarray, bits: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(f">u{bits // 8}"))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return chunked((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def chunked(*parts: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def refusal(data: bytes) -> str:
    with pytest.raises(UnreadableRadiograph) as caught:
        read_radiograph(data)
    return str(caught.value)


def same(read: Radiograph, greys: np.ndarray) -> bool:
    return bool(np.abs(read.pixels - greys / 255).max() < 0.003) and not read.warnings


def test_a_sign_in_8_bits_is_no_brightness(ramp: np.ndarray) -> None:
    assert same(read_radiograph(tiff([ramp])), ramp)
    assert "a sign in 8 bits" in refusal(tiff([ramp ^ 128], (_SAMPLE_FORMAT, 2)))


def test_planes_of_16_bits_are_not_read_as_bytes(ramp: np.ndarray) -> None:
    assert same(read_radiograph(tiff([ramp] * 3)), ramp)
    assert "more than 8 bits" in refusal(tiff([ramp.astype(np.uint16) * 257] * 3))


def test_a_plane_with_a_mask_by_itself_is_refused(ramp: np.ndarray) -> None:
    assert "with a mask" in refusal(tiff([ramp, np.full_like(ramp, 255)], (338, 2)))


@pytest.mark.parametrize(("colour", "samples"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_16_bits_are_read_where_they_use_them(
    ramp: np.ndarray, colour: int, samples: int
) -> None:
    for factor, is_read in ((257, True), (16, False)):
        pixels = np.stack([ramp.astype(np.uint16) * factor] * samples, axis=-1)
        if samples != 3:
            pixels[..., -1] = 65535
        data = png(pixels, 16, colour)
        assert same(read_radiograph(data), ramp) if is_read else "fewer bits" in refusal(data)


def test_a_palette_holds_every_colour_that_is_named(ramp: np.ndarray) -> None:
    greys = bytes(np.repeat(np.arange(256), 3).tolist())
    assert same(read_radiograph(png(ramp, 8, 3, (b"PLTE", greys))), ramp)
    assert "beyond the 255 of its palette" in refusal(png(ramp, 8, 3, (b"PLTE", greys[:-3])))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 40)])
def test_a_png_without_its_last_rows_is_refused(size: tuple[int, int], bits: int) -> None:
    """Its checksums are right; Pillow takes what is missing for black."""
    rows, columns = size
    row = -(-columns * bits // 8)
    header = struct.pack(">IIBBBBB", columns, rows, bits, 0, 0, 0, 0)
    lines = b"".join(b"\0" + bytes((n + 37 * m) % 256 for m in range(row)) for n in range(rows))
    black_at_the_end = lines[:-row] + bytes(row)
    for whole in (lines, black_at_the_end):
        for missing in (0, 1, row + 1):  # bytes: none, of the last row one, or all
            kept = zlib.compress(whole[: len(whole) - missing])
            data = chunked((b"IHDR", header), (b"IDAT", kept), (b"IEND", b""))
            if missing:
                assert "is damaged" in refusal(data)
            elif bits > 1:
                assert read_radiograph(data).pixels.shape == size


def test_the_rows_of_an_interlaced_png_are_counted(ramp: np.ndarray) -> None:
    columns = (0, 4, 0, 2, 0, 1, 0), (8, 8, 4, 4, 2, 2, 1)
    rows = (0, 0, 4, 0, 2, 0, 1), (8, 8, 8, 4, 4, 2, 2)
    passes = [
        ramp[top::down, left::across]
        for left, across, top, down in zip(*columns, *rows, strict=True)
    ]
    lines = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    header = struct.pack(">IIBBBBB", 96, 64, 8, 0, 0, 0, 1)
    for end, is_whole in ((len(lines), True), (-97, False)):
        pixels = zlib.compress(lines[:end])
        data = chunked((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
        assert same(read_radiograph(data), ramp) if is_whole else "last row" in refusal(data)


@pytest.mark.parametrize(
    ("gamma", "shown"), [(100_000, "brighter"), (20_000, "darker"), (45_455, ""), (0, "")]
)
def test_a_gamma_that_other_programs_heed_is_warned_of(
    ramp: np.ndarray, gamma: int, shown: str
) -> None:
    stated = (b"gAMA", struct.pack(">I", gamma))
    warnings = read_radiograph(png(ramp, 8, 0, stated)).warnings
    assert [f"show it {shown} than" in warning for warning in warnings] == [True] * bool(shown)
    # What a screen's profile says comes first.
    assert not read_radiograph(png(ramp, 8, 0, stated, (b"sRGB", b"\0"))).warnings


def test_a_tiff_laid_over_has_its_shape_of_pixels_turned(ramp: np.ndarray) -> None:
    turned = Image.Exif()
    turned[_ORIENTATION] = 6
    for file_format in ("TIFF", "JPEG"):
        data = picture(ramp[:, :64], file_format, dpi=(200, 100), exif=turned)
        assert read_radiograph(data).pixels.shape == (64, 128), file_format
    stored = io.BytesIO()
    tags = {_ORIENTATION: 6, 282: 200.0, 283: 100.0, 296: 2}
    Image.fromarray(ramp).save(stored, "TIFF", tiffinfo=tags)
    assert read_radiograph(stored.getvalue()).spacing is not None


def test_strips_of_a_tiff_laid_over_are_as_long_as_they_were(ramp: np.ndarray) -> None:
    stored = io.BytesIO()
    tags = {_ORIENTATION: 6, _ROWS_PER_STRIP: 7}
    Image.fromarray(ramp).save(stored, "TIFF", tiffinfo=tags, compression="packbits")
    assert same(read_radiograph(stored.getvalue()), np.rot90(ramp, -1))


def test_a_kind_that_no_decoder_knows_is_not_called_damaged_alone(ramp: np.ndarray) -> None:
    words = picture(ramp.astype(np.uint16) * 257, "TIFF")
    white_is_zero = words.replace(
        struct.pack("<HHII", 262, 3, 1, 1), struct.pack("<HHII", 262, 3, 1, 6)
    )
    assert "of a kind of TIFF that is not read here" in refusal(white_is_zero)


def test_a_jpeg_strip_fills_its_rows(ramp: np.ndarray) -> None:
    """Where it has fewer, libtiff leaves the rest as it was in memory, without a word."""
    smooth = np.sort(ramp, axis=0)
    for pixels in (smooth, np.stack([smooth] * 3, axis=-1)):
        stored = picture(pixels, "TIFF", compression="jpeg", quality=95)
        assert read_radiograph(stored).pixels.shape == smooth.shape
        frame = stored.index(b"\xff\xc0")
        assert stored[frame + 5 : frame + 7] == (64).to_bytes(2)
        fewer = stored[: frame + 5] + (56).to_bytes(2) + stored[frame + 7 :]
        assert "ends before its last row" in refusal(fewer)
