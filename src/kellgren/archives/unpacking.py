"""Find packs, check them, and write their files into a given folder and nowhere else."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, cast

from pydantic import ValidationError

from kellgren.archives.contents import MANIFEST, PIECE, Advance, Contents, Kind, PackedFile
from kellgren.archives.hashed import Hashed
from kellgren.artefacts import file_checksum
from kellgren.atomic_files import writing
from kellgren.errors import InvalidPack, cause
from kellgren.model_files.regular import read_regular

_MOST_MANIFEST_BYTES = 64_000_000
_CHUNK = 1 << 20
_PACK_AGAIN = "Make the pack once more, where its files are"


@dataclass(frozen=True)
class Pack:
    """A pack on disk, whose pieces are all there and have the right size.

    Attributes:
        path: of the manifest.
        contents: of the manifest.
        pieces: their paths, in order.
    """

    path: Path
    contents: Contents
    pieces: tuple[Path, ...]


def is_pack(path: Path) -> bool:
    """Whether a path is a manifest, a piece, or a folder that holds one of these."""
    return any(file.name.endswith((MANIFEST, PIECE)) for file in _files([path]))


def find_packs(paths: Sequence[Path], kind: Kind) -> list[Pack]:
    """The packs whose manifests and pieces these paths are, or hold.

    Args:
        paths: folders, manifests and pieces in any order; a manifest's folder is searched too.
        kind: that is expected.

    Raises:
        InvalidPack: no manifest, a damaged one, one of another kind, or a piece that is missing,
            of the wrong size, or of no manifest.
    """
    files = _files(paths)
    manifests = [path for path in files if path.name.endswith(MANIFEST)]
    packs = [_opened(path, files, kind) for path in manifests]
    used = {piece.name for pack in packs for piece in pack.pieces}
    orphans = [path for path in files if path.name.endswith(PIECE) and path.name not in used]
    if orphans or not packs:
        raise InvalidPack(
            (orphans or list(paths))[0],
            f"has no manifest (*{MANIFEST}) beside it",
            "Fetch the pack's manifest too",
        )
    return packs


def verify(pack: Pack) -> None:
    """Compare every piece with its SHA-256.

    Raises:
        InvalidPack: naming the pieces that are damaged.
    """
    damaged = []
    for piece, path in zip(pack.contents.pieces, pack.pieces, strict=True):
        if file_checksum(path) != piece.sha256:
            damaged.append(piece.name)
    if damaged:
        raise InvalidPack(pack.path, f"damaged: {', '.join(damaged)}", "Fetch these once more")


def extract(
    pack: Pack,
    folder: Path,
    wanted: Container[str] | None = None,
    advance: Advance = lambda done, of: None,
) -> None:
    """Write a pack's files into a temporary folder.

    Only plain files of the manifest's names, order, sizes and checksums are written; any other
    archive is refused.

    Args:
        pack: verified.
        folder: for the files; exists. It is incomplete where this raises.
        wanted: names of the files to write; ``None``: all.
        advance: called with the bytes that are read, and all bytes.

    Raises:
        InvalidPack: the archive does not match its manifest.
    """
    total, done = sum(file.bytes for file in pack.contents.packed), 0
    try:
        with (
            _Joined(pack.pieces) as joined,
            tarfile.open(mode="r|", fileobj=cast(IO[bytes], joined)) as archive,
        ):
            for file in pack.contents.packed:
                entry = archive.next()
                if (
                    entry is None
                    or entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE)
                    or entry.issparse()
                    or (entry.name, entry.size) != (file.name, file.bytes)
                ):
                    raise _not_as_listed(pack, file)
                content = (
                    archive.extractfile(entry) if wanted is None or file.name in wanted else None
                )
                if content is not None and _copy(content, folder / file.name) != file.sha256:
                    raise _not_as_listed(pack, file)
                done += file.bytes
                advance(done, total)
            if archive.next() is not None:
                raise InvalidPack(pack.path, "its archive holds more than it lists", _PACK_AGAIN)
    except (tarfile.TarError, ValueError, EOFError, RecursionError) as error:
        problem = f"its archive cannot be read ({type(error).__name__})"
        raise InvalidPack(pack.path, problem, _PACK_AGAIN) from None


def _not_as_listed(pack: Pack, file: PackedFile) -> InvalidPack:
    return InvalidPack(pack.path, f"{file.name} is not as it is listed", _PACK_AGAIN)


def _copy(content: IO[bytes], path: Path) -> str:
    """Write a file; the SHA-256 of what was written.

    Raises:
        CannotWrite: the disk is full, or nothing may be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hashed = Hashed(content)
    with writing(path), path.open("xb") as stream:
        while chunk := hashed.read(_CHUNK):
            stream.write(chunk)
    return hashed.digest


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files that paths are or hold, and what lies beside a manifest; each once."""
    files: dict[Path, None] = {}
    for path in paths:
        folder = path.parent if path.name.endswith(MANIFEST) and path.is_file() else path
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        if path.is_file():
            files[path] = None
            inside = [beside for beside in inside if not beside.name.endswith(MANIFEST)]
        files.update((file, None) for file in inside if file.is_file())
    return list(files)


def _opened(path: Path, files: Sequence[Path], kind: Kind) -> Pack:
    contents = read_contents(path)
    if contents.kind != kind:
        raise InvalidPack(path, f"is a pack of {contents.kind}", f"Name a pack of {kind}")
    by_name = {file.name: file for file in files}
    by_name |= {file.name: file for file in files if file.parent == path.parent}
    missing = [piece.name for piece in contents.pieces if piece.name not in by_name]
    if missing:
        raise InvalidPack(path, f"missing: {', '.join(missing)}", "Fetch these pieces too")
    pieces = tuple(by_name[piece.name] for piece in contents.pieces)
    wrong = [
        piece.name
        for piece, file in zip(contents.pieces, pieces, strict=True)
        if file.stat().st_size != piece.bytes
    ]
    if wrong:
        raise InvalidPack(path, f"damaged: {', '.join(wrong)}", "Fetch these once more")
    return Pack(path, contents, pieces)


def read_contents(path: Path) -> Contents:
    """Read a manifest.

    Raises:
        InvalidPack: it cannot be read, or a name in it would not stay inside a folder.
    """
    try:
        return Contents.model_validate_json(read_regular(path, _MOST_MANIFEST_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"is not a pack's manifest ({first['msg']})"
        raise InvalidPack(path, problem, "Fetch it once more") from None
    except OSError as error:
        raise InvalidPack(path, f"cannot be read ({cause(error)})", "Fetch it once more") from None
    except ValueError:
        raise InvalidPack(path, "is too large for a manifest", _PACK_AGAIN) from None


class _Joined:
    """Files read one after the other as one stream."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = iter(paths)
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            part = self._stream.read(size) if self._stream is not None else b""
            if not part:
                following = next(self._paths, None)
                if following is None:
                    break
                self.__exit__()
                self._stream = following.open("rb")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


@contextmanager
def draft_in(folder: Path) -> Iterator[Path]:
    """A hidden temporary folder inside another, deleted at the end with all that is left in it.

    So are folders that were made for it, where nothing has been put into them.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".unpacking-"))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # not empty
            for path in made:
                path.rmdir()
