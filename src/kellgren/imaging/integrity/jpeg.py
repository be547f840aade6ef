"""JPEG pictures: no more scans than a camera or an archive writes, and no warning of the decoder.

libjpeg reads on after damage and only warns; Pillow drops its warnings. So a JPEG is decoded a
second time by simplejpeg, which is the same library and raises them as errors.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg

from kellgren.imaging.picture import RejectedPicture

MOST_SCANS = 40
"""Scans of a progressive JPEG: encoders write about ten, and a decoder goes through the whole
picture for each."""
MOST_SEGMENTS = 4_000
"""Marker segments; a profile of 16 MB in pieces of 64 kB takes 255."""

_SAVE_AGAIN = "Export or copy the picture again."
# Inside a scan 0xff is followed by 0 or by a restart marker; segments begin at any other code.
_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xda-\xdf\xe0-\xfe]")
_FRAME = re.compile(rb"\xff[\xc0-\xc2](?=\0)")
_START, _END = b"\xff\xd8", b"\xff\xd9"
_TABLES, _SCAN = 0xDB, 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_LAST = 62  # of a quantisation table's numbers but for the first
_WITHIN_FOUR = np.arange(_LAST + 1)[:, None] + np.arange(-4, 5)
_AROUND = _LAST - np.abs(_LAST - np.abs(_WITHIN_FOUR))  # turning back at both ends
_STANDS_OUT, _FEW = 3, 4  # times the median of nine numbers, and so many more
# Messages that begin so tell of pixels that were lost or made up; others of odd headers, behind
# which the decoder tells of nothing else.
_DAMAGE = ("Corrupt JPEG data", "Premature end", "Inconsistent progression", "Invalid SOS")


@dataclass(frozen=True, slots=True)
class Outline:
    """What a JPEG consists of: its scans, and all its marker segments."""

    scans: int
    segments: int


def outline(data: bytes) -> Outline:
    """Count the scans and segments of a JPEG up to its end, without decoding it.

    Segments are stepped over by their length, so a preview inside one does not count.
    """
    scans = segments = 0
    for code, _ in _segments(data):
        segments += 1
        scans += code == _SCAN
        if segments > MOST_SEGMENTS or scans > MOST_SCANS:
            break
    return Outline(scans, segments)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Code and content of each segment, found one by one; the content is as long as it says."""
    at = len(_START)
    while at < len(data):
        found = _SEGMENT.search(data, at)
        ended = data.find(_END, at, found.start() if found else len(data))
        if found is None or ended >= 0:
            break
        begin = found.end()
        at = begin + int.from_bytes(data[begin : begin + 2])
        yield data[found.start() + 1], data[begin + 2 : at]


def check_jpeg_outline(data: bytes) -> None:
    """Refuse a JPEG that would keep its decoder busy for minutes.

    Raises:
        RejectedPicture: more than `MOST_SCANS` scans or `MOST_SEGMENTS` segments.
    """
    found = outline(data)
    if found.scans > MOST_SCANS:
        raise RejectedPicture(
            f"is a JPEG of more than {MOST_SCANS} scans, which no X-ray needs",
            "Save it as a baseline JPEG or as PNG.",
        )
    if found.segments > MOST_SEGMENTS:
        raise RejectedPicture(
            f"is a JPEG of more than {MOST_SEGMENTS} segments, which no X-ray needs",
            "Save it as a baseline JPEG or as PNG.",
        )


def decoded_bytes(data: bytes) -> int:
    """Bytes of the picture that a JPEG's frame header states, packed in rows; 0 without one."""
    for code, content in _segments(data):
        if code in _FRAMES and len(content) >= 6:
            precision, rows, columns, samples = map(int, struct.unpack_from(">BHHB", content))
            return rows * -(-columns * samples * precision // 8)
    return 0


def check_jpeg_data(data: bytes) -> list[str]:
    """Decode a JPEG of 8 bits for what its decoder has to say.

    Args:
        data: the JPEG, whose size was checked.

    Returns:
        A warning where its header kept the decoder from telling of damage.

    Raises:
        RejectedPicture: its data ends early, or holds what no encoder wrote.
    """
    try:
        pixels = simplejpeg.decode_jpeg(data, colorspace="GRAY", strict=True)
    except ValueError as error:
        message = str(error)
        if message.startswith(_DAMAGE):
            raise RejectedPicture(
                f"is damaged: its JPEG decoder says '{_without_numbers(message)}'", _SAVE_AGAIN
            ) from None
        return ["the JPEG's header is odd, so that damage behind it would not be noticed"]
    if any(_is_uneven(table) for table in _quantisation(data)):
        return ["a quantisation table of the JPEG is unlike any encoder's: it is perhaps damaged"]
    if _goes_on(data, pixels):
        return ["the JPEG's data goes on behind its last block: it is perhaps damaged"]
    return []


def _quantisation(data: bytes) -> list[npt.NDArray[np.int64]]:
    """The 64 numbers of each quantisation table in front of the first scan, finest detail last."""
    tables = list[npt.NDArray[np.int64]]()
    for code, content in _segments(data):
        if code == _SCAN:
            break
        while code == _TABLES and content:
            kind = np.dtype(">u2" if content[0] >> 4 else "u1")
            end = 1 + 64 * kind.itemsize
            if len(content) < end:
                break
            tables.append(np.frombuffer(content[1:end], kind).astype(np.int64))
            content = content[end:]
    return tables


def _is_uneven(table: npt.NDArray[np.int64]) -> bool:
    """Whether a number stands out from those around it, as no encoder's do but for the first."""
    own = table[1:]
    usual = np.sort(own[_AROUND], axis=1)[:, 4]  # the median of nine
    far = (own > _STANDS_OUT * usual + _FEW) | (usual > _STANDS_OUT * own + _FEW)
    return bool(far.any())


def _goes_on(data: bytes, pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether the last byte of a grey picture in one scan holds bits behind the last block.

    Damage that adds one block moves all that follow by a block. The decoder stops before the last
    one, and if that is of one colour, its few bits hide in the last byte, whose rest is ones in a
    sound file (zeros, from some encoders). So those before them must be read: another one there
    gives other pixels, or an error. Pictures in colour have more bits a block.
    """
    other = with_last_bit_flipped(data)
    if not other or pixels.size == 0 or outline(data).scans != 1 or _components(data) != 1:
        return False
    try:
        changed = simplejpeg.decode_jpeg(other, colorspace="GRAY", strict=True)
    except ValueError:
        return False
    return np.array_equal(pixels, changed)


def with_last_bit_flipped(data: bytes) -> bytes:
    """The same with the last bit flipped that can be no padding; empty: there is none such.

    Padding is of one value, and shorter than a byte.
    """
    end = data.rfind(_END)
    stuffed = data[end - 2 : end] == b"\xff\0"
    at = end - 1 - stuffed
    if at < len(_START) or end < 0:
        return b""
    byte = data[at]
    bit = next((n for n in range(1, 8) if byte >> n & 1 != byte & 1), 0)
    if not bit:
        return b""
    flipped = byte ^ 1 << bit
    last = b"\xff\0" if flipped == 0xFF else bytes([flipped])
    return data[:at] + last + data[end:]


def _components(data: bytes) -> int:
    """Of the first frame header: 1 is grey."""
    found = _FRAME.search(data)
    return data[found.end() + 7] if found and found.end() + 7 < len(data) else 0


def _without_numbers(message: str) -> str:
    """The kind of the message: the same words for the same kind of damage."""
    return re.sub(r"\b(0x)?[0-9a-f]*\d[0-9a-f]*\b ?", "", message).strip()
