"""JPEG Lossless, JPEG-LS, 12-bit JPEG and JPEG 2000 pixel data, decoded in a process of its own.

A decoder that crashes, hangs or takes all memory on damaged data does so in a child with limits on
memory and processor time: here it is a refused file, and nothing else. What the decoder says of
the data comes back too.

Run as a module, this file is the child: a JSON line and the compressed picture on standard input,
an array in NumPy's format on standard output, the decoder's messages on standard error.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kellgren.imaging.dicom.codestream import with_ends_checked
from kellgren.imaging.integrity.jpeg import with_last_bit_flipped

MEMORY_LIMIT_BYTES = 2 * 2**30
LEAST_SECONDS = 5
"""Processor time for any picture; a larger one gets `SECONDS_PER_MEGAPIXEL` besides."""
SECONDS_PER_MEGAPIXEL = 0.25
DECODERS_DIFFER = "the decoders differ"
"""Message of a picture that two decoders do not read alike."""
DATA_TOO_SHORT = "data too short"
"""Message of a picture whose last blocks its decoder made up."""
_MORE = b"\x55\xaa"
_ROUNDING = 2  # by which the decoders of a lossy picture may differ
_WAITING = 6  # times as long on the clock, on a machine that does other things too
_WARNINGS = 2  # of imagecodecs: errors and warnings, but no progress


class DecoderFailed(Exception):
    """The child crashed, ran out of its limits, or answered something else than the picture."""


class Decoded(NamedTuple):
    """Values ``(rows, columns)`` as the codestream has them, and what its decoder warned of."""

    values: np.ndarray
    messages: tuple[str, ...]


def decode_isolated(codestream: bytes, codec: str, shape: tuple[int, int]) -> Decoded:
    """Decode one compressed picture of one component.

    Args:
        codestream: of the size that was checked.
        codec: a name in `DECODERS`.
        shape: rows and columns.

    Raises:
        DecoderFailed: the data is damaged, or the limits were too tight for it.
    """
    seconds = LEAST_SECONDS + round(SECONDS_PER_MEGAPIXEL * shape[0] * shape[1] / 1e6)
    task = {"codec": codec, "seconds": seconds}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "kellgren.imaging.dicom.isolated_decoder"],
            input=json.dumps(task).encode() + b"\n" + codestream,
            capture_output=True,
            timeout=seconds * _WAITING,
            check=True,
        )
        values = np.load(io.BytesIO(child.stdout), allow_pickle=False)
    except (subprocess.SubprocessError, OSError, ValueError, EOFError) as error:
        raise DecoderFailed(type(error).__name__) from None
    if values.shape != shape or values.dtype.kind not in "iu":
        raise DecoderFailed("shape")
    lines = child.stderr.decode("ascii", "replace").splitlines()
    return Decoded(values, tuple(dict.fromkeys(line.strip() for line in lines if line.strip())))


def _jpeg(codestream: bytes) -> Any:
    """By libjpeg, whose warnings do not come through here: other ends are tried to see them.

    Bytes more at the end change the picture if its data was too short; another last bit does not
    if the data was too long.
    """
    from imagecodecs import jpeg8_decode

    values = jpeg8_decode(codestream)
    end = codestream.rfind(b"\xff\xd9")
    longer = codestream[:end] + _MORE + codestream[end:] if end >= 0 else codestream
    if not np.array_equal(values, jpeg8_decode(longer)):
        sys.stderr.write(DATA_TOO_SHORT)
        return values
    flipped = with_last_bit_flipped(codestream)
    try:
        if flipped and np.array_equal(values, jpeg8_decode(flipped)):
            sys.stderr.write("data too long")
    except RuntimeError:  # libjpeg's errors: the bit was read
        pass
    return values


def _jpeg_ls(codestream: bytes) -> Any:
    from imagecodecs import jpegls_decode

    return jpegls_decode(codestream)


def _jpeg_2000(codestream: bytes) -> Any:
    from imagecodecs import jpeg2k_decode

    return jpeg2k_decode(with_ends_checked(codestream), verbose=_WARNINGS)


def _high_throughput(codestream: bytes) -> Any:
    """By OpenJPEG, and by OpenJPH to see whether they agree: OpenJPEG alone overlooks damage."""
    from imagecodecs import htj2k_decode

    values, other = _jpeg_2000(codestream), htj2k_decode(codestream)
    if values.shape != other.shape or np.abs(values - other.astype(np.int64)).max() > _ROUNDING:
        sys.stderr.write(DECODERS_DIFFER)
    return values


DECODERS: dict[str, Callable[[bytes], Any]] = {
    "jpeg": _jpeg,
    "jpeg-ls": _jpeg_ls,
    "jpeg-2000": _jpeg_2000,
    "ht-jpeg-2000": _high_throughput,
}
"""libjpeg-turbo, CharLS, OpenJPEG and OpenJPH, as imagecodecs has them."""


def _serve() -> None:
    task = json.loads(sys.stdin.buffer.readline())
    limit(task["seconds"], MEMORY_LIMIT_BYTES)
    # A library may print to standard output: the array goes past it.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answer = io.BytesIO()
    np.save(answer, DECODERS[task["codec"]](sys.stdin.buffer.read()))
    answers.write(answer.getbuffer())
    answers.close()


def limit(seconds: int, memory: int) -> None:
    """Give up processor time beyond some seconds, and memory beyond some bytes, for good."""
    if sys.platform == "win32":  # it has no such limits; those on the clock hold
        return
    import resource

    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
    ):
        # The process that asks may be limited itself: a grader is.
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    _serve()
