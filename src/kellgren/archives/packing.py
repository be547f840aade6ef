"""Write files as one archive, divided into pieces."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Self, cast

from kellgren.archives.contents import (
    MANIFEST,
    PIECE,
    Advance,
    Contents,
    Kind,
    PackedFile,
    Piece,
    is_safe_name,
)
from kellgren.archives.hashed import Hashed
from kellgren.artefacts import file_checksum
from kellgren.errors import InvalidPack

MEGABYTE = 1_000_000
_FILE_TIME = 315_532_800  # 1980-01-01, so that equal files make equal archives


def describe(name: str, path: Path) -> PackedFile:
    """Size and SHA-256 of a file, under the name that it will have in the archive.

    Raises:
        InvalidPack: the name would not stay inside a folder.
    """
    if not is_safe_name(name):
        raise InvalidPack(path, "has a name that cannot be packed", "Rename the file")
    return PackedFile(name=name, bytes=path.stat().st_size, sha256=file_checksum(path))


def archive_bytes(files: Iterable[PackedFile]) -> int:
    """Size of the archive of these files, in bytes."""
    content = sum(len(_header(file)) + _padded(file.bytes, tarfile.BLOCKSIZE) for file in files)
    return _padded(content + 2 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE)


def write_pack(
    kind: Kind,
    name: str,
    files: Sequence[tuple[PackedFile, Path]],
    out: Path,
    piece_bytes: int,
    advance: Advance = lambda done, of: None,
) -> Contents:
    """Write files as a pack, its manifest last; a pack that failed is deleted.

    Args:
        kind: of what is packed.
        name: of what is packed; begins the names of the pieces.
        files: described, and their paths; those that are not ``packed`` are only listed.
        out: new or empty folder.
        piece_bytes: most bytes of a piece, and of the manifest.
        advance: called with the bytes that are packed, and all bytes.

    Raises:
        InvalidPack: the folder is not empty, a file changed meanwhile, or the manifest alone
            is larger than a piece may be.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise InvalidPack(out, "is not empty", "Name a new or empty folder")
    packed = [(file, path) for file, path in files if file.packed]
    listed = tuple(file for file, _ in files)
    total = archive_bytes(file for file, _ in packed)
    stem = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}-{_checksum(kind, listed, piece_bytes)}"
    count = -(-total // piece_bytes)
    names = [f"{stem}-{number:03}-of-{count:03}{PIECE}" for number in range(1, count + 1)]
    temporary = Path(tempfile.mkdtemp(dir=out, prefix=".packing-"))
    try:
        writer = _PieceWriter([temporary / piece for piece in names], piece_bytes)
        stream = cast(IO[bytes], writer)  # tarfile calls only its write
        with writer, tarfile.open(mode="w|", fileobj=stream, format=tarfile.PAX_FORMAT) as archive:
            for file, path in packed:
                _add(archive, file, path)
                advance(writer.written, total)
        contents = Contents(kind=kind, name=name, files=listed, pieces=tuple(writer.pieces))
        text = contents.model_dump_json().encode()
        if len(text) > piece_bytes:
            raise InvalidPack(
                out,
                f"the list of {len(listed)} files takes {len(text)} bytes, more than a piece",
                "Allow larger pieces",
            )
        (temporary / (stem + MANIFEST)).write_bytes(text)
        for finished in (*names, stem + MANIFEST):
            (temporary / finished).rename(out / finished)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return contents


def _checksum(kind: str, files: Sequence[PackedFile], piece_bytes: int) -> str:
    text = "\n".join(file.model_dump_json() for file in files)
    return hashlib.sha256(f"{kind} {piece_bytes}\n{text}".encode()).hexdigest()[:8]


def _entry(file: PackedFile) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(file.name)
    entry.size, entry.mode, entry.mtime = file.bytes, 0o644, _FILE_TIME
    return entry


def _header(file: PackedFile) -> bytes:
    return _entry(file).tobuf(tarfile.PAX_FORMAT)


def _padded(size: int, block: int) -> int:
    return -(-size // block) * block


def _add(archive: tarfile.TarFile, file: PackedFile, path: Path) -> None:
    with path.open("rb") as stream:
        hashed = Hashed(stream)
        try:
            archive.addfile(_entry(file), cast(IO[bytes], hashed))
        except OSError:
            if path.stat().st_size == file.bytes:
                raise
        if hashed.digest != file.sha256 or stream.read(1):
            raise InvalidPack(path, "changed while it was packed", "Pack once more")


class _PieceWriter:
    """A stream whose bytes go to files of one size, one after the other."""

    def __init__(self, paths: Sequence[Path], piece_bytes: int) -> None:
        self.pieces: list[Piece] = []
        self.written = 0
        self._paths, self._most = iter(paths), piece_bytes
        self._stream: IO[bytes] | None = None
        self._path, self._sum, self._size = Path(), hashlib.sha256(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, content: bytes) -> int:
        rest = memoryview(content)
        while rest:
            if self._stream is None or self._size == self._most:
                self._open()
            assert self._stream is not None
            part = rest[: self._most - self._size]
            self._stream.write(part)
            self._sum.update(part)
            self._size += len(part)
            rest = rest[len(part) :]
        self.written += len(content)
        return len(content)

    def _open(self) -> None:
        self._close()
        self._path = next(self._paths)
        self._stream, self._sum, self._size = self._path.open("wb"), hashlib.sha256(), 0

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._stream = None
            digest = self._sum.hexdigest()
            self.pieces.append(Piece(name=self._path.name, bytes=self._size, sha256=digest))
