"""A trained ensemble on disk: a JSON card, ONNX members, checksums; never a pickle."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kellgren.both_knees import BothKnees
from kellgren.combining import Combiner
from kellgren.errors import BundleError
from kellgren.files import written_whole
from kellgren.preprocess import Preprocess

FORMAT = 3
CARD = "card.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MemberCard(_Part):
    """One network of the bundle.

    Attributes:
        name: unique in the bundle.
        backbone: of the vote. Networks of one backbone were trained alike on different folds; the
            mean of their logits is its voice.
        architecture: of the registry.
        model: ONNX file in the bundle.
        head: NPZ file with the head's weights.
        preprocess: what the network sees.
        recipe: that it was trained with, whole.
        recipe_hash: of that recipe.
        started_from: the weights that training began with, and their credit.
        trained_folds: which folds it learnt from; the others it never saw.
    """

    name: str
    backbone: str
    architecture: str
    model: str
    head: str
    preprocess: Preprocess
    recipe: dict[str, Any]
    recipe_hash: str
    started_from: str
    trained_folds: tuple[int, ...]


class TrainingData(_Part):
    """What the members were trained on, and whom to thank."""

    name: str
    licence: str
    credit: str
    knees: int
    patients: int
    folds_hash: str
    folds: int


class Card(_Part):
    """All that is known of a bundle.

    Attributes:
        format: of the bundle; a newer one is refused.
        name: of the bundle.
        version: of the software that wrote it.
        grades: what the five outputs mean, in order.
        scale: which Kellgren-Lawrence version the labels follow.
        members: the networks.
        combiner: how the backbones' distributions become one, fitted out of fold.
        both_knees: what the other knee adds, where it is there; ``None`` where it has not been
            shown to help.
        data: what they learnt from.
        out_of_fold: scores with intervals on knees held out of the members' training, each knee
            by a combiner that was chosen and fitted without its patient.
        out_of_fold_paired: the same, read with the other knee, and the gain over reading alone.
        versions: of the libraries used in training and export.
        files: SHA-256 of every other file in the bundle.
        intended_use: and what it is not for.
        seal: SHA-256 of the card's own text without this value; empty in one written by hand.
    """

    format: int
    name: str
    version: str
    grades: tuple[str, ...] = Field(min_length=5, max_length=5)
    scale: str
    members: tuple[MemberCard, ...] = Field(min_length=1)
    combiner: Combiner
    both_knees: BothKnees | None = None
    data: TrainingData
    out_of_fold: dict[str, Any]
    out_of_fold_paired: dict[str, Any] | None = None
    versions: dict[str, str]
    files: dict[str, str]
    intended_use: str
    seal: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")

    @model_validator(mode="before")
    @classmethod
    def _of_format_1(cls, content: Any) -> Any:
        """A card of format 1 has one member, and its calibration beside it."""
        if not isinstance(content, dict) or content.get("format") != 1:
            return content
        members = content.get("members")
        if not isinstance(members, list) or len(members) != 1 or not isinstance(members[0], dict):
            raise ValueError("a card of format 1 must have one member")
        name = members[0].get("name")
        combiner = {"members": [name], "weights": [1.0]}
        for key, there in (("voting", "rule"), ("temperature", "temperature"), ("bias", "bias")):
            if key in content:
                combiner[there] = content[key]
        kept = {k: v for k, v in content.items() if k not in ("voting", "temperature", "bias")}
        told = {"format": FORMAT, "combiner": combiner}
        return kept | told | {"members": [{"backbone": name, **members[0]}]}

    @model_validator(mode="after")
    def _backbones_vote(self) -> Self:
        if {member.backbone for member in self.members} != set(self.combiner.members):
            raise ValueError("the combiner's members are not the backbones of the networks")
        if len({member.name for member in self.members}) != len(self.members):
            raise ValueError("two networks bear the same name")
        return self


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
