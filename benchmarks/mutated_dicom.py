"""What may be wrong within the structure of a DICOM file."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable

import numpy as np
from mutated_rasters import jpeg_restarts, jpeg_tables
from mutation_parts import by_name, cut_up
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_fragments
from sound_pictures import SYNTAXES

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

DicomMutation = Callable[[bytes, random.Random], bytes]


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
        parts = cut_up(whole, cuts)
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


def dicom_photometric(data: bytes, rng: random.Random) -> bytes:
    """Another meaning of the values: photometric interpretation, planes, signs, a palette."""

    def change(dataset: Dataset) -> None:
        match rng.randrange(5):
            case 0:
                dataset.PhotometricInterpretation = rng.choice(
                    ["MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "ARGB"]
                )
            case 1:
                dataset.PlanarConfiguration = rng.choice([0, 1, 2])
                dataset.SamplesPerPixel = rng.choice([1, 3])
            case 2:
                dataset.PixelRepresentation = 1 - dataset.PixelRepresentation
            case 3:
                dataset.PresentationLUTShape = rng.choice(["INVERSE", "IDENTITY", "ODD"])
            case _:
                _add_palette(dataset, rng)

    return _changed(data, change)


def _add_palette(dataset: Dataset, rng: random.Random) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    greys = np.arange(256, dtype="<u2") * 257
    for colour in ("Red", "Green", "Blue"):
        table = greys.copy()
        table[rng.randrange(256) :] = rng.randrange(65536)
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        dataset.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.tobytes())


def dicom_table(data: bytes, rng: random.Random) -> bytes:
    """A table of greys, as the file says, that is not a rising one."""

    def change(dataset: Dataset) -> None:
        entries = 2**dataset.BitsStored
        table = np.arange(entries, dtype="<u2")
        start, length = rng.randrange(entries), rng.randrange(entries // 2)
        table[start : start + length] = rng.choice([0, entries - 1, table[::-1][:1][0] // 2])
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [entries % 65536, 0, dataset.BitsStored])
        item.add_new("LUTData", "OW", table.tobytes())
        item.add_new("ModalityLUTType", "LO", "US")
        name = rng.choice(["ModalityLUTSequence", "VOILUTSequence"])
        setattr(dataset, name, [item])
        if name == "ModalityLUTSequence":
            del dataset.RescaleSlope, dataset.RescaleIntercept

    return _changed(data, change)


def dicom_frames(data: bytes, rng: random.Random) -> bytes:
    """More or fewer frames than are there, in pixel data that is cut or filled up."""

    def change(dataset: Dataset) -> None:
        dataset.NumberOfFrames = rng.choice([0, 1, 2, 3])
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            (whole,) = generate_fragments(dataset.PixelData[8:])
            dataset.PixelData = encapsulate([whole] * rng.choice([1, 2, 3]))
        else:
            size = len(dataset.PixelData)
            length = rng.choice([size // 2, size - 2, size + 2, size + 1000, 2 * size, 3 * size])
            filled = rng.choice([dataset.PixelData, bytes(size)])
            dataset.PixelData = (dataset.PixelData + filled + filled)[: length // 2 * 2]

    return _changed(data, change)


def dicom_codestream(data: bytes, rng: random.Random) -> bytes:
    """A JPEG's tables or restarts, within the pixel data; bytes of any other codestream."""

    def change(dataset: Dataset) -> None:
        (whole,) = generate_fragments(dataset.PixelData[8:])
        if rng.random() < 0.7 and whole.startswith(b"\xff\xd8"):
            whole = rng.choice([jpeg_tables, jpeg_tables, jpeg_restarts])(whole, rng)
        else:
            damaged = bytearray(whole)
            for _ in range(rng.choice([1, 2, 8])):
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            whole = bytes(damaged)
        dataset.PixelData = encapsulate([whole])
        dataset["PixelData"].is_undefined_length = True

    return _changed(data, change)


DICOM_MUTATIONS: dict[str, DicomMutation] = by_name(
    dicom_tag,
    dicom_length,
    dicom_vr,
    dicom_fragments,
    dicom_window,
    dicom_bits,
    dicom_swapped_sides,
    dicom_syntax,
    dicom_photometric,
    dicom_table,
    dicom_frames,
    dicom_codestream,
)
"""By name."""
