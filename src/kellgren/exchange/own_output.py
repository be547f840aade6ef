"""What this program drew or wrote itself: told from radiographs, so that it is never graded."""

from __future__ import annotations

import re
import zlib

PNG_KEYWORD = "kellgren"
"""Of the text chunk in every PNG file that this program draws."""
PNG_TEXT = "drawn by kellgren, not a radiograph"
"""The text in that chunk."""
MANUFACTURER = "kellgren project"
"""In the header of every DICOM object that this program makes."""

_PNG = b"\x89PNG\r\n\x1a\n"
_OWN_CHUNK = b"tEXt" + PNG_KEYWORD.encode() + b"\0"
# Manufacturer (0008,0070), with an explicit or an implicit representation of its value.
_OWN_EQUIPMENT = re.compile(
    rb"\x08\0\x70\0(LO\x10\0|\x10\0\0\0)" + re.escape(MANUFACTURER.encode()), re.DOTALL
)
# Sheets of version 0.1 bear no mark: 1018 x 712 pixels in 8-bit colours, the first of them paper.
_OLD_SHEET = bytes.fromhex("000003fa000002c80802000000")
_OLD_PAPER = bytes((16, 19, 24))


def is_own_output(head: bytes) -> bool:
    """Whether a file was drawn or written by this program.

    Args:
        head: its first bytes, `kellgren.imaging.picture.HEAD_BYTES` of them or more.
    """
    if not head.startswith(_PNG):
        return _OWN_EQUIPMENT.search(head) is not None
    before_pixels, _, pixels = head.partition(b"IDAT")
    return _OWN_CHUNK in before_pixels or (
        before_pixels[16:29] == _OLD_SHEET and _first_pixel(pixels) == _OLD_PAPER
    )


def _first_pixel(compressed: bytes) -> bytes:
    """The first pixel of 8-bit colours; each filter of PNG leaves that one as it is."""
    try:
        return zlib.decompressobj().decompress(compressed, 4)[1:]
    except zlib.error:
        return b""
