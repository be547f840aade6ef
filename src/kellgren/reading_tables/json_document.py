"""Readings as one JSON document, written entry by entry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from kellgren.exchange.json_list import JsonList
from kellgren.reading_schema import ModelRecord, ReadingRow, ReadingsDocument, RowCounts
from kellgren.reading_tables.csv_table import text_stream


class JsonDocument:
    """What `readings_schema` describes, written entry by entry.

    Args:
        stream: text that takes it.
        model: that graded all rows; `None` where none was used.
        counts: of the rows that will be added: they stand before these.
    """

    def __init__(self, stream: IO[str], model: ModelRecord | None, counts: RowCounts) -> None:
        empty = ReadingsDocument.of((), model).model_copy(update={"counts": counts})
        self._list = JsonList(stream, empty.model_dump(mode="json"))

    @classmethod
    @contextmanager
    def at(cls, path: Path, model: ModelRecord | None, counts: RowCounts) -> Iterator[Self]:
        """Open one in a file, where it appears when the block ends well; ``-``: standard output."""
        with text_stream(path) as stream:
            document = cls(stream, model, counts)
            yield document
            document.end()

    def add(self, row: ReadingRow) -> None:
        """Write one entry."""
        self._list.add(ReadingsDocument.entry(row).model_dump(mode="json"))

    def end(self) -> None:
        """Write what follows the last entry."""
        self._list.end()


def json_text(rows: Iterable[ReadingRow], model: ModelRecord | None) -> str:
    """All readings as one JSON document, which `readings_schema` describes.

    Args:
        rows: all graded by the same model.
        model: that one; `None` where none was used.
    """
    return json.dumps(ReadingsDocument.of(rows, model).model_dump(mode="json"), indent=2) + "\n"
