"""Read a radiograph from a file, a buffer or an array: grey values, side and pixel spacing.

Files come from anywhere, so every claim in them is checked before it is used: the content
decides the reader, the claimed size is checked before anything is decoded, and every failure
ends in `UnreadableRadiograph`, whose text never quotes a header (headers hold patients' names).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from kellgren.errors import InvalidOption, UnreadableRadiograph
from kellgren.grades import Side
from kellgren.imaging.array import array_picture
from kellgren.imaging.colour import Colours
from kellgren.imaging.decoding_child import picture_of
from kellgren.imaging.evidence import NO_HEADER, HeaderEvidence, agree
from kellgren.imaging.integrity.damage import ends_within_a_row
from kellgren.imaging.picture import (
    FORMAT_SUFFIXES,
    PLAUSIBLE_MM,
    Picture,
    PixelSpacing,
    RejectedPicture,
    sniffed_format,
)
from kellgren.imaging.radiograph_input import RadiographInput, input_bytes, input_name
from kellgren.knee import UNSTRETCHED, Stretch

_SPACING_TOLERANCE = 0.01  # of the given spacing, up to which a file's own counts as the same


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One X-ray picture as the network's preparation wants it."""

    source: str  # the path as given, or the name of another input
    pixels: np.ndarray  # (H, W) float32, 0..1, bone bright
    side: Side  # on which all elements of the header agree that state one
    spacing: PixelSpacing | None  # None: neither file nor caller states a plausible one
    bit_depth: int  # bits per pixel that the grey values were scaled by
    file_format: str  # "PNG", "JPEG", "TIFF", "DICOM" or "array"
    warnings: tuple[str, ...]  # what was odd, in plain sentences without header values
    stretch: Stretch = UNSTRETCHED  # of `pixels` against those of the file
    header: HeaderEvidence = NO_HEADER  # what it says of side, orientation and content
    colours: Colours | None = None  # of a PNG, JPEG or TIFF picture that was stored in colour
    outliers: np.ndarray | None = None  # (H, W) bool: far brighter or darker than all others


def read_radiograph(
    source: RadiographInput,
    frame: int | None = None,
    *,
    mm_per_pixel: float | None = None,
    inverted: bool = False,
) -> Radiograph:
    """Read one X-ray picture.

    Args:
        source: path of a PNG, JPEG, TIFF or DICOM file, such a file open in binary mode (read from
            its position to its end and left open), or its bytes; the content decides, not the
            suffix. Or an array: see `array_picture`.
        frame: which one, from 1, of a DICOM file that holds several; a file without frames has
            the one picture, whatever is asked for.
        mm_per_pixel: pixel spacing in millimetres, 0.01 to 5. It takes the place of the file's;
            where the two differ, a warning is added.
        inverted: bone is dark; the grey values are turned over. DICOM files state it themselves.

    Returns:
        The picture with pixels (H, W) float32 in 0..1, bone bright.

    Raises:
        InvalidOption: a frame or spacing out of range.
        UnreadableRadiograph: for every input that cannot be read, whatever the cause; no other
            exception leaves this function, and nothing is written to stderr.
    """
    _check_options(frame, mm_per_pixel)
    name = input_name(source)
    picture, file_format = _picture(source, name, frame)
    radiograph = Radiograph(
        source=name,
        pixels=np.float32(1) - picture.pixels if inverted else picture.pixels,
        side=agree(picture.header.sides),
        spacing=picture.spacing,
        bit_depth=picture.bit_depth,
        file_format=file_format,
        warnings=(
            *_suffix_warning(name, file_format),
            *picture.warnings,
            *_end_warning(picture.pixels),
        ),
        stretch=picture.stretch,
        header=picture.header,
        colours=picture.colours,
        outliers=picture.outliers,
    )
    return radiograph if mm_per_pixel is None else _with_spacing(radiograph, float(mm_per_pixel))


def _picture(source: RadiographInput, name: str, frame: int | None) -> tuple[Picture, str]:
    """The picture and its format; whatever prevents it becomes `UnreadableRadiograph`."""
    file_format = "file"
    try:
        if isinstance(source, np.ndarray):
            file_format = "array"
            picture = array_picture(source)
        else:
            data = input_bytes(source)
            file_format = sniffed_format(data)
            picture = picture_of(data, file_format, frame)
        _check_grey_values(picture.pixels)
    except RejectedPicture as rejected:
        raise UnreadableRadiograph(name, rejected.problem, rejected.remedy) from None
    except MemoryError:
        raise UnreadableRadiograph(
            name, "needs more memory than this machine has free", "Close other programs."
        ) from None
    except Exception as error:
        # A damaged file makes a decoder raise anything at all. Its message is not passed on
        # because it may quote the header, and with it the patient's name.
        raise UnreadableRadiograph(
            name,
            f"is damaged: reading it as {file_format} stopped with {type(error).__name__}",
            "Export or copy the picture again.",
        ) from None
    return picture, file_format


def _check_options(frame: object, mm_per_pixel: object) -> None:
    if frame is not None and (
        isinstance(frame, bool) or not isinstance(frame, int | np.integer) or frame < 1
    ):
        raise InvalidOption("frame", f"is {frame!r}", "Give a whole number from 1, or None")
    low, high = PLAUSIBLE_MM
    if mm_per_pixel is not None and (
        isinstance(mm_per_pixel, bool)
        or not isinstance(mm_per_pixel, float | int | np.floating | np.integer)
        or not low <= mm_per_pixel <= high
    ):
        raise InvalidOption(
            "mm_per_pixel",
            f"is {mm_per_pixel!r}",
            f"Give the distance between pixels in millimetres, {low} to {high}, or None",
        )


def _with_spacing(radiograph: Radiograph, mm: float) -> Radiograph:
    """The spacing that the caller gives, and a warning where the file states another."""
    stated = radiograph.spacing
    warnings = radiograph.warnings
    if stated is not None and any(
        abs(own - mm) > _SPACING_TOLERANCE * mm for own in (stated.row_mm, stated.column_mm)
    ):
        warnings += (
            f"the file states {stated.column_mm:.4g} mm per pixel; {mm:.4g} mm was given and used",
        )
    return replace(radiograph, spacing=PixelSpacing(mm, mm, "given"), warnings=warnings)


def _check_grey_values(pixels: np.ndarray) -> None:
    if not np.isfinite(pixels).all():
        raise RejectedPicture("has grey values that are no numbers", "Export the picture again.")
    if pixels.min() == pixels.max():
        raise RejectedPicture(
            "is blank: every pixel has the same value", "Export the picture again."
        )


def _end_warning(pixels: np.ndarray) -> tuple[str, ...]:
    if not ends_within_a_row(pixels):
        return ()
    return ("the picture's data ends in the middle of a row: what follows is empty",)


def _suffix_warning(name: str, file_format: str) -> tuple[str, ...]:
    if file_format == "array":
        return ()
    suffix = PurePath(name).suffix.lower()
    # DICOM files are often named by their UID: what follows its last full stop is no suffix.
    is_none = suffix in ("", ".") or suffix[1:].isdigit()
    if is_none or suffix in FORMAT_SUFFIXES[file_format]:
        return ()
    return (f"the file is named {suffix} but holds a {file_format} picture",)
