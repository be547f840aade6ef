"""Patient and side, read from a file's name."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePath
from typing import Literal

from kellgren.grades import Side

_PATIENT_AND_SIDE = re.compile(r"(?P<patient>\d{4,})[-_ ]?(?P<side>[LR])", re.IGNORECASE)
_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
_SHOWN_BYTE = re.compile(r"\\u(dc[89a-f][0-9a-f])")


def patient_and_side(path: PurePath | str) -> tuple[str, Side]:
    """Read patient and side from a name like ``9001234L.png``, as the published sets have it.

    ``9001234l``, ``9001234_L`` and ``9001234-R`` say the same.

    Args:
        path: a file's path; only its name without the suffix is read.

    Returns:
        The patient and the side; for any other name the whole stem and ``Side.UNKNOWN``, so
        that each such file counts as a patient of its own.
    """
    stem = PurePath(file_name(path)).stem
    match = _PATIENT_AND_SIDE.fullmatch(stem)
    if match is None:
        return stem, Side.UNKNOWN
    return match["patient"], Side(match["side"].upper())


def file_name(path: PurePath | str) -> str:
    """The last part of a path, be it written as on Windows or as elsewhere: tables travel."""
    return str(path).replace("\\", "/").rstrip("/").rpartition("/")[2]


def shown_name(path: str) -> str:
    r"""A path as text that every table and document can hold.

    Bytes of a file's name that are no UTF-8, lone surrogates in Python, become ``\udcff`` and the
    like; all else stays as it is.
    """
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def composed(path: str) -> str:
    """A path with each accented letter as one sign: a Mac writes letter and accent apart."""
    return unicodedata.normalize("NFC", path)


def named_path(folder: Path, name: str) -> Path:
    """The file that a table in a folder names, wherever and by whatever system it was written.

    Args:
        folder: that relative names start from.
        name: as it stands in the table; what no file here is called is taken for a path of
            Windows, or one from `shown_name`, where that finds the file or no name does. Accents
            may be letters of their own in the one and not in the other, as on a Mac.
    """
    path = folder / name
    if (name.isascii() and "\\" not in name) or os.path.lexists(path):
        return path
    raw = folder / _SHOWN_BYTE.sub(lambda byte: chr(int(byte[1], 16)), name)
    name = name.replace("\\", "/")
    tried = (raw, *(folder / unicodedata.normalize(form, name) for form in _FORMS))
    return next(filter(os.path.lexists, tried), folder / name)
