"""Read a radiograph from a PNG, JPEG, TIFF or DICOM file: grey values, side and pixel spacing.

Files come from anywhere, so nothing they claim is believed before it is checked: the content
decides the reader, the claimed size is checked before anything is decoded, and whatever goes wrong
ends in `UnreadableRadiograph`, whose text never quotes a header (headers hold patients' names).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kellgren.errors import UnreadableRadiograph
from kellgren.grades import Side
from kellgren.imaging.picture import (
    FORMAT_SUFFIXES,
    Picture,
    PixelSpacing,
    Refusal,
    file_content,
    sniffed_format,
)
from kellgren.library_messages import library_messages_dropped


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One X-ray picture as the network's preparation wants it."""

    source: str  # the path as given
    pixels: np.ndarray  # (H, W) float32, 0..1, bone bright
    side: Side
    spacing: PixelSpacing | None  # None: the file states none that can be believed
    bit_depth: int  # bits per pixel that the grey values were scaled by
    file_format: str  # "PNG", "JPEG", "TIFF" or "DICOM"
    warnings: tuple[str, ...]  # what was odd, in plain sentences without header values


def read_radiograph(path: Path | str, frame: int | None = None) -> Radiograph:
    """Read one X-ray picture.

    Args:
        path: a PNG, JPEG, TIFF or DICOM file; the content decides, not the suffix.
        frame: which one, from 1, of a DICOM file that holds several; a file without frames has
            the one picture, whatever is asked for.

    Returns:
        The picture with pixels (H, W) float32 in 0..1, bone bright.

    Raises:
        UnreadableRadiograph: for every file that cannot be read, whatever the cause; no other
            exception leaves this function, and nothing is written to stderr.
    """
    file_format = "file"
    try:
        data = file_content(path)
        file_format = sniffed_format(data)
        picture = _read(data, file_format, frame)
        _check_grey_values(picture.pixels)
    except Refusal as refusal:
        raise UnreadableRadiograph(path, refusal.problem, refusal.remedy) from None
    except MemoryError:
        raise UnreadableRadiograph(
            path, "needs more memory than this machine has free", "Close other programs."
        ) from None
    except Exception as error:
        # A damaged file makes a decoder raise anything at all. Its message is not passed on
        # because it may quote the header, and with it the patient's name.
        raise UnreadableRadiograph(
            path,
            f"is damaged: reading it as {file_format} stopped with {type(error).__name__}",
            "Export or copy the picture again.",
        ) from None
    return Radiograph(
        source=str(path),
        pixels=picture.pixels,
        side=picture.side,
        spacing=picture.spacing,
        bit_depth=picture.bit_depth,
        file_format=file_format,
        warnings=(*_suffix_warning(path, file_format), *picture.warnings),
    )


def _read(data: bytes, file_format: str, frame: int | None) -> Picture:
    # Imported here because loading the DICOM decoders takes longer than reading a PNG.
    if file_format == "DICOM":
        from kellgren.imaging.dicom.reader import read_dicom

        with library_messages_dropped():
            return read_dicom(data, frame)
    from kellgren.imaging.raster import read_raster

    with library_messages_dropped():
        return read_raster(data, file_format)


def _check_grey_values(pixels: np.ndarray) -> None:
    if not np.isfinite(pixels).all():
        raise Refusal("has grey values that are no numbers", "Export the picture again.")
    if pixels.min() == pixels.max():
        raise Refusal("is blank: every pixel has the same value", "Export the picture again.")


def _suffix_warning(path: Path | str, file_format: str) -> tuple[str, ...]:
    suffix = Path(path).suffix.lower()
    # DICOM files are often named by their UID: what follows its last full stop is no suffix.
    is_none = suffix in ("", ".") or suffix[1:].isdigit()
    if is_none or suffix in FORMAT_SUFFIXES[file_format]:
        return ()
    return (f"the file is named {suffix} but holds a {file_format} picture",)
