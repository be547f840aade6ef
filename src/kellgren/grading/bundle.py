"""A trained ensemble on disk: a JSON card, ONNX members, checksums; never a pickle."""

from __future__ import annotations

import hashlib
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from kellgren.artefacts import ArtefactKind, file_checksum
from kellgren.atomic_files import written_whole
from kellgren.errors import BundleError
from kellgren.grading.card import FORMAT as FORMAT
from kellgren.grading.card import Card as Card
from kellgren.grading.card import LocalCalibration as LocalCalibration
from kellgren.grading.card import LocalData as LocalData
from kellgren.grading.card import MemberCard as MemberCard
from kellgren.grading.card import TrainingData as TrainingData

CARD = "card.json"
KIND = ArtefactKind(
    "bundle", CARD, "Restore the bundle from where it came, or install the package again"
)


class Bundle:
    """A bundle whose every file was checked.

    Attributes:
        folder: where it lies.
        card: what is known of it.
        checksum: SHA-256 of the card's text as it was read; the card holds the checksums of all
            else, so this is one name for the whole.
    """

    def __init__(self, folder: Path, card: Card, checksum: str) -> None:
        self.folder = folder
        self.card = card
        self.checksum = checksum
        self._files = KIND.files(folder, card.files)

    def path(self, name: str) -> Path:
        """Where one of the bundle's files lies."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        """The content of one of the bundle's files, checked again.

        Raises:
            BundleError: the card does not list it, or it was damaged since the bundle was opened.
        """
        return self._files.read(name)


def default_bundle() -> Path:
    """Folder of the bundle that comes with the package."""
    return Path(str(resources.files("kellgren"))) / "models" / "default"


def fast_bundle() -> Path:
    """Folder of the small bundle that comes with the package, for triage of many films."""
    return default_bundle().with_name("fast")


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle and check it: format, card, every file and its checksum.

    Raises:
        BundleError: missing, damaged, incomplete, or written in a newer format.
    """
    text, content = KIND.content(folder)
    card = _parsed_card(folder, text, content)
    KIND.files(folder, card.files).verify()
    for member in card.members:
        for name in (member.model, member.head):
            if name not in card.files:
                raise BundleError(folder, f"has no checksum for {name}", KIND.remedy)
    return Bundle(folder, card, hashlib.sha256(text.encode()).hexdigest())


def write_bundle(card: Card, files: dict[str, Path], folder: Path) -> Bundle:
    """Lay a bundle down in a new folder; its card, with the checksums, last.

    Args:
        card: whose ``files`` are filled in here.
        files: what to copy, by name in the bundle.
        folder: must be empty or new; it is again where the bundle cannot be written.

    Raises:
        BundleError: the folder holds something already.
        OSError: a file cannot be copied, as onto a full disk.
    """
    refuse_filled(folder)
    was_there = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _laid_down(card, files, folder)
    except BaseException:
        for begun in folder.iterdir():
            begun.unlink()
        if not was_there:
            folder.rmdir()
        raise


def refuse_filled(folder: Path) -> None:
    """Refuse to write a bundle into a folder that holds something; before hours of work for it.

    Raises:
        BundleError: it does, or is no folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(folder, "is not empty", "Name a new folder for the bundle")


def _laid_down(card: Card, files: dict[str, Path], folder: Path) -> Bundle:
    for name, source in files.items():
        shutil.copyfile(source, folder / name)
    checksums = {name: file_checksum(folder / name) for name in sorted(files)}
    whole = card.model_copy(update={"files": checksums, "seal": _UNSEALED})
    text = whole.model_dump_json(indent=2) + "\n"
    with written_whole(folder / CARD) as stream:
        stream.write(text.replace(_UNSEALED, _seal(text, _UNSEALED)))
    return open_bundle(folder)


_UNSEALED = "0" * 64


def _seal(text: str, seal: str) -> str:
    return hashlib.sha256(text.replace(seal, "").encode()).hexdigest()


def _parsed_card(folder: Path, text: str, content: dict[str, Any]) -> Card:
    try:
        newer = int(content["format"]) > FORMAT
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise KIND.damaged(folder / CARD, type(error).__name__) from None
    if newer:
        raise BundleError(
            folder,
            f"has format {content['format']}, this version reads up to {FORMAT}",
            "Update the package: pip install -U kellgren",
        )
    card = KIND.parsed(folder, content, Card)
    if card.seal and _seal(text, card.seal) != card.seal:
        raise BundleError(folder / CARD, "is damaged: its text does not fit its seal", KIND.remedy)
    return card
