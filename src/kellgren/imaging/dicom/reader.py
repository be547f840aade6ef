"""DICOM files to grey values in 0..1: parse, check every claim, then decode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from kellgren.imaging.dicom.codestream import (
    JPEG_LS_FRAMES,
    LOSSLESS_FRAMES,
    LOSSY_FRAMES,
    jpeg_2000_claim,
    jpeg_claim,
)
from kellgren.imaging.dicom.content import described, objections
from kellgren.imaging.dicom.grey_values import grey_values
from kellgren.imaging.dicom.header import Header, pixel_ratio, pixel_spacing
from kellgren.imaging.dicom.isolated_decoder import decode_isolated
from kellgren.imaging.dicom.parsing import (
    EXPORT_AGAIN,
    TRAILER_BYTES,
    check_description,
    frame_count,
    native_bytes,
    parsed_picture,
)
from kellgren.imaging.dicom.sides import orientation, side_statements
from kellgren.imaging.evidence import HeaderEvidence
from kellgren.imaging.picture import Picture, RejectedPicture
from kellgren.imaging.square_pixels import with_square_pixels

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
_DECOMPRESS = "Export it uncompressed (Explicit VR Little Endian)."
_FRAMES = {
    uid.JPEGBaseline8Bit: LOSSY_FRAMES,
    uid.JPEGExtended12Bit: LOSSY_FRAMES,
    uid.JPEGLossless: LOSSLESS_FRAMES,
    uid.JPEGLosslessSV1: LOSSLESS_FRAMES,
    uid.JPEGLSLossless: JPEG_LS_FRAMES,
    uid.JPEGLSNearLossless: JPEG_LS_FRAMES,
}


@dataclass(frozen=True, slots=True)
class Codec:
    """A kind of compressed pixel data, and the library that decodes it here.

    Attributes:
        name: of the transfer syntax.
        decoder: ``pydicom``, ``pillow`` or ``gdcm``.
        available: whether it is installed with support for this kind.
    """

    name: str
    decoder: str
    available: bool


def codecs() -> list[Codec]:
    """Every kind of compressed pixel data that can be read."""
    return [
        Codec(syntax.name, plugin, plugin in get_decoder(syntax).available_plugins)
        for syntax, plugin in _DECODERS.items()
    ]


def read_dicom(data: bytes, frame: int | None = None) -> Picture:
    """Decode one grey frame of a DICOM picture.

    The stored values pass the modality transform, the VOI transform (lookup table, else the first
    window, else the range of the unpadded values, see `grey_range`) and, where the file states it,
    the inversion that makes bone bright. Padding becomes black. Pixels that are not square are
    resampled, see `with_square_pixels`.

    Args:
        data: the whole file, with or without its preamble.
        frame: which one, from 1, of a file that holds several.

    Raises:
        RejectedPicture: colour, several frames and none chosen, a claim that is false or too
            large, an unknown compression.
        Exception: whatever pydicom or a decoder raises on damaged data.
    """
    dataset = parsed_picture(data)
    header = Header(dataset)
    if "PixelData" not in dataset:
        raise RejectedPicture("is a DICOM file without a picture in it", "Name the X-ray itself.")
    if not dataset.PixelData:
        raise RejectedPicture("holds no pixels: its PixelData is empty", EXPORT_AGAIN)
    check_description(header)
    chosen = _chosen_frame(header, frame)
    stored = _decoded(dataset, header, chosen)
    spacing = pixel_spacing(header)
    pixels, outliers = grey_values(stored, header)
    picture = Picture(
        pixels=pixels,
        bit_depth=header.count("BitsStored"),
        spacing=spacing,
        warnings=header.warnings,
        header=_evidence(header, chosen),
        outliers=outliers,
    )
    return with_square_pixels(picture, pixel_ratio(header, spacing))


def _evidence(header: Header, frame: int) -> HeaderEvidence:
    towards = orientation(header)
    return HeaderEvidence(
        described=described(header),
        sides=side_statements(header, frame),
        orientation=towards,
        objections=objections(header, towards),
    )


def _chosen_frame(header: Header, wanted: int | None) -> int:
    """The number of the frame to read, from 0."""
    frames = frame_count(header)
    if wanted is None and frames > 1:
        raise RejectedPicture(
            f"holds {frames} frames and none was chosen",
            f"Name one: --frame 1 to --frame {frames}.",
        )
    if not 1 <= (wanted or 1) <= frames:
        raise RejectedPicture(f"holds no frame {wanted}", f"It holds {frames}: name one of them.")
    return (wanted or 1) - 1


def _decoded(dataset: Dataset, header: Header, frame: int) -> np.ndarray:
    """Stored pixel values (rows, columns) of a frame counted from 0, integers of 8 or 16 bits."""
    syntax = _transfer_syntax(dataset, header)
    dataset.file_meta.TransferSyntaxUID = syntax
    _cut_to_frame(dataset, header, frame)
    dataset.SamplesPerPixel = dataset.NumberOfFrames = 1
    dataset.PixelRepresentation = header.count("PixelRepresentation", 0)
    if syntax in _NATIVE:
        return pixel_array(dataset, raw=True)
    if syntax != uid.RLELossless:
        _check_codestream(get_frame(dataset.PixelData, 0, number_of_frames=1), header, syntax)
    plugin = _DECODERS[syntax]
    if syntax == uid.JPEGExtended12Bit and header.count("BitsAllocated") == 16:
        plugin = "gdcm"
    if plugin == "gdcm":
        dataset.HighBit = header.count("BitsStored") - 1
        return decode_isolated(dataset)
    return pixel_array(dataset, index=0, raw=True, decoding_plugin=plugin)


def _cut_to_frame(dataset: Dataset, header: Header, frame: int) -> None:
    """Check the length of the pixel data, and leave one frame of it."""
    frames, size, pixels = frame_count(header), native_bytes(header), dataset.PixelData
    if dataset.file_meta.TransferSyntaxUID in _NATIVE:
        length, expected = len(pixels), frames * size
        if length < expected or not _is_padding(pixels[expected:], size // header.count("Rows")):
            raise RejectedPicture(
                f"holds {length} bytes of pixels, expected {expected}", EXPORT_AGAIN
            )
        if length > expected + expected % 2:
            header.warnings.append(f"{length - expected} bytes behind the pixels are ignored")
        one = pixels[frame * size :][:size]
        dataset.PixelData = one + b"\0" * (len(one) % 2)
        return
    # No lossless method needs more room than the pixels themselves, up to a few headers.
    if len(pixels) > frames * (2 * size + TRAILER_BYTES):
        raise RejectedPicture("has more compressed data than its pixels need", EXPORT_AGAIN)
    if frames > 1:
        dataset.PixelData = encapsulate([get_frame(pixels, frame, number_of_frames=frames)])
        dataset["PixelData"].is_undefined_length = True


def _is_padding(tail: bytes, row: int) -> bool:
    """Whether bytes behind the last frame are padding, which PS3.5 8.1.1 allows.

    As much as a row that is not empty is none: then the header does not describe these pixels.
    """
    return len(tail) < row or not any(tail)


def _transfer_syntax(dataset: Dataset, header: Header) -> uid.UID:
    named = dataset.file_meta.get("TransferSyntaxUID")
    if named in _NATIVE or named in _DECODERS:
        return uid.UID(named)
    if named:
        name = named.name if named.type else "an unknown method"
        raise RejectedPicture(f"is compressed with {name}, which is not read here", _DECOMPRESS)
    if dataset["PixelData"].is_undefined_length:
        raise RejectedPicture("does not say how its pixels are compressed", EXPORT_AGAIN)
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
    claim = jpeg_claim(codestream, frames) if frames else jpeg_2000_claim(codestream)
    if claim is None:
        raise RejectedPicture(f"holds no {syntax.name} picture where it should", EXPORT_AGAIN)
    if claim.precision > 8 and syntax == uid.JPEGBaseline8Bit:
        raise RejectedPicture("holds more than the 8 bits of its compression", _DECOMPRESS)
    if claim.precision > 8 and syntax == uid.JPEGExtended12Bit and header.count("BitsStored") != 12:
        raise RejectedPicture("is a lossy JPEG of 12 bits that says to hold others", _DECOMPRESS)
    bits = 8 if claim.precision <= 8 else 16
    described = (header.count("Rows"), header.count("Columns"), 1, header.count("BitsAllocated"))
    if (claim.rows, claim.columns, claim.samples, bits) != described:
        raise RejectedPicture(
            f"claims {claim.columns} x {claim.rows} x {claim.samples} in its compressed picture "
            f"and {header.count('Columns')} x {header.count('Rows')} x 1 in its header, "
            "or other bits per pixel",
            EXPORT_AGAIN,
        )
