"""PNG, JPEG and TIFF pictures to grey values in 0..1, through Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from kellgren.imaging.colour import READ_AS_GREY, Colours, colours_of
from kellgren.imaging.grey_scaling import (
    EXPORT_GREY,
    Scaled,
    check_unit_floats,
    covering_depth,
    scaled,
    scaled_words,
)
from kellgren.imaging.integrity.jpeg import check_jpeg_data, check_jpeg_outline
from kellgren.imaging.integrity.png import (
    check_palette,
    check_png_data,
    check_png_outline,
    gamma_warning,
)
from kellgren.imaging.integrity.tiff import check_tiff_data, check_tiff_samples
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
from kellgren.knee import bands

COLOUR_TOLERANCE = 12
"""Largest difference between colour channels, of 255, that still counts as grey: JPEG adds some."""
SCREEN_DPI = (72.0, 96.0)
"""Resolutions that programs write when they know none."""

_INTEGER_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
_COLOUR_MODES = frozenset({"P", "PA", "LA", "RGB", "RGBA", "RGBX", "YCbCr"})
_ORIENTATION, _PHOTOMETRIC = 274, 262
_LAID_OVER = (5, 6, 7, 8)  # orientations in which the rows stored are columns
_HALF = 128  # of 8 bits: what stays below it is stored in fewer bits than its file says
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
    with _opened(data, file_format) as image:
        several = _check_single(image)
        spacing = _tiff_spacing(image) if file_format == "TIFF" else None
        ratio = _pixel_ratio(image, file_format)
        is_narrowed, is_tiff_laid_over = _is_narrowed(image), _is_tiff_laid_over(image)
        with native_stderr_silenced() if file_format == "TIFF" else nullcontext():
            image.load()
        check_palette(image)
        noticed = _decoder_warnings(data, image)
        upright, warnings, is_laid_over = _upright(image)
        warnings += several + noticed
        if is_laid_over or is_tiff_laid_over:
            ratio = 1 / ratio
            if spacing is not None:
                spacing = PixelSpacing(spacing.column_mm, spacing.row_mm, spacing.source)
        colours = _colours(upright)
        values = _values(upright, warnings)
        if is_narrowed:
            _check_narrowed(values)
        is_white_zero = _is_white_zero(image)
    image.close()  # frees its pixels, whose memory the grey values need
    upright.close()
    pixels, depth, outliers = _grey(values, warnings)
    if is_white_zero:
        np.subtract(np.float32(1), pixels, out=pixels)
    picture = Picture(pixels, depth, spacing, warnings, colours=colours, outliers=outliers)
    return with_square_pixels(picture, ratio)


def _opened(data: bytes, file_format: str) -> Image.Image:
    """The picture before it is decoded, of a size and kind that can be."""
    _check_outline(data, file_format)
    try:
        image = Image.open(io.BytesIO(data), formats=(file_format,))
    except Image.DecompressionBombError:
        raise RejectedPicture(
            f"claims more than {MAX_PIXELS // 10**6} million pixels",
            "Export the X-ray at the detector's own size.",
        ) from None
    except UnidentifiedImageError:
        raise RejectedPicture(
            f"is a damaged {file_format} picture, or of a kind of {file_format} that is not read "
            "here, by its bits, colours or compression",
            EXPORT_GREY,
        ) from None
    check_size(image.height, image.width)
    if file_format == "TIFF":
        check_tiff_samples(image)
    return image


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
    if image.format == "PNG":
        check_png_data(data, image)
        return gamma_warning(image)
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


def _upright(image: Image.Image) -> tuple[Image.Image, list[str], bool]:
    """The picture as its orientation tag says, warnings, and whether rows became columns."""
    try:
        stored = image.getexif().get(_ORIENTATION, 1)
        if stored == 1:
            return image, [], False  # not a copy, which takes as much memory again
        return ImageOps.exif_transpose(image), [], stored in _LAID_OVER
    except Exception:  # a broken tag makes the EXIF parser raise anything
        return image, ["the orientation tag cannot be read and is ignored"], False


def _is_tiff_laid_over(image: Image.Image) -> bool:
    """Whether Pillow, which turns a TIFF while decoding it and drops the tag, lays it over."""
    return getattr(image, "tag_v2", {}).get(_ORIENTATION) in _LAID_OVER


def _is_narrowed(image: Image.Image) -> bool:
    """Whether Pillow, before it decodes, is to keep 8 of the 16 bits of each colour."""
    tiles = image.tile  # type: ignore[attr-defined]
    return image.mode in _COLOUR_MODES and any(";16" in str(tile.args) for tile in tiles)


def _check_narrowed(values: npt.NDArray[Any]) -> None:
    """Refuse 16 bits of which the upper ones are empty: a few grey levels are left of them."""
    if values.max() < _HALF:
        raise RejectedPicture(
            "stores fewer bits than its 16 of each colour, of which the upper 8 are read",
            EXPORT_GREY,
        )


def _colours(image: Image.Image) -> Colours | None:
    if image.mode not in _COLOUR_MODES:
        return None
    return colours_of(image.copy() if image.mode == "RGB" else image.convert("RGB"))


def _in_colours(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """The picture in pieces of whole rows, each with the rows that it is.

    Pillow's conversions and NumPy's copies of a whole one would add up.
    """
    for rows in bands(image.height, image.width):
        yield rows, image.crop((0, rows.start, image.width, rows.stop))


def _values(image: Image.Image, warnings: list[str]) -> npt.NDArray[Any]:
    """Its values (H, W) in an array of their own: uint8, uint16, or float32 in 0..1."""
    if image.mode == "L":
        return np.array(image)
    if image.mode in _INTEGER_MODES:
        return _words(image)
    if image.mode == "F":
        return _unit_floats(image)
    if image.mode in _COLOUR_MODES:
        return _grey_of_colour(image, warnings)
    if image.mode == "1":
        raise RejectedPicture("is black and white without grey levels", EXPORT_GREY)
    raise RejectedPicture(f"has pixels of the kind {image.mode}, which is not grey", EXPORT_GREY)


def _grey(values: npt.NDArray[Any], warnings: list[str]) -> Scaled:
    """Grey values (H, W) in 0..1."""
    if values.dtype == np.float32:
        return Scaled(values, 32)
    if values.dtype == np.uint16:
        return scaled_words(values, warnings)
    return Scaled(scaled(values, 8), 8)


def _words(image: Image.Image) -> npt.NDArray[np.uint16]:
    """Integers of 16 or 32 bits, of which no value may have more than 16."""
    words = np.empty((image.height, image.width), np.uint16)
    for rows, band in _bands(image):
        values = np.asarray(band)
        covering_depth(values)
        words[rows] = values
    return words


def _unit_floats(image: Image.Image) -> npt.NDArray[np.float32]:
    floats = np.empty((image.height, image.width), np.float32)
    for rows, band in _bands(image):
        floats[rows] = check_unit_floats(np.asarray(band))
    return floats


def _grey_of_colour(image: Image.Image, warnings: list[str]) -> npt.NDArray[np.uint8]:
    grey = np.empty((image.height, image.width), np.uint8)
    is_transparent, spread = False, 0
    for rows, band in _bands(image):
        opaque = _on_black(band) if image.has_transparency_data else band
        is_transparent |= opaque is not band
        colours = _in_colours(opaque)
        red, green, blue = colours.split()
        for one, other in ((red, green), (green, blue)):
            spread = max(spread, int(np.asarray(ImageChops.difference(one, other)).max()))
        grey[rows] = np.asarray(colours.convert("L"))
    if is_transparent:
        warnings.append("the picture has transparent parts, which are read as black")
    if spread > COLOUR_TOLERANCE:
        warnings.append(READ_AS_GREY)
    return grey


def _on_black(image: Image.Image) -> Image.Image:
    """A picture with transparent parts laid on black; itself where it has none."""
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):
        return image
    return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)


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


def _pixel_ratio(image: Image.Image, file_format: str) -> float:
    """Height of a stored pixel over its width; 1 where nothing states another.

    Pixels per length across and down tell it, whatever the length, and a screen's too.
    """
    info = image.info
    try:
        if file_format == "TIFF":
            tags = image.tag_v2  # type: ignore[attr-defined]
            across, down = tags[_X_RESOLUTION], tags[_Y_RESOLUTION]
        elif file_format == "PNG":
            across, down = info.get("dpi") or info["aspect"]
        else:
            across, down = info["jfif_density"]
        ratio = float(across) / float(down)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 1.0
    return ratio if math.isfinite(ratio) and ratio > 0 else 1.0
