"""A pack's manifest: the files of its archive, and the pieces into which it is divided."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MANIFEST, PIECE = ".pack.json", ".part"
Kind = Literal["campaign", "knees", "files"]
Advance = Callable[[int, int], None]  # bytes done, of how many

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Size = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PackedFile(_Frozen):
    """A file of the archive, or one that its pack only lists.

    Attributes:
        name: relative path, with slashes.
        bytes: its size.
        sha256: of its content.
        packed: whether the archive holds it.
    """

    name: str
    bytes: _Size
    sha256: _Sha256
    packed: bool = True


class Piece(_Frozen):
    """A piece of the archive: its file's name, size and SHA-256."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    bytes: _Size
    sha256: _Sha256


class Contents(_Frozen):
    """A pack's manifest.

    Attributes:
        kind: of what is packed.
        name: of what is packed.
        files: in the archive's order.
        pieces: in the order in which they are joined.
    """

    format: Literal[1] = 1
    kind: Kind
    name: str
    files: tuple[PackedFile, ...]
    pieces: tuple[Piece, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [file.name for file in self.files]
        for name in names:
            if not is_safe_name(name):
                raise ValueError(f"{name!r} would not stay inside a folder")
        if len(set(names)) < len(names):
            raise ValueError("a file is listed twice")
        if sum(file.bytes for file in self.packed) > sum(piece.bytes for piece in self.pieces):
            raise ValueError("its files are larger than its pieces")
        return self

    @property
    def packed(self) -> list[PackedFile]:
        """The files that the archive holds."""
        return [file for file in self.files if file.packed]


def is_safe_name(name: str) -> bool:
    """Whether a relative path stays inside the folder it is written into, on any system."""
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and name == "/".join(parts)
        and not PureWindowsPath(name).drive
        and not re.search(r"[\x00-\x1f\\:]", name)
        and not {"..", "/", "."} & set(parts)
    )
