"""What a compressed picture claims and how it is built, read before a decoder starts on it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

_SOI = b"\xff\xd8"
LOSSY_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Markers that start a frame of JPEG baseline, extended and progressive."""
LOSSLESS_FRAMES = frozenset({0xC3})
"""Marker that starts a frame of JPEG lossless."""
JPEG_LS_FRAMES = frozenset({0xF7})
"""Marker that starts a frame of JPEG-LS."""
# SOF0 to SOF15 without DHT, JPG and DAC, which lie between, and JPEG-LS.
_ANY_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | JPEG_LS_FRAMES
_START_OF_SCAN = 0xDA
_J2K_START = b"\xff\x4f\xff\x51"
_CODING_STYLE, _CODING_STYLE_OF_COMPONENT, _START_OF_TILE = 0xFF52, 0xFF53, 0xFF90
_PREDICTABLE_END, _HIGH_THROUGHPUT = 0x10, 0x40  # in the style of code-blocks
MOST_TILES, MOST_LAYERS = 4_096, 64
"""Of a JPEG 2000 picture; encoders write one tile and one to ten layers."""
LEAST_PRECINCT = 5
"""Power of two of the smallest precinct's side; a picture in pieces of a few pixels needs gigabytes
for their description."""
_JP2_BOXES_BYTES = 4096


class Claim(NamedTuple):
    """What a compressed picture's own header states; precision in bits per sample."""

    rows: int
    columns: int
    samples: int
    precision: int
    is_signed: bool = False


def jpeg_claim(codestream: bytes, frames: frozenset[int]) -> Claim | None:
    """The claim of a JPEG or JPEG-LS picture.

    Args:
        codestream: the compressed picture.
        frames: the frame markers of the compression that the file names.

    Returns:
        None if there is no frame before the first scan, or one of another compression: a decoder
        must not meet what it was not chosen for.
    """
    if not codestream.startswith(_SOI):
        return None
    at = len(_SOI)
    while at + 10 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _ANY_FRAME:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", codestream, at + 4)
            return Claim(rows, columns, samples, precision) if marker in frames else None
        elif marker == _START_OF_SCAN:
            return None
        else:
            at += 2 + int.from_bytes(codestream[at + 2 : at + 4])
    return None


def has_one_whole_scan(codestream: bytes, *, is_jpeg_ls: bool) -> bool:
    """Whether the first scan of a JPEG Lossless or JPEG-LS picture runs up to its end marker.

    What is cut off keeps CharLS busy for ever. Inside a scan JPEG-LS has no byte above 0x7f after
    0xff, the other only 0 and restart markers.
    """
    start = codestream.find(bytes((0xFF, _START_OF_SCAN)))
    inside = rb"\xff[\x80-\xfe]" if is_jpeg_ls else rb"\xff[\x01-\xcf\xd8-\xfe]"
    marker = re.compile(inside).search(codestream, start + 2) if start >= 0 else None
    return marker is not None and marker.group() == b"\xff\xd9"


def jpeg_2000_parts(codestream: bytes) -> str:
    """Which of its parts are too many or too small to be decoded in seconds; empty: none."""
    at = codestream[:_JP2_BOXES_BYTES].find(_J2K_START)
    right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", codestream, at + 8)
    tiles = -(-(right - left) // max(1, width)) * -(-(bottom - top) // max(1, height))
    if tiles > MOST_TILES:
        return f"more than {MOST_TILES} tiles"
    for marker, body in _jpeg_2000_header(codestream):
        if marker == _CODING_STYLE and len(codestream) >= body + 10:
            style, _, layers, _, levels = struct.unpack_from(">BBHBB", codestream, body)
            if layers > MOST_LAYERS:
                return f"more than {MOST_LAYERS} layers"
            # The lowest resolution's precinct comes first, and may be as small as its picture.
            sizes = codestream[body + 10 :][: levels + 1][1:] if style & 1 else b""
            if any(min(size & 15, size >> 4) < LEAST_PRECINCT for size in sizes):
                return "tiny precincts"
    return ""


def with_ends_checked(codestream: bytes) -> bytes:
    """A JPEG 2000 picture whose decoder is to tell where a code-block does not end where it should.

    The arithmetic decoder has used up a block's bytes when its last bit is decoded, unless one of
    them was changed. OpenJPEG compares the two, and warns, only where the header says that blocks
    are terminated predictably; this flag changes nothing else. Those of high throughput have
    another decoder.
    """
    flagged = bytearray(codestream)
    for marker, body in _jpeg_2000_header(codestream):
        at = body + (8 if marker == _CODING_STYLE else 5)
        if marker in (_CODING_STYLE, _CODING_STYLE_OF_COMPONENT) and at < len(flagged):
            flagged[at] |= 0 if flagged[at] & _HIGH_THROUGHPUT else _PREDICTABLE_END
    return bytes(flagged)


def _jpeg_2000_header(codestream: bytes) -> Iterator[tuple[int, int]]:
    """Marker and offset of the body of each segment up to the first tile."""
    at = codestream[:_JP2_BOXES_BYTES].find(_J2K_START) + 2
    while 2 <= at <= len(codestream) - 4:
        marker, length = struct.unpack_from(">HH", codestream, at)
        if marker == _START_OF_TILE:
            return
        yield marker, at + 4
        at += 2 + length


def jpeg_2000_claim(codestream: bytes) -> Claim | None:
    """The claim of a JPEG 2000 picture, bare or in JP2 boxes; None if it has none."""
    at = codestream[:_JP2_BOXES_BYTES].find(_J2K_START)
    if at < 0 or at + 43 > len(codestream):
        return None
    right, bottom, left, top = struct.unpack_from(">4I", codestream, at + 8)
    samples, precision = struct.unpack_from(">HB", codestream, at + 40)
    # The highest bit of the precision states that samples are signed.
    size = bottom - top, right - left
    return Claim(*size, samples, (precision & 0x7F) + 1, is_signed=precision > 0x7F)
