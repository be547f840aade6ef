"""PNG, JPEG and TIFF pictures to grey values in 0..1, through Pillow."""

from __future__ import annotations

import io
import math
from contextlib import nullcontext

import numpy as np
from PIL import Image, ImageChops, ImageOps

from kellgren.imaging.colour import READ_AS_GREY, Colours, colours_of
from kellgren.imaging.grey_scaling import EXPORT_GREY, Scaled, scaled, scaled_words, unit_floats
from kellgren.imaging.integrity.jpeg import check_jpeg_data, check_jpeg_outline
from kellgren.imaging.integrity.png import check_png_outline
from kellgren.imaging.integrity.tiff import check_tiff_data
from kellgren.imaging.native_stderr import native_stderr_silenced
from kellgren.imaging.picture import (
    MAX_PIXELS,
    PLAUSIBLE_MM,
    Picture,
    PixelSpacing,
    RejectedPicture,
    check_size,
)
from kellgren.imaging.square_pixels import with_square_pixels

COLOUR_TOLERANCE = 12
"""Largest difference between colour channels, of 255, that still counts as grey: JPEG adds some."""
SCREEN_DPI = (72.0, 96.0)
"""Resolutions that programs write when they know none."""

_INTEGER_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
_COLOUR_MODES = frozenset({"P", "PA", "LA", "RGB", "RGBA", "RGBX", "YCbCr"})
_ORIENTATION, _PHOTOMETRIC = 274, 262
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_MM_PER_UNIT = {2: 25.4, 3: 10.0}


def read_raster(data: bytes, file_format: str) -> Picture:
    """Decode one picture.

    Args:
        data: the whole file.
        file_format: "PNG", "JPEG" or "TIFF"; no other decoder is tried.

    Returns:
        The picture, turned upright by its orientation tag, side unknown. 8-bit grey values are
        divided by 255; wider integers by the largest value of the smallest depth in `DEPTHS` that
        holds them, so that the width of its container makes no difference; floating-point
        values must lie in 0..1 already.

    Raises:
        RejectedPicture: too large, too small, several pictures, no grey values, or data in which
            its decoder notices damage.
        Exception: whatever Pillow raises on damaged data.
    """
    _check_outline(data, file_format)
    try:
        image = Image.open(io.BytesIO(data), formats=(file_format,))
    except Image.DecompressionBombError:
        raise RejectedPicture(
            f"claims more than {MAX_PIXELS // 10**6} million pixels",
            "Export the X-ray at the detector's own size.",
        ) from None
    with image:
        check_size(image.height, image.width)
        several = _check_single(image)
        spacing = _tiff_spacing(image) if file_format == "TIFF" else None
        stored_size = image.size
        with native_stderr_silenced() if file_format == "TIFF" else nullcontext():
            image.load()
        noticed = _decoder_warnings(data, image)
        upright, warnings = _upright(image)
        warnings += several + noticed
        if upright.size != stored_size and spacing is not None:
            spacing = PixelSpacing(spacing.column_mm, spacing.row_mm, spacing.source)
        colours = _colours(upright)
        pixels, depth, outliers = _grey(upright, warnings)
        if _is_white_zero(image):
            pixels = 1.0 - pixels
    picture = Picture(pixels, depth, spacing, warnings, colours=colours, outliers=outliers)
    return (
        picture
        if spacing is None
        else with_square_pixels(picture, spacing.row_mm / spacing.column_mm)
    )


def _check_outline(data: bytes, file_format: str) -> None:
    """Refuse what would take minutes to decode, going by its parts."""
    if file_format == "JPEG":
        check_jpeg_outline(data)
    elif file_format == "PNG":
        check_png_outline(data)


def _decoder_warnings(data: bytes, image: Image.Image) -> list[str]:
    """What Pillow does not pass on."""
    if image.format == "TIFF":
        return check_tiff_data(data, image)
    return check_jpeg_data(data) if image.format in ("JPEG", "MPO") else []


def _check_single(image: Image.Image) -> list[str]:
    """Refuse several pictures in one file, but for a phone's: its first is the photograph.

    Phones write previews, depth and other exposures behind it (CIPA DC-007, "MPO").
    """
    if not getattr(image, "is_animated", False):
        return []
    if image.format == "MPO":
        return ["the file holds several pictures, as phones write them: the first is read"]
    raise RejectedPicture("holds several pictures", "Save each X-ray in a file of its own.")


def _upright(image: Image.Image) -> tuple[Image.Image, list[str]]:
    try:
        if image.getexif().get(_ORIENTATION, 1) == 1:
            return image, []  # not a copy, which takes as much memory again
        return ImageOps.exif_transpose(image), []
    except Exception:  # a broken tag makes the EXIF parser raise anything
        return image, ["the orientation tag cannot be read and is ignored"]


def _colours(image: Image.Image) -> Colours | None:
    return colours_of(_in_colours(image)) if image.mode in _COLOUR_MODES else None


def _in_colours(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey(image: Image.Image, warnings: list[str]) -> Scaled:
    """Grey values (H, W) in 0..1."""
    if image.mode == "L":
        return Scaled(scaled(np.asarray(image), 8), 8)
    if image.mode in _INTEGER_MODES:
        return scaled_words(np.asarray(image), warnings)
    if image.mode == "F":
        return Scaled(unit_floats(np.asarray(image)), 32)
    if image.mode in _COLOUR_MODES:
        return Scaled(scaled(np.asarray(_grey_of_colour(image, warnings)), 8), 8)
    if image.mode == "1":
        raise RejectedPicture("is black and white without grey levels", EXPORT_GREY)
    raise RejectedPicture(f"has pixels of the kind {image.mode}, which is not grey", EXPORT_GREY)


def _grey_of_colour(image: Image.Image, warnings: list[str]) -> Image.Image:
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            warnings.append("the picture has transparent parts, which are read as black")
            black = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(black, image)
    image = _in_colours(image)
    red, green, blue = image.split()
    spreads = (ImageChops.difference(red, green), ImageChops.difference(green, blue))
    if max(np.asarray(spread).max() for spread in spreads) > COLOUR_TOLERANCE:
        warnings.append(READ_AS_GREY)
    return image.convert("L")


def _is_white_zero(image: Image.Image) -> bool:
    """Whether the grey values are stored inverted and Pillow has left them so.

    Pillow turns TIFF's WhiteIsZero over for 8-bit pictures only.
    """
    tags = getattr(image, "tag_v2", {})
    return image.mode in (_INTEGER_MODES | {"F"}) and tags.get(_PHOTOMETRIC) == 0


def _tiff_spacing(image: Image.Image) -> PixelSpacing | None:
    tags = image.tag_v2  # type: ignore[attr-defined]
    try:
        unit_mm = _MM_PER_UNIT[tags[_RESOLUTION_UNIT]]
        across, down = float(tags[_X_RESOLUTION]), float(tags[_Y_RESOLUTION])
        spacing = PixelSpacing(unit_mm / down, unit_mm / across, "TIFF resolution")
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    is_screen = any(math.isclose(25.4 / spacing.row_mm, dpi, rel_tol=1e-3) for dpi in SCREEN_DPI)
    low, high = PLAUSIBLE_MM
    is_plausible = low <= spacing.row_mm <= high and low <= spacing.column_mm <= high
    return spacing if is_plausible and not is_screen else None
