"""Sound picture files of every kind, and what may happen to their bytes."""

from __future__ import annotations

import io
import random
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread, uid
from pydicom.encaps import encapsulate, generate_fragments

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))

from dicom_factory import dicom_bytes, full_range  # noqa: E402

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SYNTAXES = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
)

Mutation = Callable[[bytes, random.Random], bytes]


@cache
def sound_files() -> dict[str, bytes]:
    """A real knee, stored in each way."""
    example = min((REPOSITORY / "examples").glob("*.png"))
    with Image.open(example) as opened:
        knee = np.array(opened.convert("L"))[:, :-1]
    noise = np.random.default_rng(0).integers(0, 16, knee.shape)
    wide = (knee.astype(np.uint16) * 16 + noise).astype(np.uint16)
    files = {
        "png": _stored(knee, "PNG"),
        "png of 16 bits": _stored(wide, "PNG"),
        "jpeg": _stored(knee, "JPEG", quality=90),
        "jpeg, progressive": _stored(knee, "JPEG", quality=90, progressive=True),
        "tiff": _stored(knee, "TIFF"),
        "tiff of 16 bits": _stored(wide, "TIFF"),
        **{
            f"tiff, {name}": _stored(knee, "TIFF", compression=name)
            for name in ("tiff_adobe_deflate", "tiff_lzw", "packbits", "jpeg")
        },
        "bmp": _stored(knee, "BMP"),
        "webp": _stored(knee, "WEBP", lossless=True),
    }
    for syntax in SYNTAXES:
        bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
        files[f"dicom, {syntax.keyword}"] = dicom_bytes(
            knee if bits == 8 else wide,
            bits=bits,
            transfer_syntax=syntax,
            RescaleSlope=1,
            RescaleIntercept=0,
            **full_range(bits),
        )
    return files


