"""PNG pictures: no more chunks than a picture needs, all rows, and greys shown alike everywhere.

Their checksums are the decoder's business: Pillow refuses a picture whose data does not match.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import islice

import numpy as np
from PIL import Image

from kellgren.imaging.picture import RejectedPicture

MOST_CHUNKS = 100_000
"""Encoders write a chunk for every 8 kB or more of a picture, and a few besides."""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by the type of colour
# Of each pass of an interlaced picture: first column and row, and the steps between them.
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
_BLOCK_BYTES = 2**22
_SCREENS_GAMMA, _SAME = 1 / 2.2, 0.05
_SIGNATURE_BYTES, _FRAME_BYTES = 8, 12  # of a chunk: length, type, checksum


def check_png_outline(data: bytes) -> None:
    """Refuse a PNG of millions of chunks, each of which costs the decoder time.

    Raises:
        RejectedPicture: more than `MOST_CHUNKS`.
    """
    if any(islice(_chunks(data), MOST_CHUNKS, None)):
        raise RejectedPicture(
            f"is a PNG of more than {MOST_CHUNKS} chunks, which no X-ray needs",
            "Save it again as PNG.",
        )


def check_palette(image: Image.Image) -> None:
    """Refuse a picture whose pixels name colours that its palette lacks: decoders make them up.

    Raises:
        RejectedPicture: some do.
    """
    if image.mode != "P" or image.palette is None:
        return
    colours = len(image.palette.palette) // len(image.palette.mode)
    if int(np.asarray(image).max()) >= colours:
        raise RejectedPicture(
            f"is damaged: its pixels name colours beyond the {colours} of its palette",
            "Export the X-ray as a grey picture.",
        )


def gamma_warning(image: Image.Image) -> list[str]:
    """A warning where the file asks programs to show other greys than it stores (PNG, 11.3.2.2)."""
    info = image.info
    gamma = info.get("gamma")
    if not gamma or "srgb" in info or "icc_profile" in info:
        return []
    if abs(gamma - _SCREENS_GAMMA) <= _SAME:
        return []
    shown = "brighter" if gamma > _SCREENS_GAMMA else "darker"
    return [
        f"the PNG states a gamma of {gamma:.3g}: programs that heed it show it {shown} than it is "
        "read here"
    ]


def check_png_data(data: bytes, image: Image.Image) -> None:
    """Refuse a PNG whose data ends before its last row: Pillow takes what is missing for black.

    Only where the last row is black, or rows are not stored in their order, is the data unpacked.

    Args:
        data: a PNG that Pillow has decoded, so that its chunks are as they should be.
        image: decoded from it.

    Raises:
        RejectedPicture: it does.
    """
    width, height, bits, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if not interlace and np.asarray(image.crop((0, height - 1, width, height))).any():
        return
    bits *= _SAMPLES[colour]
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    missing = sum(
        -(-(height - top) // down) * (1 + -(-(-(-(width - left) // across) * bits) // 8))
        for left, top, across, down in passes
        if width > left and height > top
    )
    unpacker = zlib.decompressobj()
    for piece in _picture_data(data):
        while piece and missing > 0 and not unpacker.eof:
            missing -= len(unpacker.decompress(piece, _BLOCK_BYTES))
            piece = unpacker.unconsumed_tail
    if missing > 0:
        raise RejectedPicture(
            "is damaged: its data ends before its last row", "Export or copy the picture again."
        )


def _picture_data(data: bytes) -> Iterator[bytes]:
    """The content of each IDAT chunk."""
    for at, length in _chunks(data):
        if data[at + 4 : at + 8] == b"IDAT":
            yield data[at + 8 : at + 8 + length]


def _chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk begins, and how many bytes of content it says it has."""
    at = _SIGNATURE_BYTES
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        yield at, length
        at += _FRAME_BYTES + length
