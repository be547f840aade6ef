"""Read a radiograph from a PNG, JPEG, TIFF or DICOM file: grey values, side and pixel spacing.

Files come from anywhere, so nothing they claim is believed before it is checked: the content
decides the reader, the claimed size is checked before anything is decoded, and whatever goes wrong
ends in `UnreadableRadiograph`, whose text never quotes a header (headers hold patients' names).
"""

from __future__ import annotations

import stat
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kellgren.errors import UnreadableRadiograph
from kellgren.grades import Side

MIN_SIDE = 32
"""Shortest side of a picture, in pixels: below it there is no knee to see."""
MAX_SIDE = 20_000
"""Longest side of a picture, in pixels."""
MAX_PIXELS = 64_000_000
"""Most pixels of a picture: about four times the largest digital X-ray detector."""
MAX_FILE_BYTES = 512 * 2**20
"""Largest file that is opened at all."""
PLAUSIBLE_MM = (0.01, 5.0)
"""Pixel spacings, in millimetres, outside which a file's statement is not believed."""

_FORMAT_SUFFIXES = {
    "PNG": frozenset({".png"}),
    "JPEG": frozenset({".jpg", ".jpeg"}),
    "TIFF": frozenset({".tif", ".tiff"}),
    "DICOM": frozenset({".dcm", ".dicom"}),
}
SUFFIXES = frozenset().union(*_FORMAT_SUFFIXES.values())
"""The suffixes, in lower case, that a search through a folder takes for radiographs."""

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


@dataclass(frozen=True, slots=True)
class PixelSpacing:
    """Distance between pixel centres in millimetres, and which element of the file states it."""

    row_mm: float
    column_mm: float
    source: str


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


@dataclass(slots=True)
class Picture:
    """What a reader makes of a file's bytes: a `Radiograph` that does not know its path yet."""

    pixels: np.ndarray  # (H, W) float32, 0..1, bone bright
    bit_depth: int
    side: Side = Side.UNKNOWN
    spacing: PixelSpacing | None = None
    warnings: list[str] = field(default_factory=list)


class Refusal(Exception):
    """A reader's reason not to read; `read_radiograph` adds the path to it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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


def check_size(rows: int, columns: int) -> None:
    """Refuse a picture by the size it claims, before memory is taken for it.

    Raises:
        Refusal: outside `MIN_SIDE`, `MAX_SIDE` or `MAX_PIXELS`.
    """
    claim = f"{columns} x {rows} pixels"
    if min(rows, columns) < MIN_SIDE:
        raise Refusal(
            f"claims {claim}, fewer than {MIN_SIDE} on a side",
            "Export the X-ray at full size, not as a thumbnail.",
        )
    if max(rows, columns) > MAX_SIDE or rows * columns > MAX_PIXELS:
        raise Refusal(
            f"claims {claim}, more than {MAX_SIDE} on a side or {MAX_PIXELS // 10**6} million",
            "Cut out the knees or export the X-ray at the detector's own size.",
        )


def file_content(path: Path | str) -> bytes:
    """The bytes of a regular file of at most `MAX_FILE_BYTES`.

    Raises:
        Refusal: it is no such file, or cannot be read.
    """
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise Refusal("is a folder", "Name a file inside it.")
        if not stat.S_ISREG(status.st_mode):
            raise Refusal("is not a regular file", "Copy the picture into a file.")
        with open(path, "rb") as file:
            data = file.read(min(status.st_size, MAX_FILE_BYTES) + 1)
    except FileNotFoundError:
        raise Refusal("does not exist", "Check the spelling of the path.") from None
    except PermissionError:
        raise Refusal("may not be read by this user", "Change its permissions.") from None
    except (OSError, ValueError) as error:
        raise Refusal(
            f"cannot be opened ({type(error).__name__})", "Check the path and the disk."
        ) from None
    if not data:
        raise Refusal("is empty", "Export or copy the picture again.")
    if len(data) > MAX_FILE_BYTES:
        raise Refusal(
            f"is larger than {MAX_FILE_BYTES // 2**20} MB", "Export the picture by itself."
        )
    return data


def sniffed_format(data: bytes) -> str:
    """``PNG``, ``JPEG``, ``TIFF`` or ``DICOM``, going by the content.

    Raises:
        Refusal: it is none of them.
    """
    if data[128:132] == b"DICM":
        return "DICOM"
    for magic, file_format in _MAGIC.items():
        if data.startswith(magic):
            return file_format
    for magic, (problem, remedy) in _FOREIGN_MAGIC.items():
        if data.startswith(magic):
            raise Refusal(problem, remedy)
    if data.startswith(_BARE_DICOM):
        return "DICOM"
    if _is_text(data[:512]):
        raise Refusal("is a text file", "Name the X-ray itself.")
    raise Refusal("is no PNG, JPEG, TIFF or DICOM file, or its beginning is damaged", _EXPORT)


def _is_text(head: bytes) -> bool:
    # A cut through a multi-byte character may fall at the end of the head.
    text = head.decode("utf-8", errors="ignore")
    return len(text.encode()) >= len(head) - 3 and all(c.isprintable() or c.isspace() for c in text)


def _read(data: bytes, file_format: str, frame: int | None) -> Picture:
    # Imported here because loading the DICOM decoders takes longer than reading a PNG.
    if file_format == "DICOM":
        from kellgren.dicom_input import read_dicom

        return read_dicom(data, frame)
    from kellgren.raster_input import read_raster

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
    if is_none or suffix in _FORMAT_SUFFIXES[file_format]:
        return ()
    return (f"the file is named {suffix} but holds a {file_format} picture",)
