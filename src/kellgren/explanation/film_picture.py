"""The picture of a film with a square around each knee and its side beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kellgren.grades import Side
from kellgren.knee import KneeCrop, Plane, Region

LONGEST = 1200  # pixels of the picture's longer side
_COLOURS = {
    Side.LEFT: (255, 176, 59),
    Side.RIGHT: (94, 186, 255),
    Side.UNKNOWN: (214, 118, 255),
}
_REFUSED = (228, 88, 88)


def draw_film(
    pixels: Plane, crops: Sequence[KneeCrop], refused: Sequence[KneeCrop] = ()
) -> Image.Image:
    """Draw the film.

    Args:
        pixels: ``(H, W)`` 0..1 of the film as it was read.
        crops: knees on it; one without a region is the whole picture.
        refused: joints on it that are not graded.

    Returns:
        An RGB picture; a square's thick edge is the knee's upper one, the letter its side. A
        refused joint has a cross in place of the letter.
    """
    height, width = pixels.shape
    scale = LONGEST / max(height, width)
    grey = Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).convert("RGB")
    film = grey.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    pen = ImageDraw.Draw(film)
    for crop in (*crops, *refused):
        is_refused = any(crop is other for other in refused)
        region = crop.region or Region((width / 2, height / 2), float(max(width, height)))
        colour = _REFUSED if is_refused else _COLOURS[crop.side]
        corners = [(x * scale, y * scale) for x, y in region.corners()]
        pen.line([*corners, corners[0]], fill=colour, width=2, joint="curve")
        pen.line(corners[:2], fill=colour, width=6)
        x, y = (min(max(c, 18), limit - 18) for c, limit in zip(corners[0], film.size, strict=True))
        word = "X" if is_refused else crop.side.value or "?"
        font = ImageFont.load_default(30)
        pen.text((x + 14, y + 18), word, colour, font, "mm", stroke_width=4, stroke_fill=(0, 0, 0))
    return film
