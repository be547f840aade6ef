"""Files kept under the SHA-256 of their content: no name from outside ever reaches the disk."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 2**20


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

    def receive(self, stream: IO[bytes]) -> tuple[Path, str, int]:
        """Copy a stream to the disk, not yet under its name.

        Returns:
            The temporary path, the SHA-256, the size in bytes.
        """
        handle, name = tempfile.mkstemp(dir=self._incoming)
        digest, size = hashlib.sha256(), 0
        with os.fdopen(handle, "wb") as copy:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        return Path(name), digest.hexdigest(), size

    def commit(self, received: Path, digest: str) -> None:
        """Give a received file its name; the same content a second time replaces itself."""
        path = self.path(digest)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        received.replace(path)
        _sync_folder(path.parent)

    def write(self, content: bytes) -> str:
        """Store bytes; returns their SHA-256."""
        digest = hashlib.sha256(content).hexdigest()
        handle, name = tempfile.mkstemp(dir=self._incoming)
        with os.fdopen(handle, "wb") as copy:
            copy.write(content)
            copy.flush()
            os.fsync(copy.fileno())
        self.commit(Path(name), digest)
        return digest

    def remove(self, digest: str) -> None:
        """Delete content; that it is gone already is no error."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """The SHA-256 of every content that is stored."""
        yield from (path.name for path in self.folder.glob("??/*") if _SHA256.fullmatch(path.name))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
