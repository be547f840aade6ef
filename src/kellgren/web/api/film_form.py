"""Films in a multipart form: each byte goes to the disk as it comes, none waits in memory."""

from __future__ import annotations

import shutil
from pathlib import Path

from fastapi import HTTPException
from python_multipart.multipart import MultipartParser, parse_options_header

from kellgren.reading_schema import SideLetter
from kellgren.web.settings import Limits
from kellgren.web.storage.blobs import Arrival, BlobStore, sync_file
from kellgren.web.storage.messages import Upload

_FIELDS, _FIELD_BYTES = 8, 2**12
"""Fields that are no files, and the bytes of one, or of the header of any."""


class FilmForm:
    """One form, which its parser tells part by part. Used in threads, one at a time.

    Args:
        content_type: of the request, with the boundary between parts.
        blobs: where files go.
        limits: see `Limits`.

    Raises:
        HTTPException: 400 malformed, 413 too large or too many, 507 too little space; so do
            `write` and `uploads`.
        ValueError: malformed; likewise.
        OSError: a file could not be written; likewise.
    """

    def __init__(self, content_type: str, blobs: BlobStore, limits: Limits) -> None:
        self._blobs, self._limits = blobs, limits
        self._received: list[tuple[tuple[Path, str, int], str]] = []
        self._fields, self._sides = 0, set[str]()
        self._header, self._value = bytearray(), bytearray()
        self._options: dict[bytes, bytes] = {}
        self._arrival: Arrival | None = None
        self._is_complete = False
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise HTTPException(400, "Missing boundary in multipart.")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._take_header,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._take_content,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def write(self, piece: bytes) -> None:
        """Take what came next."""
        if shutil.disk_usage(self._blobs.folder).free < self._limits.free_bytes:
            raise HTTPException(507, "The server's disk is nearly full; delete cases first")
        self._parser.write(piece)

    def uploads(self) -> list[Upload]:
        """All files, once the whole form has come; a power cut spares them from now on."""
        if not self._is_complete:
            raise HTTPException(400, "The multipart body was cut short.")
        if not self._received:
            raise HTTPException(400, "No file was sent; send at least one in a field named files")
        side = _side(self._sides)
        for (path, _, _), _ in self._received:
            sync_file(path)
        return [Upload(*file, name, side) for file, name in self._received]

    def abandon(self) -> None:
        """Remove what came."""
        if self._arrival is not None:
            self._arrival.abandon()
        for (path, _, _), _ in self._received:
            path.unlink(missing_ok=True)

    def _begin_part(self) -> None:
        self._header, self._value, self._options = bytearray(), bytearray(), {}

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        _extend(self._header, data[start:end])

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        _extend(self._value, data[start:end])

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, self._options = parse_options_header(bytes(self._value))
        self._header, self._value = bytearray(), bytearray()

    def _begin_content(self) -> None:
        if b"name" not in self._options:
            raise HTTPException(400, "A part of the form has no name.")
        if b"filename" in self._options:
            if len(self._received) >= self._limits.files:
                raise HTTPException(413, f"A request may have {self._limits.files} files")
            self._arrival = self._blobs.begin()
        else:
            self._fields += 1
            if self._fields > _FIELDS:
                raise HTTPException(400, f"A request may have {_FIELDS} fields that are no files")

    def _take_content(self, data: bytes, start: int, end: int) -> None:
        if self._arrival is None:
            self._take_value(data, start, end)
        elif self._arrival.size + end - start > self._limits.file_bytes:
            raise too_large(self._limits)
        else:
            self._arrival.write(memoryview(data)[start:end])

    def _end_part(self) -> None:
        if self._arrival is not None:
            name = _text(self._options[b"filename"])
            self._received.append((self._arrival.finish(), name))
            self._arrival = None
        elif self._options[b"name"] == b"side":
            self._sides.add(_text(self._value))

    def _end(self) -> None:
        self._is_complete = True


def too_large(limits: Limits) -> HTTPException:
    """A 413 that says how large a request may be."""
    file, request = (size // 2**20 for size in (limits.file_bytes, limits.request_bytes))
    return HTTPException(413, f"A file may have {file} MB and a request {request} MB")


def _side(stated: set[str]) -> SideLetter:
    match list(stated):
        case []:
            return ""
        case ["L" | "R" | "" as side]:
            return side
        case [_]:
            raise HTTPException(400, "side must be L, R or empty")
    raise HTTPException(400, "side is stated twice, and not alike; it is of all files of a request")


def _extend(text: bytearray, piece: bytes) -> None:
    if len(text) + len(piece) > _FIELD_BYTES:
        most = f"{_FIELD_BYTES // 1024} kB"
        raise HTTPException(400, f"A field that is no file may have {most}, and any header")
    text += piece


def _text(content: bytes | bytearray) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
