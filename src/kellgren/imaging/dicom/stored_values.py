"""Stored pixel values of a DICOM picture: every claim is checked, then one decoder reads them."""

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
    Claim,
    has_one_whole_scan,
    jpeg_2000_claim,
    jpeg_2000_parts,
    jpeg_claim,
)
from kellgren.imaging.dicom.header import Header
from kellgren.imaging.dicom.isolated_decoder import (
    DATA_TOO_SHORT,
    DECODERS_DIFFER,
    decode_isolated,
)
from kellgren.imaging.dicom.lossless_bits import uses_all_bits
from kellgren.imaging.dicom.parsing import (
    EXPORT_AGAIN,
    TRAILER_BYTES,
    frame_count,
    native_bytes,
)
from kellgren.imaging.integrity.jpeg import check_jpeg_data, check_jpeg_outline
from kellgren.imaging.picture import RejectedPicture
from kellgren.libraries import library_messages_dropped

_NATIVE = frozenset(
    {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
)
_LOSSLESS_JPEG = frozenset({uid.JPEGLossless, uid.JPEGLosslessSV1})
_JPEG_LS = frozenset({uid.JPEGLSLossless, uid.JPEGLSNearLossless})
# Their encoders may cut code-blocks off to keep to a size, so that a block's end proves no damage.
_RATE_LIMITED = frozenset({uid.JPEG2000, uid.HTJ2K})
# One decoder each, whatever else is installed: what is used is what was tested with damaged files.
# Those of imagecodecs run in a child process; pylibjpeg's RLE decoder panics past
# `except Exception`, so pydicom's own is used.
_DECODERS = {
    uid.RLELossless: "pydicom",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pillow",
    uid.JPEG2000Lossless: "jpeg-2000",
    uid.JPEG2000: "jpeg-2000",
    uid.HTJ2KLossless: "ht-jpeg-2000",
    uid.HTJ2KLosslessRPCL: "ht-jpeg-2000",
    uid.HTJ2K: "ht-jpeg-2000",
    uid.JPEGLossless: "jpeg",
    uid.JPEGLosslessSV1: "jpeg",
    uid.JPEGLSLossless: "jpeg-ls",
    uid.JPEGLSNearLossless: "jpeg-ls",
}
_IN_PROCESS = frozenset({"pydicom", "pillow"})
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
        decoder: ``pydicom``, ``pillow`` or ``imagecodecs``.
        available: whether it is installed with support for this kind.
    """

    name: str
    decoder: str
    available: bool


def codecs() -> list[Codec]:
    """Every kind of compressed pixel data that can be read."""
    import imagecodecs

    built = {
        "jpeg": imagecodecs.JPEG8.available,
        "jpeg-ls": imagecodecs.JPEGLS.available,
        "jpeg-2000": imagecodecs.JPEG2K.available,
        "ht-jpeg-2000": imagecodecs.JPEG2K.available and imagecodecs.HTJ2K.available,
    }
    return [
        Codec(syntax.name, decoder, decoder in get_decoder(syntax).available_plugins)
        if decoder in _IN_PROCESS
        else Codec(syntax.name, "imagecodecs", built[decoder])
        for syntax, decoder in _DECODERS.items()
    ]


def stored_values(dataset: Dataset, header: Header, frame: int) -> np.ndarray:
    """Decode one frame.

    Args:
        dataset: with pixel data; it is cut to the frame.
        header: of it, which was checked.
        frame: counted from 0.

    Returns:
        ``(rows, columns)`` integers of 8 or 16 bits. What a decoder warned of is added to the
        header's warnings.

    Raises:
        RejectedPicture: a false claim, an unknown compression, or damage that was noticed.
        Exception: whatever pydicom or a decoder raises on damaged data.
    """
    syntax = _transfer_syntax(dataset, header)
    dataset.file_meta.TransferSyntaxUID = syntax
    _cut_to_frame(dataset, header, frame)
    dataset.SamplesPerPixel = dataset.NumberOfFrames = 1
    dataset.PixelRepresentation = header.count("PixelRepresentation", 0)
    dataset.PhotometricInterpretation = header.word("PhotometricInterpretation")
    if syntax in _NATIVE:
        return _within_bits(pixel_array(dataset, raw=True, correct_unused_bits=False), header)
    if syntax == uid.RLELossless:
        return _within_bits(_by_pydicom(dataset, header, "pydicom"), header)
    codestream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    claim = _checked_codestream(codestream, header, syntax)
    if syntax in _FRAMES:
        check_jpeg_outline(codestream)
    if _DECODERS[syntax] == "pillow" and claim.precision <= 8:
        header.warnings.extend(check_jpeg_data(codestream))
        return _by_pydicom(dataset, header, "pillow")
    return _isolated(codestream, header, syntax, claim)


def _by_pydicom(dataset: Dataset, header: Header, decoder: str) -> np.ndarray:
    """Decoded in this process; a warning of pydicom's may quote the header and is not repeated."""
    with library_messages_dropped() as messages:
        values = pixel_array(
            dataset, index=0, raw=True, decoding_plugin=decoder, correct_unused_bits=False
        )
    if messages:
        header.warnings.append(_NOTICED)
    return values


def _within_bits(values: np.ndarray, header: Header) -> np.ndarray:
    """The values that the bits stored hold; those above hold an overlay in old files, or nothing.

    A sign may fill them or not.
    """
    bits = header.count("BitsStored")
    unused = 8 * values.itemsize - bits
    within: np.ndarray = (values << unused) >> unused
    if ((within != values) & (values >> bits != 0)).any():
        header.warnings.append(
            f"bits above the {bits} that the file says it stores are set and ignored: an overlay, "
            "or more bits of the picture"
        )
    return within


_NOTICED = "the decoder of the pixels warned of damage: check the picture"
# OpenJPEG's, see `with_ends_checked`, of two decoders of one picture, and of 12-bit JPEG.
_BROKEN = ("PTERM check failure", DECODERS_DIFFER, DATA_TOO_SHORT)
_HARMLESS = "Non conformant codestream TPsot==TNsot"


def _isolated(codestream: bytes, header: Header, syntax: uid.UID, claim: Claim) -> np.ndarray:
    """Decoded in a child; values of the width and sign that the header states."""
    decoder = _DECODERS[syntax] if syntax != uid.JPEGExtended12Bit else "jpeg"
    values, messages = decode_isolated(codestream, decoder, (claim.rows, claim.columns))
    broken = any(sign in message for message in messages for sign in _BROKEN)
    if syntax in _LOSSLESS_JPEG:
        broken = not uses_all_bits(codestream, values) or values.max() >= 2**claim.precision
    if broken and syntax not in _RATE_LIMITED:
        raise RejectedPicture(
            "is damaged: its compressed data does not end where its picture does", EXPORT_AGAIN
        )
    if any(_HARMLESS not in message for message in messages):
        header.warnings.append(_NOTICED)
    if claim.is_signed and not header.count("PixelRepresentation", 0):
        header.warnings.append(
            "the compressed picture says that its values have a sign, and the header that they "
            "have none: check the picture"
        )
    wide = np.dtype(f"u{header.count('BitsAllocated') // 8}")
    stored: np.ndarray = (values.astype(np.int32) & (2**claim.precision - 1)).astype(wide)
    if not header.count("PixelRepresentation", 0):
        if stored.max() >> header.count("BitsStored"):
            raise RejectedPicture(
                f"holds values of more than the {header.count('BitsStored')} bits that it says "
                "it stores",
                _DECOMPRESS,
            )
        return stored
    # Two's complement of as many bits as the compressed picture has.
    unused = 8 * wide.itemsize - claim.precision
    signed: np.ndarray = (stored << unused).view(wide.str.replace("u", "i")) >> unused
    return signed


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


def _checked_codestream(codestream: bytes, header: Header, syntax: uid.UID) -> Claim:
    """The claim of a compressed picture, which is the one that the header describes.

    The decoders take memory for what the compressed picture claims, not for what was checked.
    """
    frames = _FRAMES.get(syntax)
    claim = jpeg_claim(codestream, frames) if frames else jpeg_2000_claim(codestream)
    if claim is None:
        raise RejectedPicture(f"holds no {syntax.name} picture where it should", EXPORT_AGAIN)
    if claim.precision > 8 and syntax == uid.JPEGBaseline8Bit:
        raise RejectedPicture("holds more than the 8 bits of its compression", _DECOMPRESS)
    if syntax == uid.JPEGExtended12Bit and claim.precision > 8:
        if (claim.precision, header.count("BitsStored")) != (12, 12):
            raise RejectedPicture("is a lossy JPEG of 12 bits or says so, not both", _DECOMPRESS)
        if codestream.rfind(b"\xff\xd9") < codestream.find(b"\xff\xda"):
            raise RejectedPicture("is damaged: its compressed data has no end", EXPORT_AGAIN)
    if syntax in _LOSSLESS_JPEG | _JPEG_LS and not has_one_whole_scan(
        codestream, is_jpeg_ls=syntax in _JPEG_LS
    ):
        raise RejectedPicture("is damaged: its compressed data has no end", EXPORT_AGAIN)
    bits = 8 if claim.precision <= 8 else 16
    described = (header.count("Rows"), header.count("Columns"), 1, header.count("BitsAllocated"))
    if (claim.rows, claim.columns, claim.samples, bits) != described:
        raise RejectedPicture(
            f"claims {claim.columns} x {claim.rows} x {claim.samples} in its compressed picture "
            f"and {header.count('Columns')} x {header.count('Rows')} x 1 in its header, "
            "or other bits per pixel",
            EXPORT_AGAIN,
        )
    parts = "" if frames else jpeg_2000_parts(codestream)
    if parts:
        raise RejectedPicture(f"is a JPEG 2000 of {parts}, which no X-ray needs", _DECOMPRESS)
    return claim
