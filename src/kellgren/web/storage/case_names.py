"""Neutral names of files on the server: the given ones may name patients."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath

from kellgren.file_names import patient_and_side
from kellgren.grades import Side
from kellgren.imaging.picture import SUFFIXES

MAX_NAME_LENGTH = 120
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class CaseName:
    """Two names of one upload.

    Attributes:
        file: number, side and suffix only, safe on a disk: ``048392017445L.png``.
        shown: what answers call the image; the same, unless names are kept.
        patient: the number, which both knees of a patient share if their names say so.
    """

    file: str
    shown: str
    patient: str


def case_name(given: str, secret: bytes, *, keep: bool) -> CaseName:
    """Name an upload.

    Args:
        given: the name of the file as the client sent it; anything at all.
        secret: of this store, so that numbers cannot be traced back to patients by guessing.
        keep: show the given name, without folders and unprintable characters.
    """
    base = printable(given.replace("\\", "/").rsplit("/", 1)[-1])
    patient, side = patient_and_side(base)
    named = side is not Side.UNKNOWN
    number = patient_number(secret, patient) if named else _random_number()
    suffix = PurePosixPath(base).suffix.lower()
    file = f"{number}{side.value}{suffix if suffix in SUFFIXES else ''}"
    return CaseName(file, base if keep and base else file, number)


def printable(text: str) -> str:
    """Text without control, format and surrogate characters, at most `MAX_NAME_LENGTH` long."""
    kept = "".join(c for c in text if unicodedata.category(c)[0] != "C")
    return kept.strip()[-MAX_NAME_LENGTH:]


def patient_number(secret: bytes, patient: str) -> str:
    """The number that stands for a patient in one store."""
    digest = hmac.digest(secret, patient.encode(), hashlib.sha256)
    return str(int.from_bytes(digest[:8]) % 10**_DIGITS).zfill(_DIGITS)


def _random_number() -> str:
    return str(secrets.randbelow(10**_DIGITS)).zfill(_DIGITS)
