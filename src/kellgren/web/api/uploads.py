"""Files of a request, received as a stream whose size and time are limited."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from kellgren.reading_schema import SideLetter
from kellgren.web.settings import RETRY_SECONDS, Limits
from kellgren.web.storage.blobs import BlobStore
from kellgren.web.storage.messages import Upload
from kellgren.web.storage.opening import trouble_text

_MIN_BYTES_PER_S, _GRACE_S = 1024, 10.0
_FIELDS, _FIELD_BYTES = 8, 2**12  # that are no files
_log = logging.getLogger("kellgren.web")


class _Parser(MultiPartParser):
    spool_max_size = 2**16  # what one upload may hold in memory
    is_complete = False

    def on_end(self) -> None:
        """Note that the last boundary was received."""
        self.is_complete = True

    async def complete_form(self) -> FormData:
        """The form.

        Raises:
            MultiPartException: malformed, or without its last boundary.
        """
        form = await self.parse()
        if not self.is_complete:
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("The multipart body was cut short.")
        return form


class UploadReceiver:
    """Receives what clients send, within limits.

    Args:
        blobs: where files go.
        limits: see `Limits`.
    """

    def __init__(self, blobs: BlobStore, limits: Limits) -> None:
        self._blobs, self._limits = blobs, limits
        self._running = 0

    async def files(self, request: Request) -> list[Upload]:
        """All files of a multipart request, copied to the disk and named by their content.

        Raises:
            HTTPException: 400 malformed, 408 too slow, 413 too large or too many, 415 not
                multipart, 503 too many uploads at a time, 507 too little space.
        """
        self._check_headers(request)
        self._running += 1
        try:
            form = await self._form(request)
        finally:
            self._running -= 1
        try:
            return await self._uploads(form)
        finally:
            await form.close()

    def _check_headers(self, request: Request) -> None:
        kind = request.headers.get("content-type", "")
        if not kind.lower().startswith("multipart/form-data"):
            raise HTTPException(415, "Send the files as multipart/form-data, in fields named files")
        claimed = request.headers.get("content-length", "0")
        if claimed.isdecimal() and int(claimed) > self._limits.request_bytes:
            raise self._too_large()
        if self._running >= self._limits.uploads:
            raise service_unavailable("Too many uploads at a time")
        if shutil.disk_usage(self._blobs.folder).free < self._limits.free_bytes:
            raise HTTPException(507, "The server's disk is nearly full; delete cases first")

    async def _form(self, request: Request) -> FormData:
        stream = limited_body(request, self._limits)
        bounds = {"max_files": self._limits.files, "max_fields": _FIELDS}
        parser = _Parser(request.headers, stream, **bounds, max_part_size=_FIELD_BYTES)
        try:
            return await parser.complete_form()
        except MultiPartException as error:
            many = "Too many files" in error.message
            raise HTTPException(413 if many else 400, error.message) from None
        except ClientDisconnect:
            raise HTTPException(400, "The connection ended before the files did") from None
        except OSError as error:  # of the folder for temporary files
            raise _no_space(error) from None
        except (ValueError, UnicodeError, AssertionError, LookupError):
            raise HTTPException(400, "This is no multipart body") from None

    async def _uploads(self, form: FormData) -> list[Upload]:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise HTTPException(400, "No file was sent; send at least one in a field named files")
        if max(file.size or 0 for file in files) > self._limits.file_bytes:
            raise self._too_large()
        side = _side(form)
        uploads: list[Upload] = []
        try:
            for file in files:
                received = await run_in_threadpool(self._blobs.receive, file.file)
                uploads.append(Upload(*received, file.filename or "", side))
        except OSError as error:
            await run_in_threadpool(remove_temporary, uploads)
            raise _no_space(error) from None
        except BaseException:
            remove_temporary(uploads)
            raise
        return uploads

    def _too_large(self) -> HTTPException:
        megabytes = [b // 2**20 for b in (self._limits.file_bytes, self._limits.request_bytes)]
        return HTTPException(
            413, f"A file may have {megabytes[0]} MB and a request {megabytes[1]} MB"
        )


def _side(form: FormData) -> SideLetter:
    match form.get("side", ""):
        case "L" | "R" | "" as side:
            return side
    raise HTTPException(400, "side must be L, R or empty")


def _no_space(error: OSError) -> HTTPException:
    _log.error("an upload was not kept: %s", trouble_text(error))
    return HTTPException(507, "The server's disk is full; delete cases, or try again later")


def remove_temporary(uploads: list[Upload]) -> None:
    """Remove what was received and did not become a case."""
    for upload in uploads:
        upload.path.unlink(missing_ok=True)


def service_unavailable(reason: str) -> HTTPException:
    """A 503 that says when to try again."""
    return HTTPException(
        503, f"{reason}; try again in {RETRY_SECONDS} s", {"Retry-After": str(RETRY_SECONDS)}
    )


async def limited_body(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """A request's body, counted and timed.

    Raises:
        HTTPException: 413 or 408.
    """
    started, received = time.monotonic(), 0
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout(limits.idle_seconds):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "The upload stalled for too long") from None
        received += len(chunk)
        spent = time.monotonic() - started
        slow = spent > _GRACE_S and received < spent * _MIN_BYTES_PER_S
        if slow or spent > limits.upload_seconds:
            raise HTTPException(408, "The upload is too slow")
        if received > limits.request_bytes:
            raise HTTPException(413, f"A request may have {limits.request_bytes // 2**20} MB")
        yield chunk


async def discard_body(request: Request, limits: Limits) -> None:
    """Read a body to its end: a client that is disconnected while sending never sees the answer."""
    with suppress(HTTPException, ClientDisconnect):
        async for _ in limited_body(request, limits):
            pass
