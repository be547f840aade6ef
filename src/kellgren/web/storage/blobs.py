"""Files kept under the SHA-256 of their content: no name from outside ever reaches the disk."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 2**20
_BUFFER = 2**12  # of a file that is written in larger pieces


class UnusableContent(Exception):
    """A content that is not on the disk, or no longer the one that was stored; the text says so."""


class Arrival:
    """A file that comes piece by piece: on the disk, but not yet under its name.

    Args:
        folder: of all that arrives.

    Attributes:
        path: temporary.
        size: bytes so far.

    Raises:
        OSError: it could not be written; so do all methods but `abandon`.
    """

    def __init__(self, folder: Path) -> None:
        handle, name = tempfile.mkstemp(dir=folder)
        self.path, self.size = Path(name), 0
        self._file = os.fdopen(handle, "wb", _BUFFER)
        self._digest = hashlib.sha256()

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next piece."""
        self._file.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    def finish(self) -> tuple[Path, str, int]:
        """Close it; `sync_file` makes it outlive a power cut.

        Returns:
            The temporary path, the SHA-256, the size in bytes.
        """
        self._file.close()
        return self.path, self._digest.hexdigest(), self.size

    def abandon(self) -> None:
        """Remove it."""
        with suppress(OSError):  # of what is still to be written
            self._file.close()
        self.path.unlink(missing_ok=True)


class BlobStore:
    """A folder of immutable files, each named by the SHA-256 of its content.

    Args:
        folder: made if it is not there; only its owner may look inside.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "arriving"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        for abandoned in self._incoming.iterdir():
            abandoned.unlink()

    def path(self, digest: str) -> Path:
        """Path of a content, whether it is stored or not.

        Raises:
            ValueError: not the 64 hexadecimal digits of a SHA-256.
        """
        if not _SHA256.fullmatch(digest):
            raise ValueError("not a SHA-256")
        return self.folder / digest[:2] / digest

    def begin(self) -> Arrival:
        """A file that is to come; whoever begins one finishes it or abandons it."""
        return Arrival(self._incoming)

    def receive(self, stream: IO[bytes]) -> tuple[Path, str, int]:
        """Copy a stream to the disk, not yet under its name.

        Returns:
            The temporary path, the SHA-256, the size in bytes.

        Raises:
            OSError: it could not be written; nothing of it is left.
        """
        with self._arrival() as arrival:
            while block := stream.read(_BLOCK):
                arrival.write(block)
            received = arrival.finish()
            sync_file(arrival.path)
        return received

    def stage(self, content: bytes) -> tuple[Path, str]:
        """Write bytes to the disk, not yet under their name; the temporary path and the SHA-256.

        Raises:
            OSError: likewise.
        """
        with self._arrival() as arrival:
            arrival.write(content)
            path, digest, _ = arrival.finish()
            sync_file(path)
        return path, digest

    def commit(self, received: Path, digest: str) -> None:
        """Give a received file its name; the same content a second time replaces itself."""
        path = self.path(digest)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        received.replace(path)
        _sync_folder(path.parent)

    def write(self, content: bytes) -> str:
        """Store bytes; returns their SHA-256."""
        path, digest = self.stage(content)
        self.commit(path, digest)
        return digest

    def read(self, digest: str) -> bytes:
        """A whole content, compared with its checksum.

        Raises:
            UnusableContent: it is missing, or was changed on the disk.
        """
        content = bytearray()
        for block in self._blocks(digest):
            content += block
        return bytes(content)

    def verify(self, digest: str) -> None:
        """Compare a content with its checksum, without keeping it in memory.

        Raises:
            UnusableContent: likewise.
        """
        for _ in self._blocks(digest):
            pass

    def remove(self, digest: str) -> None:
        """Delete content; that it is gone already is no error."""
        self.path(digest).unlink(missing_ok=True)

    def move_out(self, digest: str, folder: Path) -> None:
        """Move a content into another folder of this disk, where it keeps its name."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / digest
        self.path(digest).replace(path)
        os.utime(path)  # what is kept for some days is kept from now on
        _sync_folder(folder)

    def digests(self) -> Iterator[str]:
        """The SHA-256 of every content that is stored."""
        yield from (path.name for path in self.folder.glob("??/*") if _SHA256.fullmatch(path.name))

    def total_bytes(self) -> int:
        """Size of all that is stored."""
        sizes = 0
        for digest in self.digests():
            try:
                sizes += self.path(digest).stat().st_size
            except FileNotFoundError:  # deleted meanwhile
                continue
        return sizes

    def _blocks(self, digest: str) -> Iterator[bytes]:
        found = hashlib.sha256()
        try:
            with self.path(digest).open("rb") as stream:
                while block := stream.read(_BLOCK):
                    found.update(block)
                    yield block
        except FileNotFoundError:
            raise UnusableContent("its file is missing from the store") from None
        if found.hexdigest() != digest:
            raise UnusableContent("its file was changed on the disk after it was stored")

    @contextmanager
    def _arrival(self) -> Iterator[Arrival]:
        """A file that is gone if the block fails."""
        arrival = self.begin()
        try:
            yield arrival
        except BaseException:
            arrival.abandon()
            raise


def sync_file(path: Path) -> None:
    """Have a file on the disk to its last byte.

    Raises:
        OSError: it could not be written.
    """
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
