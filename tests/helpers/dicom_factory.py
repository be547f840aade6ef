"""DICOM files for tests, written from a numpy array with the elements a test asks for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

DIGITAL_XRAY = "1.2.840.10008.5.1.4.1.1.1.1"
CANARY = "CANARY^Patient"
NEAR = 2
"""How far a near-lossless value may lie from the one it stands for."""


def write_dicom(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """Write what `dicom_bytes` makes of the same arguments; the path back."""
    path.write_bytes(dicom_bytes(pixels, **options))
    return path


def dicom_bytes(
    pixels: np.ndarray,
    *,
    bits: int | None = None,
    transfer_syntax: uid.UID = uid.ExplicitVRLittleEndian,
    drop: tuple[str, ...] = (),
    **elements: Any,
) -> bytes:
    """One DX file of (H, W) uint8, int16 or uint16 `pixels`.

    `elements` are DICOM keywords with their values, laid over the defaults; `drop` are keywords
    to leave out. The patient's name is `CANARY`, so that a leak can be looked for.
    """
    bits = bits or 8 * pixels.itemsize
    dataset = _described(pixels, bits, transfer_syntax)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    if "PixelData" not in elements:
        dataset.PixelData = _encoded(pixels, bits, transfer_syntax)
    dataset["PixelData"].VR = (
        "OB" if transfer_syntax.is_compressed or pixels.itemsize == 1 else "OW"
    )
    dataset["PixelData"].is_undefined_length = transfer_syntax.is_compressed
    for keyword in drop:
        delattr(dataset, keyword)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def full_range(bits: int) -> dict[str, Any]:
    """The window that maps 0 to black and the largest value of `bits` bits to white."""
    return {"WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}


def lut_item(table: np.ndarray, first: int, bits: int, order: str = "<") -> Dataset:
    """One item of a Modality or VOI LUT sequence: `table` from the input value `first` on.

    Its words stand in the file as they are here, so a big-endian one needs the order ``>``.
    """
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(table) % 65536, first, bits])
    item.add_new("LUTData", "OW", table.astype(f"{order}u2").tobytes())
    item.add_new("ModalityLUTType", "LO", "US")
    return item


def _described(pixels: np.ndarray, bits: int, transfer_syntax: uid.UID) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    dataset.SOPClassUID = DIGITAL_XRAY
    dataset.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.PatientName = CANARY
    dataset.PatientID = "CANARY-ID"
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    return dataset


def _encoded(pixels: np.ndarray, bits: int, transfer_syntax: uid.UID) -> bytes:
    if not transfer_syntax.is_compressed or transfer_syntax.is_deflated:
        order = "<" if transfer_syntax.is_little_endian else ">"
        raw = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        return raw + b"\0" * (len(raw) % 2)
    return encapsulate([codestream(pixels, bits, transfer_syntax)])


def codestream(pixels: np.ndarray, bits: int, transfer_syntax: uid.UID) -> bytes:
    """The compressed picture alone, as it stands inside the pixel data's one fragment."""
    pixels = np.ascontiguousarray(pixels)
    match transfer_syntax:
        case uid.JPEG2000Lossless:
            return bytes(encode_array(pixels, bits_stored=bits, photometric_interpretation=2))
        case uid.JPEG2000:
            given = {"bits_stored": bits, "photometric_interpretation": 2}
            return bytes(encode_array(pixels, **given, compression_ratios=[8]))
        case uid.JPEGBaseline8Bit | uid.JPEGExtended12Bit if bits == 8:
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "JPEG", quality=95)
            return stream.getvalue()
        case uid.RLELossless:
            return _run_length_encoded(pixels, bits)
        case uid.JPEGExtended12Bit:
            return bytes(imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=bits))
        case uid.JPEGLosslessSV1 | uid.JPEGLossless:
            predictor = 1 if transfer_syntax == uid.JPEGLosslessSV1 else 4
            # Lossless JPEG knows no signs: the values' bits are what is kept.
            words = pixels.view(f"u{pixels.itemsize}") & np.array(
                2**bits - 1, f"u{pixels.itemsize}"
            )
            return bytes(
                imagecodecs.jpeg8_encode(
                    words, lossless=True, predictor=predictor, bitspersample=bits
                )
            )
        case uid.JPEGLSLossless | uid.JPEGLSNearLossless:
            words = pixels.view(f"u{pixels.itemsize}")
            near = NEAR if transfer_syntax == uid.JPEGLSNearLossless else 0
            return bytes(imagecodecs.jpegls_encode(words, level=near))
        case _:  # high-throughput JPEG 2000
            is_lossless = transfer_syntax != uid.HTJ2K
            return bytes(imagecodecs.htj2k_encode(pixels, reversible=is_lossless))


def _run_length_encoded(pixels: np.ndarray, bits: int) -> bytes:
    return RLELosslessEncoder.encode(
        pixels.astype(pixels.dtype.newbyteorder("<")).tobytes(),
        encoding_plugin="pydicom",
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=8 * pixels.itemsize,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )
