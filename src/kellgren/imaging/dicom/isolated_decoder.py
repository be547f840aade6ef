"""JPEG Lossless, JPEG-LS and 12-bit JPEG pixel data, decoded by gdcm in a process of its own.

gdcm is the only decoder here for these families, and about one damaged picture in a hundred ends
the process it runs in. So it runs in a child with limits on memory and time: a crash there is a
refused file here, and nothing else.

Run as a module, this file is the child: a JSON line and the encapsulated pixel data on standard
input, an array in NumPy's format on standard output.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import JPEGExtended12Bit

TIME_LIMIT_S = 30
MEMORY_LIMIT_BYTES = 2 * 2**30
_DESCRIPTION = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "NumberOfFrames",
    "PhotometricInterpretation",
)


class DecoderFailed(Exception):
    """The child crashed, ran out of its limits, or answered something else than the picture."""


def decode_isolated(dataset: Dataset) -> np.ndarray:
    """Decode the one frame of a checked data set.

    Args:
        dataset: with pixel data, transfer syntax and the elements that describe the pixels.

    Returns:
        Stored values, ``(rows, columns)``, integers of 8 or 16 bits.

    Raises:
        DecoderFailed: the data is damaged.
    """
    facts: dict[str, Any] = {name: getattr(dataset, name) for name in _DESCRIPTION}
    facts = {name: str(v) if isinstance(v, str) else int(v) for name, v in facts.items()}
    facts["syntax"] = str(dataset.file_meta.TransferSyntaxUID)
    try:
        child = subprocess.run(
            [sys.executable, "-m", "kellgren.imaging.dicom.isolated_decoder"],
            input=json.dumps(facts).encode() + b"\n" + dataset.PixelData,
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=True,
        )
        decoded = np.load(io.BytesIO(child.stdout), allow_pickle=False)
    except (subprocess.SubprocessError, OSError, ValueError, EOFError) as error:
        raise DecoderFailed(type(error).__name__) from None
    if decoded.shape != (facts["Rows"], facts["Columns"]):
        raise DecoderFailed("shape")
    return np.asarray(decoded)


def _serve() -> None:
    import resource

    from pydicom.dataset import FileMetaDataset
    from pydicom.pixels.utils import pixel_array

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_LIMIT_S, TIME_LIMIT_S))
    facts = json.loads(sys.stdin.buffer.readline())
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = facts.pop("syntax")
    for name, value in facts.items():
        setattr(dataset, name, value)
    dataset.PixelData = sys.stdin.buffer.read()
    dataset["PixelData"].is_undefined_length = True
    answer = io.BytesIO()
    if dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit:
        np.save(answer, _decoded_12_bits(dataset))
    else:
        np.save(answer, pixel_array(dataset, index=0, raw=True, decoding_plugin="gdcm"))
    sys.stdout.buffer.write(answer.getvalue())


def _decoded_12_bits(dataset: Dataset) -> np.ndarray:
    """Lossy JPEG of 12 bits, which gdcm decodes but pydicom does not ask it for."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(get_frame(dataset.PixelData, 0, number_of_frames=1))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, dataset.PixelRepresentation))
    # The bindings hand bytes over as text.
    stored = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(stored, dtype="<u2").reshape(dataset.Rows, dataset.Columns)


if __name__ == "__main__":
    _serve()
