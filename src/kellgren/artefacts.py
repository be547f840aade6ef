"""Checked artefacts: a folder with a JSON card that holds the SHA-256 of each of its files.

Model bundle, knee detector and index of similar knees are such folders, and open alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kellgren.errors import BundleError, cause
from kellgren.model_files.regular import read_regular

MOST_CARD_BYTES = 4 * 2**20
"""The largest of the package has 27 kB."""
MOST_FILE_BYTES = 2 * 2**30
"""An ONNX file, being one protocol buffer, can hold no more."""

CardT = TypeVar("CardT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ArtefactKind:
    """What an artefact is called, and how its card is read.

    Attributes:
        name: for people, such as ``bundle``.
        card: the file name of its card.
        remedy: what to do about a damaged one.
    """

    name: str
    card: str
    remedy: str

    def content(self, folder: Path) -> tuple[str, dict[str, Any]]:
        """The text of the card, and the JSON object in it.

        Raises:
            BundleError: the card is missing, too large, or no such object.
        """
        path = folder / self.card
        if not folder.exists():
            raise BundleError(folder, "does not exist", f"Check the path. {self.remedy}")
        if not path.is_file():
            raise BundleError(folder, f"is no {self.name}: it has no {self.card}", self.remedy)
        try:
            text = _read(path, MOST_CARD_BYTES, self.remedy).decode("utf-8")
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.damaged(path, type(error).__name__) from None
        if not isinstance(content, dict):
            raise self.damaged(path, "not a JSON object")
        return text, content

    def parsed(self, folder: Path, content: dict[str, Any], model: type[CardT]) -> CardT:
        """The card as a model.

        Raises:
            BundleError: a field is missing, unknown or out of range; the message names it.
        """
        try:
            return model.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise BundleError(
                folder / self.card, f"is damaged at {place}: {first['msg']}", self.remedy
            ) from None

    def files(self, folder: Path, checksums: Mapping[str, str]) -> CheckedFiles:
        """Its files.

        Args:
            folder: where they lie.
            checksums: SHA-256 of each by name, from the card.

        Raises:
            BundleError: a name leads out of the folder.
        """
        for name in checksums:
            if Path(name).name != name or name in ("", ".."):
                raise BundleError(folder, f"names a file outside itself ({name!r})", self.remedy)
        return CheckedFiles(folder, dict(checksums), self.remedy)

    def damaged(self, path: Path, reason: str) -> BundleError:
        """The error of a file that cannot be what it should."""
        return BundleError(path, f"is damaged ({reason})", self.remedy)


@dataclass(frozen=True, slots=True)
class CheckedFiles:
    """The files of an artefact, each checked against the card whenever it is read.

    Attributes:
        folder: where they lie.
        checksums: SHA-256 of each by name.
        remedy: what to do about a damaged one.
    """

    folder: Path
    checksums: Mapping[str, str]
    remedy: str

    def verify(self) -> None:
        """Check every file without keeping its content.

        Raises:
            BundleError: as of `read`, of the first that is not as it was written.
        """
        for name in self.checksums:
            self.read(name)

    def read(self, name: str) -> bytes:
        """The content of a file: the very bytes whose checksum fits the card.

        Raises:
            BundleError: the card does not list it, or it is missing, too large, unreadable or
                damaged.
        """
        path = self._path(name)
        content = _read(path, MOST_FILE_BYTES, self.remedy)
        self._compare(path, hashlib.sha256(content).hexdigest())
        return content

    def _path(self, name: str) -> Path:
        if name not in self.checksums:
            raise BundleError(self.folder, f"has no checksum for {name}", self.remedy)
        path = self.folder / name
        if not path.is_file():
            raise BundleError(self.folder, f"is incomplete: {name} is missing", self.remedy)
        return path

    def _compare(self, path: Path, checksum: str) -> None:
        if checksum != self.checksums[path.name]:
            raise BundleError(path, "is damaged: its checksum does not fit the card", self.remedy)


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path, most: int, remedy: str) -> bytes:
    try:
        return read_regular(path, most)
    except OSError as error:
        raise BundleError(path, f"cannot be read ({cause(error)})", remedy) from None
    except ValueError as error:
        raise BundleError(path, f"is damaged: {error}", remedy) from None
