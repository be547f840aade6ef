"""Files of a request, received as a stream whose size and time are limited."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from kellgren.web.api.film_form import FilmForm, too_large
from kellgren.web.problems import NO_SPACE
from kellgren.web.settings import RETRY_SECONDS, Limits
from kellgren.web.storage.blobs import BlobStore
from kellgren.web.storage.messages import Upload
from kellgren.web.storage.opening import trouble_text

_MIN_BYTES_PER_S, _GRACE_S = 1024, 10.0
_WRITERS = 8  # of the server's threads: the others answer requests that need no disk
_log = logging.getLogger("kellgren.web")


class UploadReceiver:
    """Receives what clients send, within limits.

    Args:
        blobs: where files go.
        limits: see `Limits`.
    """

    def __init__(self, blobs: BlobStore, limits: Limits) -> None:
        self._blobs, self._limits = blobs, limits
        self._running, self._disk = 0, asyncio.Semaphore(_WRITERS)

    async def files(self, request: Request) -> list[Upload]:
        """All files of a multipart request, copied to the disk and named by their content.

        Raises:
            HTTPException: 400 malformed, 408 too slow, 413 too large or too many, 415 not
                multipart, 503 too many uploads at a time, 507 too little space.
        """
        self._check_headers(request)
        self._running += 1
        try:
            return await self._received(request)
        except (HTTPException, ClientDisconnect, OSError, ValueError) as error:
            # A traceback through a thread refers to itself, and so would keep all that came until
            # the garbage is collected.
            raise _answer(error.with_traceback(None)) from None
        finally:
            self._running -= 1

    def _check_headers(self, request: Request) -> None:
        kind = request.headers.get("content-type", "")
        if not kind.lower().startswith("multipart/form-data"):
            raise HTTPException(415, "Send the files as multipart/form-data, in fields named files")
        claimed = request.headers.get("content-length", "0")
        if claimed.isdecimal() and int(claimed) > self._limits.request_bytes:
            raise too_large(self._limits)
        if self._running >= self._limits.uploads:
            raise service_unavailable("Too many uploads at a time")

    async def _received(self, request: Request) -> list[Upload]:
        form = FilmForm(request.headers["content-type"], self._blobs, self._limits)
        try:
            async for piece in limited_body(request, self._limits):
                async with self._disk:
                    await run_in_threadpool(form.write, piece)
            async with self._disk:
                return await run_in_threadpool(form.uploads)
        except BaseException:
            form.abandon()
            raise


def _answer(error: Exception) -> HTTPException:
    match error:
        case HTTPException():
            return error
        case ClientDisconnect():
            return HTTPException(400, "The connection ended before the files did")
        case OSError():
            _log.error("an upload was not kept: %s", trouble_text(error))
            return HTTPException(507, NO_SPACE)
        case _:
            return HTTPException(400, "This is no multipart body")


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
