"""Pictures to measure joint spaces on: enlarged, with a ruler in pixels of the original."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GRID = (0, 190, 255)
MARGIN = 16


def sheet(pixels: np.ndarray, start: tuple[int, int] = (0, 0)) -> Image.Image:
    """One knee: both condyles three times enlarged, below them both compartments eight times.

    The ruler begins at ``start``, across and down.
    """
    height, width = pixels.shape
    top, bottom = round(height * 0.5), round(height * 0.71)
    near, far = round(width * 0.12), round(width * 0.44)
    parts = [
        enlarged(pixels, (near, top, far, bottom), 8, 5, start),
        enlarged(pixels, (width - far, top, width - near, bottom), 8, 5, start),
    ]
    whole = enlarged(pixels, (0, round(height * 0.27), width, round(height * 0.72)), 3, 10, start)
    size = (parts[0].width + parts[1].width + 8, whole.height + parts[0].height + 8)
    canvas = Image.new("RGB", size)
    canvas.paste(whole, ((canvas.width - whole.width) // 2, 0))
    canvas.paste(parts[0], (0, whole.height + 8))
    canvas.paste(parts[1], (parts[0].width + 8, whole.height + 8))
    return canvas


def enlarged(
    pixels: np.ndarray,
    box: tuple[int, int, int, int],
    times: int,
    step: int,
    start: tuple[int, int] = (0, 0),
    *,
    lines: bool = True,
) -> Image.Image:
    """A box (left, top, right, bottom), its greys stretched, in a ruler of ``step`` pixels."""
    left, top, right, bottom = box
    part = pixels[top:bottom, left:right].astype(float)
    low, high = np.percentile(part, (1, 99.5))
    grey = np.clip((part - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)
    size = ((right - left) * times, (bottom - top) * times)
    picture = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    canvas = Image.new("RGB", (size[0] + 34, size[1] + 18))
    canvas.paste(picture, (34, 18))
    pen = ImageDraw.Draw(canvas, "RGBA")
    font = ImageFont.load_default(12)
    for x in range(left + -(left + start[0]) % step, right, step):
        at = 34 + (x - left + 0.5) * times
        pen.line((at, 14, at, canvas.height if lines else 18), fill=(*GRID, 90))
        if (x + start[0]) % 2 == 0 or step > 1:
            pen.text((at, 0), str(x + start[0]), fill=GRID, font=font, anchor="ma")
    for y in range(top + -(top + start[1]) % step, bottom, step):
        at = 18 + (y - top + 0.5) * times
        pen.line((30, at, canvas.width if lines else 34, at), fill=(*GRID, 90))
        pen.text((28, at), str(y + start[1]), fill=GRID, font=font, anchor="rm")
    return canvas


def marked(
    pixels: np.ndarray,
    point: tuple[float, float],
    colour: tuple[int, int, int],
    start: tuple[int, int] = (0, 0),
) -> Image.Image:
    """The surroundings of a point, with ticks at its height left and right of it, not upon it."""
    times = 18
    left, top = (
        min(max(round(at) - MARGIN // 2, 0), size - MARGIN)
        for at, size in zip(point, pixels.shape[::-1], strict=True)
    )
    canvas = enlarged(
        pixels, (left, top, left + MARGIN, top + MARGIN), times, 1, start, lines=False
    )
    pen = ImageDraw.Draw(canvas)
    across, down = (
        edge + (at - low + 0.5) * times
        for edge, at, low in zip((34, 18), point, (left, top), strict=True)
    )
    pen.line((across - 90, down, across - 36, down), fill=colour)
    pen.line((across + 36, down, across + 90, down), fill=colour)
    return canvas
