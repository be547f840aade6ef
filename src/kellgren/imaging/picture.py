"""A picture file before it is decoded: what may be opened, how large it may be, which format it is.

The readers of all formats share these limits, the exception with which they reject a picture
(`RejectedPicture`), and the result of decoding (`Picture`).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kellgren.exchange.own_output import is_own_output
from kellgren.imaging.colour import Colours
from kellgren.imaging.evidence import NO_HEADER, HeaderEvidence
from kellgren.knee import UNSTRETCHED, Stretch

MIN_SIDE = 32
"""Shortest side of a picture, in pixels: below it a knee cannot be assessed."""
MAX_SIDE = 20_000
"""Longest side of a picture, in pixels."""
MAX_PIXELS = 45_000_000
"""Most pixels of a picture: near three times the largest digital X-ray detector. Of so many a grade
takes less than 1 GB, whatever the format of the raster."""
MAX_FILE_BYTES = 512 * 2**20
"""Largest file that is opened at all."""
HEAD_BYTES = 4096
"""Of a file, from its beginning: enough to tell what it is."""
PLAUSIBLE_MM = (0.01, 5.0)
"""Pixel spacings, in millimetres, outside which a file's statement is ignored."""

FORMAT_SUFFIXES = {
    "PNG": frozenset({".png"}),
    "JPEG": frozenset({".jpg", ".jpeg", ".jpe", ".jfif"}),
    "TIFF": frozenset({".tif", ".tiff"}),
    "DICOM": frozenset({".dcm", ".dicom", ".dic", ".ima"}),
}
"""The suffixes, in lower case, that files of each format usually have."""
SUFFIXES = frozenset().union(*FORMAT_SUFFIXES.values())
"""The suffixes, in lower case, with which a file is taken for a radiograph, even a damaged one."""

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
# First tag of a DICOM file without its preamble: group 0002 or 0008, the latter in either order.
_BARE_DICOM = (b"\x02\0\0\0", b"\x02\0\x01\0", b"\x02\0\x10\0", b"\x08\0", b"\0\x08\0")
_EXPORT = "Export the X-ray as PNG, JPEG, TIFF or DICOM."
_FOREIGN_MAGIC = {
    b"PK\x03\x04": ("is a ZIP archive", "Unpack it and name the pictures inside."),
    b"PK\x05\x06": ("is an empty ZIP archive", "Name the X-ray itself."),
    b"\x1f\x8b": ("is a gzip archive", "Unpack it and name the pictures inside."),
    b"7z\xbc\xaf": ("is a 7z archive", "Unpack it and name the pictures inside."),
    b"Rar!": ("is a RAR archive", "Unpack it and name the pictures inside."),
    b"%PDF": ("is a PDF document", _EXPORT),
    b"GIF8": ("is a GIF picture, which has too few grey levels", _EXPORT),
    b"BM": ("is a BMP picture", _EXPORT),
    b"RIFF": ("is a WebP picture or a RIFF recording", _EXPORT),
    b"\0\0\0\x0cjP": ("is a bare JPEG 2000 picture", _EXPORT),
    b"\xffO\xffQ": ("is a bare JPEG 2000 picture", _EXPORT),
    b"II+\0": ("is a BigTIFF picture", _EXPORT),
    b"MM\0+": ("is a BigTIFF picture", _EXPORT),
}


def without_suffix(path: str) -> str:
    """A path without the suffix of a radiograph; the last number of a UID is none."""
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in SUFFIXES else path


@dataclass(frozen=True, slots=True)
class PixelSpacing:
    """Distance between pixel centres in millimetres, and which element of the file states it."""

    row_mm: float
    column_mm: float
    source: str


@dataclass(slots=True)
class Picture:
    """A decoded picture: a radiograph without the name of its file."""

    pixels: np.ndarray  # (H, W) float32, 0..1, bone bright
    bit_depth: int
    spacing: PixelSpacing | None = None
    warnings: list[str] = field(default_factory=list)
    stretch: Stretch = UNSTRETCHED
    header: HeaderEvidence = NO_HEADER
    colours: Colours | None = None  # of a picture that was stored in colour
    outliers: np.ndarray | None = None  # (H, W) bool: far brighter or darker than all others


