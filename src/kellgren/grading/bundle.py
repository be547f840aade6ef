"""A trained ensemble on disk: a JSON card, ONNX members, checksums; never a pickle."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from kellgren.atomic_files import written_whole
from kellgren.errors import BundleError
from kellgren.grading.card import FORMAT as FORMAT
from kellgren.grading.card import Card as Card
from kellgren.grading.card import MemberCard as MemberCard
from kellgren.grading.card import TrainingData as TrainingData

CARD = "card.json"


class Bundle:
    """A bundle whose every file was checked.

    Attributes:
        folder: where it lies.
        card: what it says of itself.
    """

    def __init__(self, folder: Path, card: Card) -> None:
        self.folder = folder
        self.card = card

    @property
    def checksum(self) -> str:
        """SHA-256 over the card, which holds the checksums of all else: one name for the whole."""
        return hashlib.sha256((self.folder / CARD).read_bytes()).hexdigest()

    def path(self, name: str) -> Path:
        """Where one of the bundle's files lies."""
        return self.folder / name


def default_bundle() -> Path:
    """Folder of the bundle that comes with the package."""
    return Path(str(resources.files("kellgren"))) / "models" / "default"


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle and check it: format, card, every file and its checksum.

    Raises:
        BundleError: missing, damaged, incomplete, or written in a newer format.
    """
    card = _read_card(folder)
    for name, expected in card.files.items():
        path = folder / name
        if Path(name).name != name:
            raise BundleError(folder, f"names a file outside itself ({name!r})", _RESTORE)
        if not path.is_file():
            raise BundleError(folder, f"is incomplete: {name} is missing", _RESTORE)
        if _sha256(path) != expected:
            raise BundleError(path, "is damaged: its checksum does not fit the card", _RESTORE)
    for member in card.members:
        for name in (member.model, member.head):
            if name not in card.files:
                raise BundleError(folder, f"has no checksum for {name}", _RESTORE)
    return Bundle(folder, card)


def write_bundle(card: Card, files: dict[str, Path], folder: Path) -> Bundle:
    """Lay a bundle down in a new folder; its card, with the checksums, last.

    Args:
        card: whose ``files`` are filled in here.
        files: what to copy, by name in the bundle.
        folder: must be empty or new.

    Raises:
        BundleError: the folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(folder, "is not empty", "Name a new folder for the bundle")
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        shutil.copyfile(source, folder / name)
    checksums = {name: _sha256(folder / name) for name in sorted(files)}
    whole = card.model_copy(update={"files": checksums, "seal": _UNSEALED})
    text = whole.model_dump_json(indent=2) + "\n"
    with written_whole(folder / CARD) as stream:
        stream.write(text.replace(_UNSEALED, _seal(text, _UNSEALED)))
    return open_bundle(folder)


_RESTORE = "Restore the bundle from where it came, or install the package again"


_UNSEALED = "0" * 64


def _seal(text: str, seal: str) -> str:
    return hashlib.sha256(text.replace(seal, "").encode()).hexdigest()


def _read_card(folder: Path) -> Card:
    path = folder / CARD
    try:
        text = path.read_text("utf-8")
        content = json.loads(text)
        newer = int(content["format"]) > FORMAT
    except FileNotFoundError:
        raise BundleError(folder, f"is no bundle: it has no {CARD}", _RESTORE) from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BundleError(path, f"is damaged ({type(error).__name__})", _RESTORE) from None
    if newer:
        raise BundleError(
            folder,
            f"has format {content['format']}, this version reads up to {FORMAT}",
            "Update the package: pip install -U kellgren",
        )
    try:
        card = Card.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(path, f"is damaged at {where}: {first['msg']}", _RESTORE) from None
    if card.seal and _seal(text, card.seal) != card.seal:
        raise BundleError(path, "is damaged: its text does not fit its seal", _RESTORE)
    return card


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
