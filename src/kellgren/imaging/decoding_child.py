"""Decoding in a process of its own, for programs that read strangers' files and must not end.

Within `decoding_in_child` the whole process decodes every file so: memory and processor time are
limited, and a decoder that crashes takes nobody with it. It costs about half a second a file.

Run as a module, this file is the child: a JSON line and the file on standard input; on standard
output a JSON line with all but the arrays, and these in NumPy's format: the pixels, and the mask of
those far outside all others where there are such.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from kellgren.imaging.colour import Colours
from kellgren.imaging.evidence import HeaderEvidence
from kellgren.imaging.format_readers import decoded
from kellgren.imaging.picture import Picture, PixelSpacing, RejectedPicture
from kellgren.knee import Stretch

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MEMORY_LIMIT_BYTES = 3 * 2**30
TIME_LIMIT_S = 20
"""Processor time; a child may wait for it `_WAITING` times as long."""
_WAITING = 6
_wanted = False


@dataclass(frozen=True, slots=True)
class _Facts:
    """All of a `Picture` but its arrays."""

    bit_depth: int
    spacing: PixelSpacing | None
    warnings: list[str]
    stretch: Stretch
    header: HeaderEvidence
    colours: Colours | None


@dataclass(slots=True)
class _Answer:
    facts: _Facts | None = None
    has_outliers: bool = False
    refusal: tuple[str, str] | None = None  # problem and remedy
    error: str = ""  # name of another exception


def _messages() -> TypeAdapter[_Answer]:
    # Imported here, because most programs that read pictures decode them without a child.
    from pydantic import TypeAdapter

    return TypeAdapter(_Answer)


@contextmanager
def decoding_in_child() -> Iterator[None]:
    """Within it this process, whichever thread, decodes no file itself."""
    global _wanted
    before, _wanted = _wanted, True
    try:
        yield
    finally:
        _wanted = before


def picture_of(data: bytes, file_format: str, frame: int | None) -> Picture:
    """Decode one picture, in a child where that is wanted; see `decoded` for the arguments.

    Raises:
        RejectedPicture: it is not read, or ended its decoder.
        Exception: whatever a decoder raises on damaged data, where there is no child.
    """
    return _from_child(data, file_format, frame) if _wanted else decoded(data, file_format, frame)


def _from_child(data: bytes, file_format: str, frame: int | None) -> Picture:
    task = json.dumps({"format": file_format, "frame": frame})
    try:
        child = subprocess.run(
            [sys.executable, "-m", "kellgren.imaging.decoding_child"],
            input=task.encode() + b"\n" + data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may quote a header
            timeout=TIME_LIMIT_S * _WAITING,
            check=True,
        )
        line, _, rest = child.stdout.partition(b"\n")
        answer, arrays = _messages().validate_json(line), io.BytesIO(rest)
        pixels = np.load(arrays, allow_pickle=False) if answer.facts else None
        outliers = np.load(arrays, allow_pickle=False) if answer.has_outliers else None
    except (subprocess.SubprocessError, OSError, ValueError, EOFError):
        raise RejectedPicture(
            f"is damaged or far too large: it ended the decoder of {file_format} pictures",
            "Export or copy the picture again.",
        ) from None
    if answer.refusal:
        raise RejectedPicture(*answer.refusal)
    if answer.facts is None or pixels is None:
        raise RejectedPicture(
            f"is damaged: reading it as {file_format} stopped with {answer.error}",
            "Export or copy the picture again.",
        )
    facts = {one.name: getattr(answer.facts, one.name) for one in fields(_Facts)}
    return Picture(pixels, outliers=outliers, **facts)


def _answered(data: bytes, file_format: str, frame: int | None) -> bytes:
    answer, arrays = _Answer(), io.BytesIO()
    try:
        picture = decoded(data, file_format, frame)
        np.save(arrays, picture.pixels)
        if picture.outliers is not None:
            np.save(arrays, picture.outliers)
            answer.has_outliers = True
        answer.facts = _Facts(**{one.name: getattr(picture, one.name) for one in fields(_Facts)})
    except RejectedPicture as rejected:
        answer.refusal = (rejected.problem, rejected.remedy)
    except Exception as error:  # a damaged file makes a decoder raise anything at all
        answer.error = type(error).__name__
    return _messages().dump_json(answer) + b"\n" + arrays.getvalue()


def _serve() -> None:
    from kellgren.imaging.dicom.isolated_decoder import limit

    limit(TIME_LIMIT_S, MEMORY_LIMIT_BYTES)
    task = json.loads(sys.stdin.buffer.readline())
    sys.stdout.buffer.write(_answered(sys.stdin.buffer.read(), task["format"], task["frame"]))


if __name__ == "__main__":
    _serve()
