"""DICOM files to data sets: parsed no further than needed, inflated up to a limit.

Only the elements asked for are parsed. For a picture the patient's name and number are never among
them, so they can not reach a message, a log or the result; of the birth date only whether it is a
child's gets any further.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset, dcmread, uid

from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.dicom.header import Header
from kellgren.imaging.picture import (
    MAX_FILE_BYTES,
    RejectedPicture,
    check_size,
    file_content,
    sniffed_format,
)

_DEFLATED = uid.DeflatedExplicitVRLittleEndian.encode()
_INFLATED_HEADER_BYTES = 4 * 2**20
TRAILER_BYTES = 2**16
_FILE_META_BYTES = 2**16
# Elements take two or three reads each, compressed pixels one for every 8 kB.
_MAX_READS = 150_000
_COLOURS = frozenset(
    {"RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"}
)
EXPORT = "Export the original DX image, not a screen capture."
EXPORT_AGAIN = "Export or copy the picture again."

_WANTED = [
    "AcquisitionDate",
    "AnatomicRegionSequence",
    "AnatomicalOrientationType",
    "BitsAllocated",
    "BitsStored",
    "BodyPartExamined",
    "BurnedInAnnotation",
    "Columns",
    "ContentDate",
    "ConversionType",
    "EstimatedRadiographicMagnificationFactor",
    "FrameLaterality",
    "HighBit",
    "ImageLaterality",
    "ImageType",
    "ImagerPixelSpacing",
    "Laterality",
    "Modality",
    "ModalityLUTSequence",
    "NominalScannedPixelSpacing",
    "NumberOfFrames",
    "PatientAge",
    "PatientBirthDate",
    "PatientOrientation",
    "PerFrameFunctionalGroupsSequence",
    "PhotometricInterpretation",
    "PixelAspectRatio",
    "PixelData",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PixelRepresentation",
    "PixelSpacing",
    "PixelSpacingCalibrationType",
    "PresentationIntentType",
    "PresentationLUTShape",
    "PrimaryAnatomicStructureSequence",
    "QualityControlImage",
    "RescaleIntercept",
    "RescaleSlope",
    "Rows",
    "SOPClassUID",
    "SamplesPerPixel",
    "SeriesDate",
    "SharedFunctionalGroupsSequence",
    "StudyDate",
    "VOILUTFunction",
    "VOILUTSequence",
    "ViewCodeSequence",
    "ViewPosition",
    "WindowCenter",
    "WindowWidth",
]


def read_header(path: Path | str, keywords: Sequence[str]) -> Header:
    """The named elements of a file that was, or could be, read as a picture.

    Args:
        path: of a DICOM file.
        keywords: all that is parsed; the caller answers for what becomes of their values.

    Raises:
        UnreadableRadiograph: it cannot be opened, is no DICOM file, or is damaged.
    """
    try:
        data = file_content(path)
        if sniffed_format(data) != "DICOM":
            raise RejectedPicture("is no DICOM file", "Name the DICOM file itself.")
        return Header(_parsed(_inflated(data), [*keywords], header_only=True))
    except RejectedPicture as rejected:
        raise UnreadableRadiograph(path, rejected.problem, rejected.remedy) from None
    except Exception as error:  # its message may quote the header
        problem = f"is damaged: reading its header stopped with {type(error).__name__}"
        raise UnreadableRadiograph(path, problem, EXPORT_AGAIN) from None


def parsed_picture(data: bytes) -> Dataset:
    """The elements that a picture and its greys need, pixel data included.

    Args:
        data: the whole file, with or without its preamble.

    Raises:
        RejectedPicture: more elements than any picture needs, or deflated data without an end.
        Exception: whatever pydicom raises on damaged data.
    """
    return _parsed(_inflated(data))


def _parsed(data: bytes, keywords: list[str] = _WANTED, *, header_only: bool = False) -> Dataset:
    # force: files without preamble or file meta are common; what they hold is checked afterwards.
    return dcmread(
        _MeteredStream(data),
        force=True,
        stop_before_pixels=header_only,
        specific_tags=list(keywords),
    )


class _MeteredStream(io.BytesIO):
    """Bytes that can be read so often only: a small file may hold millions of empty elements."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise RejectedPicture("has more DICOM elements than any X-ray needs", EXPORT)
        return super().read(size)


def _inflated(data: bytes) -> bytes:
    """The file with its deflated data set unpacked; at most what its own picture needs.

    pydicom would inflate without limit, so no file that names this transfer syntax reaches it.
    """
    if _DEFLATED not in data:
        return data
    start = _end_of_file_meta(data)
    # The replacement is padded to keep its length, which the element in front of it states.
    explicit = uid.ExplicitVRLittleEndian.encode().ljust(len(_DEFLATED), b"\0")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = data[:start].replace(_DEFLATED, explicit)
    inflated += inflater.decompress(data[start:], _INFLATED_HEADER_BYTES)
    if not inflater.eof:
        header = Header(_parsed(inflated, header_only=True))
        check_description(header)
        rest = native_bytes(header) * frame_count(header) + TRAILER_BYTES
        if rest > MAX_FILE_BYTES:
            raise RejectedPicture("claims more pixels than any X-ray has", EXPORT)
        inflated += inflater.decompress(inflater.unconsumed_tail, rest)
    if not inflater.eof or _DEFLATED in inflated:
        raise RejectedPicture(
            "is damaged: its deflated data does not end where its picture does", EXPORT_AGAIN
        )
    return inflated


def _end_of_file_meta(data: bytes) -> int:
    """Offset of the first byte after group 0002, which is always explicit little endian."""
    at = 132 if data[128:132] == b"DICM" else 0
    while data[at : at + 2] == b"\x02\0" and at < _FILE_META_BYTES:
        if data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
            at += 12 + int.from_bytes(data[at + 8 : at + 12], "little")
        else:
            at += 8 + int.from_bytes(data[at + 6 : at + 8], "little")
    return at


def check_description(header: Header) -> None:
    """Refuse every picture that this version does not read, going by the header alone.

    Raises:
        RejectedPicture: with the reason.
    """
    photometric = header.word("PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        named = photometric if photometric in _COLOURS else "missing or unknown"
        raise RejectedPicture(
            f"PhotometricInterpretation is {named}, expected MONOCHROME1 or MONOCHROME2", EXPORT
        )
    if header.count("SamplesPerPixel", 1) != 1:
        raise RejectedPicture("has several samples per pixel, expected one grey value", EXPORT)
    check_size(header.count("Rows"), header.count("Columns"))
    allocated, stored = header.count("BitsAllocated"), header.count("BitsStored")
    if allocated not in (8, 16) or not 8 <= stored <= allocated:
        raise RejectedPicture(
            f"stores {stored} bits in {allocated}, expected 8 to 16 in 8 or 16", EXPORT
        )
    if header.count("HighBit", stored - 1) != stored - 1:
        raise RejectedPicture("HighBit is not BitsStored - 1, as it must be", EXPORT)
    if header.count("PixelRepresentation", 0) > 1:
        raise RejectedPicture("PixelRepresentation is neither 0 nor 1", EXPORT)


def frame_count(header: Header) -> int:
    """How many frames the file claims; one where it states none."""
    return header.count("NumberOfFrames", 1) or 1


def native_bytes(header: Header) -> int:
    """Length of one frame without compression."""
    return header.count("Rows") * header.count("Columns") * header.count("BitsAllocated") // 8