class RejectedPicture(Exception):
    """Why a picture is not read; `radiograph.read_radiograph` adds the name of the file."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def check_size(rows: int, columns: int) -> None:
    """Refuse a picture by the size it claims, before memory is taken for it.

    Raises:
        RejectedPicture: outside `MIN_SIDE`, `MAX_SIDE` or `MAX_PIXELS`.
    """
    claim = f"{columns} x {rows} pixels"
    if min(rows, columns) < MIN_SIDE:
        raise RejectedPicture(
            f"claims {claim}, fewer than {MIN_SIDE} on a side",
            "Export the X-ray at full size, not as a thumbnail.",
        )
    if max(rows, columns) > MAX_SIDE or rows * columns > MAX_PIXELS:
        raise RejectedPicture(
            f"claims {claim}, more than {MAX_SIDE} on a side or {MAX_PIXELS // 10**6} million",
            "Cut out the knees or export the X-ray at the detector's own size.",
        )


def file_content(path: Path | str) -> bytes:
    """The bytes of a regular file of at most `MAX_FILE_BYTES`.

    Raises:
        RejectedPicture: it is no such file, or cannot be read.
    """
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            if not os.access(path, os.R_OK | os.X_OK):
                raise RejectedPicture(
                    "is a folder that may not be read by this user", "Change its permissions."
                )
            raise RejectedPicture("is a folder", "Name a file inside it.")
        if not stat.S_ISREG(status.st_mode):
            raise RejectedPicture("is not a regular file", "Copy the picture into a file.")
        with open(path, "rb") as file:
            data = file.read(min(status.st_size, MAX_FILE_BYTES) + 1)
    except FileNotFoundError:
        raise RejectedPicture("does not exist", "Check the spelling of the path.") from None
    except PermissionError:
        raise RejectedPicture("may not be read by this user", "Change its permissions.") from None
    except (OSError, ValueError) as error:
        raise RejectedPicture(
            f"cannot be opened ({type(error).__name__})", "Check the path and the disk."
        ) from None
    return check_length(data)


def check_length(data: bytes) -> bytes:
    """Pass on the bytes of a picture file.

    Raises:
        RejectedPicture: there are none, or more than `MAX_FILE_BYTES`.
    """
    if not data:
        raise RejectedPicture("is empty", "Export or copy the picture again.")
    check_file_size(len(data))
    return data


def check_file_size(size: int) -> None:
    """Refuse a picture file of too many bytes, also before any is read.

    Raises:
        RejectedPicture: there are more than `MAX_FILE_BYTES`.
    """
    if size > MAX_FILE_BYTES:
        raise RejectedPicture(
            f"is larger than {MAX_FILE_BYTES // 2**20} MB", "Export the picture by itself."
        )


def sniffed_format(data: bytes) -> str:
    """``PNG``, ``JPEG``, ``TIFF`` or ``DICOM``, going by the content.

    Args:
        data: the file, or its first `HEAD_BYTES`.

    Raises:
        RejectedPicture: it is none of them, or was drawn or written by this program.
    """
    if is_own_output(data[:HEAD_BYTES]):
        raise RejectedPicture(
            "was drawn or written by kellgren and is no radiograph", "Name the X-ray itself."
        )
    if data[128:132] == b"DICM":
        return "DICOM"
    for magic, file_format in _MAGIC.items():
        if data.startswith(magic):
            return file_format
    for magic, (problem, remedy) in _FOREIGN_MAGIC.items():
        if data.startswith(magic):
            raise RejectedPicture(problem, remedy)
    if data.startswith(_BARE_DICOM):
        return "DICOM"
    if _is_text(data[:512]):
        raise RejectedPicture("is a text file", "Name the X-ray itself.")
    raise RejectedPicture(
        "is no PNG, JPEG, TIFF or DICOM file, or its beginning is damaged", _EXPORT
    )


def _is_text(head: bytes) -> bool:
    # A cut through a multi-byte character may fall at the end of the head.
    text = head.decode("utf-8", errors="ignore")
    return len(text.encode()) >= len(head) - 3 and all(c.isprintable() or c.isspace() for c in text)
