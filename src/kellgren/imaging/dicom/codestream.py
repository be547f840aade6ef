"""The size that a compressed picture claims, read before a decoder allocates memory for it."""

from __future__ import annotations

import struct
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
_JP2_BOXES_BYTES = 4096


class Claim(NamedTuple):
    """Size of a compressed picture as its own header states it; precision in bits per sample."""

    rows: int
    columns: int
    samples: int
    precision: int


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


def jpeg_2000_claim(codestream: bytes) -> Claim | None:
    """The claim of a JPEG 2000 picture, bare or in JP2 boxes; None if it has none."""
    at = codestream[:_JP2_BOXES_BYTES].find(_J2K_START)
    if at < 0 or at + 43 > len(codestream):
        return None
    right, bottom, left, top = struct.unpack_from(">4I", codestream, at + 8)
    samples, precision = struct.unpack_from(">HB", codestream, at + 40)
    # The highest bit of the precision states that samples are signed.
    return Claim(bottom - top, right - left, samples, (precision & 0x7F) + 1)
