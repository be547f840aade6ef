"""PNG pictures: no more chunks than a picture needs.

Their checksums are the decoder's business: Pillow refuses a picture whose data does not match.
"""

from __future__ import annotations

from kellgren.imaging.picture import RejectedPicture

MOST_CHUNKS = 100_000
"""Encoders write a chunk for every 8 kB or more of a picture, and a few besides."""
_SIGNATURE_BYTES, _FRAME_BYTES = 8, 12  # of a chunk: length, type, checksum


def check_png_outline(data: bytes) -> None:
    """Refuse a PNG of millions of chunks, each of which costs the decoder time.

    Raises:
        RejectedPicture: more than `MOST_CHUNKS`.
    """
    at = _SIGNATURE_BYTES
    for _ in range(MOST_CHUNKS):
        at += _FRAME_BYTES + int.from_bytes(data[at : at + 4])
        if at >= len(data):
            return
    raise RejectedPicture(
        f"is a PNG of more than {MOST_CHUNKS} chunks, which no X-ray needs",
        "Save it again as PNG.",
    )
