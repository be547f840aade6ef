"""Damaged and hostile files, and what must become of them."""

from __future__ import annotations

import io
import random
import struct
import time
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from dicom_factory import dicom_bytes
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.radiograph import Radiograph, read_radiograph

# Seconds of processor time, so that a busy machine fails nothing.
SECONDS_PER_FILE = 5.0


EXAMPLE = Path(__file__).parents[2] / "examples" / "9103968L.png"


HUGE = 50_000


IHDR = slice(16, 29)


def small_knee() -> np.ndarray:
    """A real knee at (96, 96) uint8."""
    return np.asarray(Image.open(EXAMPLE).resize((96, 96)))


def picture(pixels: np.ndarray, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    return stream.getvalue()


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    end = rng.choice([64, 512, 2048, len(data)])
    for _ in range(rng.choice([1, 2, 8, 64])):
        damaged[rng.randrange(min(end, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def with_png_header(data: bytes, header: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return data[: IHDR.start] + header + checksum + data[IHDR.stop + 4 :]


def outcome(path: Path) -> str:
    """ "read" or "refused", after checking that both keep their promises."""
    start = time.process_time()
    radiograph, refusal = None, ""
    try:
        radiograph = read_radiograph(path)
    except UnreadableRadiograph as error:
        refusal = str(error)
    assert time.process_time() - start < SECONDS_PER_FILE
    if radiograph is None:
        assert path.name in refusal
        assert "CANARY" not in refusal
        return "refused"
    check_promises(radiograph)
    return "read"


def check_promises(radiograph: Radiograph) -> None:
    pixels = radiograph.pixels
    assert pixels.dtype == np.float32
    assert pixels.ndim == 2
    assert min(pixels.shape) >= 32
    assert np.isfinite(pixels).all()
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert not any("CANARY" in warning for warning in radiograph.warnings)


def huge_claims() -> dict[str, bytes]:
    """A claim of 50 000 x 50 000 pixels in every format, and hidden where decoders look."""
    knee = small_knee()
    png, jpeg, tiff = (picture(knee, file_format) for file_format in ("PNG", "JPEG", "TIFF"))
    side = struct.pack(">I", HUGE)
    sof, siz = b"\xff\xc0\x00\x0b\x08", b"\xff\x51"
    jpeg_2000 = dicom_bytes(knee, transfer_syntax=uid.JPEG2000Lossless)
    at = jpeg_2000.index(siz) + 6
    size = {"Rows": HUGE, "Columns": HUGE}
    return {
        "knee.png": with_png_header(png, side + side + png[24:29]),
        "knee.jpg": replaced(jpeg, jpeg.index(sof) + 5, struct.pack(">HH", HUGE, HUGE)),
        "knee.tif": huge_tiff(tiff),
        "knee.dcm": dicom_bytes(knee, **size),
        "deflated.dcm": dicom_bytes(
            knee, transfer_syntax=uid.DeflatedExplicitVRLittleEndian, **size
        ),
        "rle.dcm": dicom_bytes(knee, transfer_syntax=uid.RLELossless, **size),
        "jpeg2000.dcm": replaced(jpeg_2000, at, side + side),
        "inner.dcm": dicom_bytes(
            knee,
            transfer_syntax=uid.JPEGBaseline8Bit,
            PixelData=encapsulate(
                [replaced(jpeg, jpeg.index(sof) + 5, struct.pack(">HH", HUGE, HUGE))]
            ),
        ),
    }


def replaced(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def huge_tiff(data: bytes) -> bytes:
    for tag in (256, 257):
        entry = struct.pack("<HHI", tag, 4, 1)
        data = replaced(data, data.index(entry), entry + struct.pack("<I", HUGE))
    return data


def nested(levels: int, *, explicit_length: bool) -> bytes:
    """A sequence inside a sequence inside a sequence, explicit little endian."""
    tag, item = b"\x40\x00\x75\x02SQ\0\0", b"\xfe\xff\x00\xe0"
    inner = b""
    for _ in range(levels):
        if explicit_length:
            inner = item + struct.pack("<I", len(inner)) + inner
            inner = tag + struct.pack("<I", len(inner)) + inner
        else:
            inner = tag + b"\xff" * 4 + item + b"\xff" * 4 + inner
            inner += b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)
    return inner
