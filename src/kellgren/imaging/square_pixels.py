"""Pictures whose pixels are not square, resampled so that a millimetre is as long both ways."""

from __future__ import annotations

import numpy as np
from PIL import Image

from kellgren.imaging.picture import MAX_PIXELS, MAX_SIDE, Picture, PixelSpacing
from kellgren.knee import Stretch, resampled

TOLERANCE = 0.01
"""Ratio of height to width of a pixel, off 1, up to which it counts as square."""
MOST_RATIO = 4.0
"""Ratio from which a file's statement is taken for a mistake."""
COARSE_RATIO = 1.9
"""Ratio from which the coarser direction misses detail that grades rest on."""
_NAMES = ("as high as wide", "as wide as high")


def with_square_pixels(picture: Picture, ratio: float) -> Picture:
    """The picture with square pixels; itself where they are square already.

    The direction with the coarser pixels gets more of them, so that nothing of the other is lost;
    where that were too many, the finer direction gets fewer.

    Args:
        picture: as the file holds it.
        ratio: height of a pixel over its width, as the file states it; one that no detector has
            is ignored with a warning.
    """
    if abs(ratio - 1) <= TOLERANCE:
        return picture
    if not 1 / MOST_RATIO <= ratio <= MOST_RATIO:
        picture.warnings.append("the stated shape of the pixels cannot be used and is ignored")
        return picture
    rows, columns = picture.pixels.shape
    width, height = _enlarged(columns, rows, ratio)
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        width, height = _reduced(columns, rows, ratio)
    times, name = max((ratio, _NAMES[0]), (1 / ratio, _NAMES[1]))
    missing = ", but detail is missing that may change the grade" if times >= COARSE_RATIO else ""
    picture.warnings.append(
        f"the pixels are {times:.3g} times {name}: resampled from {columns} x {rows} to "
        f"{width} x {height}{missing}"
    )
    pixels = resampled(picture.pixels, height, width)
    picture.pixels = np.clip(pixels, np.float32(0), np.float32(1), out=pixels)
    if picture.outliers is not None:
        mask = Image.fromarray(picture.outliers.astype(np.uint8) * 255)
        picture.outliers = np.asarray(mask.resize((width, height), Image.Resampling.BOX)) > 0
    picture.stretch = Stretch(width / columns, height / rows)
    if picture.spacing is not None:
        picture.spacing = PixelSpacing(
            picture.spacing.row_mm * rows / height,
            picture.spacing.column_mm * columns / width,
            picture.spacing.source,
        )
    return picture


def _enlarged(columns: int, rows: int, ratio: float) -> tuple[int, int]:
    return (columns, round(rows * ratio)) if ratio > 1 else (round(columns / ratio), rows)


def _reduced(columns: int, rows: int, ratio: float) -> tuple[int, int]:
    return (round(columns / ratio), rows) if ratio > 1 else (columns, round(rows * ratio))
