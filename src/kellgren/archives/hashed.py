"""Streams that are hashed as they are read."""

from __future__ import annotations

import hashlib
from typing import IO


class Hashed:
    """A stream that is hashed as it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._sum = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """As of any stream."""
        content = self._stream.read(size)
        self._sum.update(content)
        return content

    @property
    def digest(self) -> str:
        """SHA-256 of what was read so far, in hexadecimal digits."""
        return self._sum.hexdigest()
