"""A JSON document whose last member is a long list, written entry by entry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO


class JsonList:
    """Writes the text that `json.dumps` with an indent of 2 would give of the whole document.

    Args:
        stream: text that takes it.
        document: its members; the last one is the list, empty as yet.
    """

    def __init__(self, stream: IO[str], document: Mapping[str, object]) -> None:
        self._stream = stream
        self._any = False
        head, _, self._tail = json.dumps(document, indent=2).rpartition("]")
        stream.write(head)

    def add(self, entry: object) -> None:
        """Write one entry."""
        # A line end within a text is written out, so what stands here is between lines.
        indented = json.dumps(entry, indent=2).replace("\n", "\n    ")
        self._stream.write(f"{',' if self._any else ''}\n    {indented}")
        self._any = True

    def end(self) -> None:
        """Write what follows the last entry."""
        closing = "\n  ]" if self._any else "]"
        self._stream.write(f"{closing}{self._tail}\n")
