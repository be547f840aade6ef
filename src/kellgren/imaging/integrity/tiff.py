"""TIFF pictures: every strip or tile is whole.

Pillow drops libtiff's warnings, and reads what stands before damage in a strip as the picture. So
the compressions that can tell damage are unpacked a second time, each strip by itself. LZW and
PackBits have no checksum, but a lost or changed code moves all that follow, and so their length.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from PIL import Image

from kellgren.imaging.integrity.jpeg import check_jpeg_data, check_jpeg_outline, decoded_bytes
from kellgren.imaging.picture import RejectedPicture

_COMPRESSION, _JPEG_TABLES = 259, 347
_PLACES = ((273, 279), (324, 325))  # of strips, of tiles: offsets and lengths
_BITS, _SAMPLES, _PLANAR, _STRIP_ROWS = 258, 277, 284, 278
_TILE_WIDTH, _TILE_ROWS = 322, 323
_UNCOMPRESSED, _LZW, _JPEG, _PACK_BITS, _DEFLATE = 1, 5, 7, 32773, frozenset({8, 32946})
_WIDTH, _HEIGHT, _SAMPLE_FORMAT = 256, 257, 339
_SEPARATE, _SIGNED = 2, 2
_LARGEST_PIXEL = 8  # bytes: four samples of 16 bits
_BLOCK_BYTES = 2**22
_ODD_LENGTH = "a part of the TIFF is longer or shorter than its rows: it is perhaps damaged"
_COPY_AGAIN = "Export or copy the picture again."
_SAVE_GREY = "Save it as a grey picture of 8 to 16 bits without a sign."


def check_tiff_samples(image: Image.Image) -> None:
    """Refuse the samples that Pillow opens and decodes wrongly.

    It takes the sign of 8 bits for the highest of them, and halves of 16-bit samples for pixels
    where each colour is stored by itself.

    Args:
        image: just opened.

    Raises:
        RejectedPicture: it stores such.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    widest = max((*tags.get(_BITS, (1,)),))
    if _SIGNED in (*tags.get(_SAMPLE_FORMAT, ()),) and widest <= 8:
        raise RejectedPicture("stores grey values with a sign in 8 bits", _SAVE_GREY)
    if (
        tags.get(_PLANAR, 1) == _SEPARATE
        and tags.get(_SAMPLES, 1) > 1
        and (widest > 8 or image.mode not in ("RGB", "RGBA", "CMYK", "YCbCr", "LAB"))
    ):
        raise RejectedPicture(
            "stores each colour by itself, in more than 8 bits or with a mask", _SAVE_GREY
        )


