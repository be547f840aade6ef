"""Pseudonyms of patients: a keyed hash of the header's PatientID."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from kellgren.errors import KellgrenError, UnreadableRadiograph
from kellgren.imaging.dicom.parsing import read_header
from kellgren.libraries import library_messages_dropped

MIN_KEY_LENGTH = 16
"""In characters. With a key that can be guessed, all patient numbers can be tried."""


class InvalidKey(KellgrenError):
    """A key that is too short or cannot be read."""


class Pseudonyms:
    """Stable pseudonyms of patients under one key.

    HMAC-SHA256 of the trimmed PatientID, its first 128 bits in hexadecimal. With the key, one can
    try all patient numbers; without it, pseudonyms show only which files are of one patient.

    Args:
        key: at least `MIN_KEY_LENGTH` characters.

    Raises:
        InvalidKey: it is shorter.
    """

    def __init__(self, key: str) -> None:
        if len(key) < MIN_KEY_LENGTH:
            raise InvalidKey(
                "--pseudonym",
                f"the key has fewer than {MIN_KEY_LENGTH} characters",
                "Take a long random one, from a file: --pseudonym @FILE",
            )
        self._key = key.encode()

    @classmethod
    def from_option(cls, option: str) -> Pseudonyms:
        """The key itself, or the file that holds it, written ``@FILE``.

        Raises:
            InvalidKey: it is too short, or the file cannot be read.
        """
        if not option.startswith("@"):
            return cls(option)
        try:
            return cls(Path(option[1:]).read_text("utf-8").strip())
        except (OSError, UnicodeDecodeError):
            raise InvalidKey(
                "--pseudonym", f"the key file {option[1:]} cannot be read", "Check its path"
            ) from None

    def of(self, image: Path | str) -> str:
        """The pseudonym of a file's patient; empty: the file states none, or is no DICOM file."""
        try:
            with library_messages_dropped():
                patient = str(read_header(image, ["PatientID"]).dataset.get("PatientID") or "")
        except UnreadableRadiograph:
            return ""
        except Exception:  # pydicom converts on access and raises whatever it meets
            return ""
        return self.named(patient)

    def named(self, patient: str) -> str:
        """The pseudonym of a patient's identifier; empty: there is none."""
        patient = patient.strip(" \0")
        if not patient:
            return ""
        return hmac.new(self._key, patient.encode(), hashlib.sha256).hexdigest()[:32]
