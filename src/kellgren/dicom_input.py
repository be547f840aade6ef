"""DICOM files to grey values in 0..1: parse, check every claim, decode, and only then believe.

Only the elements listed in `_WANTED` are parsed. The patient's name is never among them, so it can
not reach a message, a log or the result.
"""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread, uid
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array

from kellgren.codestream import (
    JPEG_LS_FRAMES,
    LOSSLESS_FRAMES,
    LOSSY_FRAMES,
    jpeg_2000_claim,
    jpeg_claim,
)
from kellgren.dicom_grey import grey_values
from kellgren.dicom_header import Header, laterality, pixel_spacing
from kellgren.errors import UnreadableRadiograph
from kellgren.isolated_decoder import decode_isolated
from kellgren.radiograph import Picture, Refusal, check_size, file_content, sniffed_format

# It quotes what it stumbles over, header values included, to whoever listens: nobody must.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)

_NATIVE = frozenset(
    {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
)
# One decoder each, whatever else is installed: what is used is what was tested with damaged files.
# gdcm ends the process on about one damaged picture in a hundred, so it decodes only what nothing
# else here can; pylibjpeg's RLE decoder panics past `except Exception`, so pydicom's own is used.
_DECODERS = {
    uid.RLELossless: "pydicom",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pillow",
    uid.JPEG2000Lossless: "pillow",
    uid.JPEG2000: "pillow",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "gdcm",
    uid.JPEGLSNearLossless: "gdcm",
}
_FRAMES = {
    uid.JPEGBaseline8Bit: LOSSY_FRAMES,
    uid.JPEGExtended12Bit: LOSSY_FRAMES,
    uid.JPEGLossless: LOSSLESS_FRAMES,
    uid.JPEGLosslessSV1: LOSSLESS_FRAMES,
    uid.JPEGLSLossless: JPEG_LS_FRAMES,
    uid.JPEGLSNearLossless: JPEG_LS_FRAMES,
}
_DEFLATED = uid.DeflatedExplicitVRLittleEndian.encode()
_INFLATED_HEADER_BYTES = 4 * 2**20
_TRAILER_BYTES = 2**16
_FILE_META_BYTES = 2**16
# Elements take two or three reads each, compressed pixels one for every 8 kB.
_MAX_READS = 150_000
_COLOURS = frozenset(
    {"RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"}
)
_EXPORT = "Export the original DX image, not a screen capture."
_EXPORT_AGAIN = "Export or copy the picture again."
_DECOMPRESS = "Export it uncompressed (Explicit VR Little Endian)."

_WANTED = [
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "EstimatedRadiographicMagnificationFactor",
    "HighBit",
    "ImageLaterality",
    "ImagerPixelSpacing",
    "Laterality",
    "ModalityLUTSequence",
    "NominalScannedPixelSpacing",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelData",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PixelRepresentation",
    "PixelSpacing",
    "PixelSpacingCalibrationType",
    "PresentationLUTShape",
    "RescaleIntercept",
    "RescaleSlope",
    "Rows",
    "SamplesPerPixel",
    "VOILUTFunction",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
]


def read_dicom(data: bytes) -> Picture:
    """Decode one grey single-frame DICOM picture.

    The stored values pass the modality transform, the VOI transform (lookup table, else the first
    window, else the whole range from the smallest to the largest unpadded value) and, where the
    file says so, the inversion that makes bone bright. Padding becomes black.

    Args:
        data: the whole file, with or without its preamble.

    Raises:
        Refusal: colour, several frames, a claim that is false or too large, an unknown
            compression.
        Exception: whatever pydicom or a decoder raises on damaged data.
    """
    dataset = _parsed(_inflated(data))
    header = Header(dataset)
    if "PixelData" not in dataset:
        raise Refusal("is a DICOM file without a picture in it", "Name the X-ray itself.")
    _check_description(header)
    stored = _decoded(dataset, header)
    return Picture(
        pixels=grey_values(stored, header),
        bit_depth=header.count("BitsStored"),
        side=laterality(header),
        spacing=pixel_spacing(header),
        warnings=header.warnings,
    )


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
            raise Refusal("is no DICOM file", "Name the DICOM file itself.")
        return Header(_parsed(_inflated(data), [*keywords], header_only=True))
    except Refusal as refusal:
        raise UnreadableRadiograph(path, refusal.problem, refusal.remedy) from None
    except Exception as error:  # its message may quote the header
        problem = f"is damaged: reading its header stopped with {type(error).__name__}"
        raise UnreadableRadiograph(path, problem, _EXPORT_AGAIN) from None


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
            raise Refusal("has more DICOM elements than any X-ray needs", _EXPORT)
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
        _check_description(header)
        rest = _native_bytes(header) + _TRAILER_BYTES
        inflated += inflater.decompress(inflater.unconsumed_tail, rest)
    if not inflater.eof or _DEFLATED in inflated:
        raise Refusal(
            "is damaged: its deflated data does not end where its picture does", _EXPORT_AGAIN
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


def _check_description(header: Header) -> None:
    """Refuse every picture that this version does not read, going by the header alone."""
    photometric = header.word("PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        found = photometric if photometric in _COLOURS else "missing or unknown"
        raise Refusal(
            f"PhotometricInterpretation is {found}, expected MONOCHROME1 or MONOCHROME2", _EXPORT
        )
    if header.count("SamplesPerPixel", 1) != 1:
        raise Refusal("has several samples per pixel, expected one grey value", _EXPORT)
    if header.count("NumberOfFrames", 1) > 1:
        raise Refusal(
            f"holds {header.count('NumberOfFrames')} frames, expected one",
            "Export the one frame to be read as a single-frame image.",
        )
    check_size(header.count("Rows"), header.count("Columns"))
    allocated, stored = header.count("BitsAllocated"), header.count("BitsStored")
    if allocated not in (8, 16) or not 8 <= stored <= allocated:
        raise Refusal(f"stores {stored} bits in {allocated}, expected 8 to 16 in 8 or 16", _EXPORT)
    if header.count("HighBit", stored - 1) != stored - 1:
        raise Refusal("HighBit is not BitsStored - 1, as it must be", _EXPORT)
    if header.count("PixelRepresentation", 0) > 1:
        raise Refusal("PixelRepresentation is neither 0 nor 1", _EXPORT)


def _native_bytes(header: Header) -> int:
    """Length of the picture without compression."""
    return header.count("Rows") * header.count("Columns") * header.count("BitsAllocated") // 8


def _decoded(dataset: Dataset, header: Header) -> np.ndarray:
    """Stored pixel values (rows, columns), integers of 8 or 16 bits."""
    syntax = _transfer_syntax(dataset, header)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SamplesPerPixel = dataset.NumberOfFrames = 1
    dataset.PixelRepresentation = header.count("PixelRepresentation", 0)
    if syntax in _NATIVE:
        found, expected = len(dataset.PixelData), _native_bytes(header)
        if found not in (expected, expected + expected % 2):  # an odd length is padded
            raise Refusal(f"holds {found} bytes of pixels, expected {expected}", _EXPORT_AGAIN)
        return pixel_array(dataset, raw=True)
    # No lossless method needs more room than the pixels themselves, up to a few headers.
    if len(dataset.PixelData) > 2 * _native_bytes(header) + _TRAILER_BYTES:
        raise Refusal("has more compressed data than its pixels need", _EXPORT_AGAIN)
    if syntax != uid.RLELossless:
        _check_codestream(get_frame(dataset.PixelData, 0, number_of_frames=1), header, syntax)
    plugin = _DECODERS[syntax]
    if plugin == "gdcm":
        dataset.HighBit = header.count("BitsStored") - 1
        return decode_isolated(dataset)
    return pixel_array(dataset, index=0, raw=True, decoding_plugin=plugin)


def _transfer_syntax(dataset: Dataset, header: Header) -> uid.UID:
    named = dataset.file_meta.get("TransferSyntaxUID")
    if named in _NATIVE or named in _DECODERS:
        return uid.UID(named)
    if named:
        name = named.name if named.type else "an unknown method"
        raise Refusal(f"is compressed with {name}, which is not read here", _DECOMPRESS)
    if dataset["PixelData"].is_undefined_length:
        raise Refusal("does not say how its pixels are compressed", _EXPORT_AGAIN)
    header.warnings.append("the file names no transfer syntax: uncompressed pixels are assumed")
    is_implicit, is_little_endian = dataset.original_encoding
    if is_implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if is_little_endian else uid.ExplicitVRBigEndian


def _check_codestream(codestream: bytes, header: Header, syntax: uid.UID) -> None:
    """Refuse a compressed picture that is not the one the header describes.

    The decoders take memory for what the compressed picture claims, not for what was checked.
    """
    frames = _FRAMES.get(syntax)
    found = jpeg_claim(codestream, frames) if frames else jpeg_2000_claim(codestream)
    if found is None:
        raise Refusal(f"holds no {syntax.name} picture where it should", _EXPORT_AGAIN)
    if found.precision > 8 and frames == LOSSY_FRAMES:
        raise Refusal("is a lossy JPEG of 12 bits, which is not read here", _DECOMPRESS)
    bits = 8 if found.precision <= 8 else 16
    described = (header.count("Rows"), header.count("Columns"), 1, header.count("BitsAllocated"))
    if (found.rows, found.columns, found.samples, bits) != described:
        raise Refusal(
            f"claims {found.columns} x {found.rows} x {found.samples} in its compressed picture "
            f"and {header.count('Columns')} x {header.count('Rows')} x 1 in its header, "
            "or other bits per pixel",
            _EXPORT_AGAIN,
        )