def _stored(pixels: np.ndarray, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    return stream.getvalue()


def mutated(data: bytes, mutation: str, rng: random.Random) -> bytes:
    """A file after one mutation; the sound one where the mutation does not fit it."""
    return MUTATIONS[mutation](data, rng) if len(data) > 64 else data


def _piece(data: bytes, rng: random.Random) -> tuple[int, int]:
    """Place and length of up to a fifth of the file, behind its first hundredth."""
    start = rng.randrange(len(data) // 100, len(data))
    return start, min(len(data) - start, rng.randrange(1, max(2, len(data) // 5)))


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    end = rng.choice([512, 2048, len(data), len(data)])
    for _ in range(rng.choice([1, 2, 8, 64])):
        damaged[rng.randrange(min(end, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def truncate_and_fill(data: bytes, rng: random.Random) -> bytes:
    """What a copy leaves that was interrupted after the file's size was set."""
    kept = rng.randrange(len(data))
    return data[:kept] + bytes(len(data) - kept)


def delete_piece(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 256) :]


def move_on(data: bytes, rng: random.Random) -> bytes:
    """Bytes that were lost, with as many others at the end."""
    short = delete_piece(data, rng)
    return short + rng.randbytes(len(data) - len(short))


def repeat_piece(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randrange(1, 256)]
    return data[:start] + piece * rng.randrange(2, 20) + data[start:]


def copy_block(data: bytes, rng: random.Random) -> bytes:
    start, length = _piece(data, rng)
    source = rng.randrange(len(data) - length + 1)
    return data[:start] + data[source : source + length] + data[start + length :]


def one_value(data: bytes, rng: random.Random) -> bytes:
    start, length = _piece(data, rng)
    return data[:start] + bytes([rng.choice([0, 0, 255, 128])]) * length + data[start + length :]


def noise(data: bytes, rng: random.Random) -> bytes:
    start, length = _piece(data, rng)
    return data[:start] + rng.randbytes(length) + data[start + length :]


def extreme_number(data: bytes, rng: random.Random) -> bytes:
    width = rng.choice([1, 2, 4])
    at = rng.randrange(min(len(data) - width, rng.choice([200, 1000, len(data) - width])))
    number = rng.choice(EXTREMES) & (256**width - 1)
    return data[:at] + number.to_bytes(width, rng.choice(["little", "big"])) + data[at + width :]


def _elements(data: bytes) -> list[int]:
    """Where elements of group 0x0028 and of the pixels begin, little endian."""
    tags = (b"\x28\x00", b"\xe0\x7f\x10\x00", b"\x08\x00")
    starts, at = [], 132
    while at < min(len(data), 4096):
        at = min((data.find(t, at) for t in tags if data.find(t, at) >= 0), default=len(data))
        starts.append(at)
        at += 2
    return [start for start in starts if start < len(data) - 12] or [132]


def dicom_tag(data: bytes, rng: random.Random) -> bytes:
    at = rng.choice(_elements(data))
    return data[:at] + rng.randbytes(rng.choice([2, 4])).ljust(4, b"\0") + data[at + 4 :]


def dicom_length(data: bytes, rng: random.Random) -> bytes:
    at = rng.choice(_elements(data)) + rng.choice([4, 6, 8])
    number = rng.choice([*EXTREMES, rng.randrange(65536)])
    return data[:at] + struct.pack("<I", number)[: rng.choice([2, 4])] + data[at + 4 :]


def dicom_vr(data: bytes, rng: random.Random) -> bytes:
    at = rng.choice(_elements(data)) + 4
    return (
        data[:at] + rng.choice([b"UN", b"OW", b"OB", b"SQ", b"DS", b"US", b"ZZ"]) + data[at + 2 :]
    )


def _changed(data: bytes, change: Callable[[Dataset], None]) -> bytes:
    try:
        dataset = dcmread(io.BytesIO(data))
        change(dataset)
        stream = io.BytesIO()
        dataset.save_as(stream)
    except Exception:  # pydicom does not write every nonsense
        return data
    return stream.getvalue()


def dicom_fragments(data: bytes, rng: random.Random) -> bytes:
    """Cut into pieces, in another order, one left out, one twice, or cut short."""

    def change(dataset: Dataset) -> None:
        (whole,) = generate_fragments(dataset.PixelData[8:])
        cuts = sorted(rng.sample(range(2, len(whole) - 2, 2), rng.choice([1, 2, 5])))
        parts = [whole[i:j] for i, j in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        match rng.randrange(5):
            case 0:
                rng.shuffle(parts)
            case 1:
                parts.pop(rng.randrange(len(parts)))
            case 2:
                parts.insert(rng.randrange(len(parts)), rng.choice(parts))
            case 3:
                parts[-1] = parts[-1][: len(parts[-1]) // 4 * 2]
            case _:
                parts = [b"".join(parts)[: rng.randrange(2, len(whole)) // 2 * 2]]
        dataset.PixelData = encapsulate([b"".join(parts)])
        dataset["PixelData"].is_undefined_length = True

    return _changed(data, change)


def dicom_window(data: bytes, rng: random.Random) -> bytes:
    def change(dataset: Dataset) -> None:
        name = rng.choice(["WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"])
        setattr(dataset, name, rng.choice(["0", "-1", "1", "1e9", "nan", str(rng.randrange(8192))]))

    return _changed(data, change)


def dicom_bits(data: bytes, rng: random.Random) -> bytes:
    def change(dataset: Dataset) -> None:
        name, values = rng.choice(
            [
                ("BitsStored", range(18)),
                ("BitsAllocated", (1, 8, 12, 16, 32)),
                ("HighBit", range(18)),
                ("PixelRepresentation", (0, 1, 2)),
                ("SamplesPerPixel", (0, 1, 2, 3)),
                ("Rows", (0, 1, dataset.Rows - 1, dataset.Columns, 65535)),
                ("Columns", (0, 1, dataset.Columns - 1, dataset.Rows, 65535)),
                ("NumberOfFrames", ("0", "1", "2", "999999")),
            ]
        )
        setattr(dataset, name, rng.choice(values))

    return _changed(data, change)


def dicom_swapped_sides(data: bytes, rng: random.Random) -> bytes:
    def change(dataset: Dataset) -> None:
        rows, columns = dataset.Rows, dataset.Columns
        dataset.Rows, dataset.Columns = rng.choice([(columns, rows), (rows // 2, columns * 2)])

    return _changed(data, change)


def dicom_syntax(data: bytes, rng: random.Random) -> bytes:
    def change(dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = rng.choice(SYNTAXES)

    return _changed(data, change)


MUTATIONS: dict[str, Mutation] = {
    function.__name__: function
    for function in (
        flip_bits,
        truncate,
        truncate_and_fill,
        delete_piece,
        move_on,
        repeat_piece,
        copy_block,
        one_value,
        noise,
        extreme_number,
        dicom_tag,
        dicom_length,
        dicom_vr,
        dicom_fragments,
        dicom_window,
        dicom_bits,
        dicom_swapped_sides,
        dicom_syntax,
    )
}
"""By name."""
DICOM_MUTATIONS = frozenset(name for name in MUTATIONS if name.startswith("dicom"))
"""Those that go by the structure of a DICOM file."""