def check_tiff_data(data: bytes, image: Image.Image) -> list[str]:
    """Unpack each strip or tile of a TIFF for what its own checks say.

    Args:
        data: the whole file.
        image: opened from it, its size checked.

    Returns:
        Warnings, each once.

    Raises:
        RejectedPicture: a strip lies outside the file, ends early, or holds what was never written.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    compression = tags.get(_COMPRESSION, _UNCOMPRESSED)
    warnings: list[str] = []
    room = _stored_pixels(tags) * _LARGEST_PIXEL
    for strip, lengths in zip_longest(_strips(data, tags), _lengths(tags), fillvalue=()):
        if not strip or not lengths:
            warnings.append(_ODD_LENGTH)
        elif compression == _JPEG:
            warnings += _check_jpeg(strip, tags.get(_JPEG_TABLES, b""), min(lengths))
        elif compression in _DEFLATE:
            room -= _unpacked_bytes(strip, room)
        elif not _fills(strip, compression, lengths, room):
            warnings.append(_ODD_LENGTH)
    return list(dict.fromkeys(warnings))


def _fills(strip: memoryview, compression: int, lengths: tuple[int, ...], most: int) -> bool:
    """Whether a strip without a checksum is as long as its rows; of others nothing is known."""
    if compression == _PACK_BITS:
        return _packed_bytes(strip) in lengths
    if compression == _LZW:
        import imagecodecs  # takes a tenth of a second to load, and few pictures need it

        try:
            return (
                len(imagecodecs.lzw_decode(bytes(strip), out=min(max(lengths), most) + 1))
                in lengths
            )
        except RuntimeError:  # libtiff, which reads the picture, also knows an older kind
            return False
    return compression != _UNCOMPRESSED or len(strip) in lengths


def _stored_pixels(tags: Any) -> int:
    """Pixels of the picture; tiles are whole where they reach beyond it, by less than one tile."""
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    across, down = int(tags.get(_TILE_WIDTH, 1)), int(tags.get(_TILE_ROWS, 1))
    return (width + min(across, width)) * (height + min(down, height))


def _lengths(tags: Any) -> Iterator[tuple[int, ...]]:
    """Bytes of each strip's or tile's rows; writers may fill the last strip up to a whole one."""
    samples = int(tags.get(_SAMPLES, 1))
    bits = sum((*tags.get(_BITS, (1,)),))
    planes = samples if tags.get(_PLANAR, 1) == _SEPARATE else 1
    bits //= planes
    stored_width, stored_rows = int(tags[_WIDTH]), int(tags[_HEIGHT])
    if _TILE_WIDTH in tags:
        width, rows = int(tags[_TILE_WIDTH]), int(tags[_TILE_ROWS])
        tiles = math.ceil(stored_width / width) * math.ceil(stored_rows / rows)
        yield from ((math.ceil(width * bits / 8) * rows,),) * tiles * planes
        return
    of_row = math.ceil(stored_width * bits / 8)
    rows = min(int(tags.get(_STRIP_ROWS, stored_rows)), stored_rows)
    for _ in range(planes):
        for first in range(0, stored_rows, rows):
            yield of_row * min(rows, stored_rows - first), of_row * rows


def _strips(data: bytes, tags: Any) -> list[memoryview]:
    places = [
        place
        for offsets, lengths in _PLACES
        for place in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)
    ]
    if any(offset + length > len(data) for offset, length in places):
        raise RejectedPicture("is damaged: a part of it is missing", _COPY_AGAIN)
    # No two of them share their bytes, or a small file could keep this check busy for hours.
    if sum(length for _, length in places) > len(data):
        raise RejectedPicture("is damaged: its parts overlap", _COPY_AGAIN)
    whole = memoryview(data)  # slices of bytes are copies
    return [whole[offset : offset + length] for offset, length in places]


def _check_jpeg(strip: memoryview, tables: bytes, least: int) -> list[str]:
    """A strip that fills its rows, of so many bytes at least; libtiff leaves those it lacks empty.

    The tables that all strips share stand in a tag, as a JPEG of their own.
    """
    whole = tables[:-2] + bytes(strip[2:]) if tables else bytes(strip)
    check_jpeg_outline(whole)
    if decoded_bytes(whole) < least:
        raise RejectedPicture("is damaged: a part of it ends before its last row", _COPY_AGAIN)
    return check_jpeg_data(whole)


def _unpacked_bytes(strip: memoryview, most: int) -> int:
    """Length of a strip that unpacks to its end, checksum included."""
    unpacker, unpacked = zlib.decompressobj(), 0
    try:
        for at in range(0, len(strip), _BLOCK_BYTES):
            block: memoryview | bytes = strip[at : at + _BLOCK_BYTES]
            while block and not unpacker.eof and unpacked <= most:
                unpacked += len(unpacker.decompress(block, _BLOCK_BYTES))
                block = unpacker.unconsumed_tail
    except zlib.error:
        raise RejectedPicture("is damaged: its compressed data is broken", _COPY_AGAIN) from None
    if unpacked > most:
        raise RejectedPicture("has more compressed data than its pixels need", _COPY_AGAIN)
    if not unpacker.eof:
        raise RejectedPicture("is damaged: its compressed data has no end", _COPY_AGAIN)
    return unpacked


def _packed_bytes(strip: memoryview) -> int:
    """Length that a strip's runs unpack to; they fill it to its end, up to a byte of padding."""
    at = unpacked = 0
    while at < len(strip):
        code = strip[at]
        at += 1 if code == 128 else 2 if code > 128 else code + 2
        unpacked += 0 if code == 128 else 257 - code if code > 128 else code + 1
    if at > len(strip) + 1:
        raise RejectedPicture("is damaged: its compressed data has no end", _COPY_AGAIN)
    return unpacked
