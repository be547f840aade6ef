"""PNG pictures: no more chunks than a picture needs, and greys that all programs show alike.

Their checksums are the decoder's business: Pillow refuses a picture whose data does not match.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from kellgren.imaging.picture import RejectedPicture

MOST_CHUNKS = 100_000
"""Encoders write a chunk for every 8 kB or more of a picture, and a few besides."""
_SCREENS_GAMMA, _SAME = 1 / 2.2, 0.05
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
