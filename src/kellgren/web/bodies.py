"""Bodies of requests: bounded in size and time before anything reads them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from kellgren.web.settings import RETRY_SECONDS, Limits

SMALL_BYTES = 64 * 1024
"""Of any body but an upload."""
ROOM_BYTES = 16 * 2**20
"""Of all such bodies at the same time, as long as their requests are answered."""
_DISCARDED_BYTES, _DISCARD_S = 2**20, 2.0


class RefusedBody(Exception):
    """A body that is too large or too slow, or one too many.

    Args:
        status: of the answer.
        detail: its text.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        later = {"Retry-After": str(RETRY_SECONDS)} if self.status == 503 else {}
        return {"Connection": "close"} | later


class BodyRoom:
    """Memory for small bodies, which all requests share."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Keep room for a body until its request is answered.

        Raises:
            RefusedBody: 503.
        """
        if size and self._held + size > ROOM_BYTES:
            raise RefusedBody(
                503, f"Too many requests with a body at a time; try again in {RETRY_SECONDS} s"
            )
        self._held += size
        try:
            yield
        finally:
            self._held -= size


def most_bytes(headers: Headers) -> int:
    """Bytes that the small body of a request takes at most; 0: it has none.

    Raises:
        RefusedBody: 400.
    """
    if "transfer-encoding" in headers:
        return SMALL_BYTES
    claimed = headers.get("content-length", "0")
    if not (claimed.isascii() and claimed.isdecimal()):
        raise RefusedBody(400, "Content-Length is no number")
    return int(claimed)


async def whole_body(receive: Receive, size: int, limits: Limits) -> Receive:
    """Take in a small body, and hand it on as if it came only now.

    Args:
        receive: of the request.
        size: its `most_bytes`.
        limits: see `Limits`.

    Raises:
        RefusedBody: 400, 408 or 413.
    """
    deadline = time.monotonic() + limits.body_seconds
    content = bytearray()
    if size > SMALL_BYTES:
        await _discard(receive)
        raise _too_large()
    while True:
        message = await _timed(receive, min(deadline - time.monotonic(), limits.idle_seconds))
        if message["type"] != "http.request":
            raise RefusedBody(400, "The connection ended before the body did")
        content += message.get("body", b"")
        if len(content) > SMALL_BYTES:
            content.clear()
            await _discard(receive)
            raise _too_large()
        if not message.get("more_body", False):
            whole: Message = {"type": "http.request", "body": bytes(content), "more_body": False}
            return _replay(whole, receive)


def _too_large() -> RefusedBody:
    return RefusedBody(413, f"A body may have {SMALL_BYTES // 1024} kB, unless it is a film")


async def _timed(receive: Receive, seconds: float) -> Message:
    try:
        async with asyncio.timeout(max(seconds, 0.001)):
            return await receive()
    except TimeoutError:
        raise RefusedBody(408, "The body did not come in time") from None


async def _discard(receive: Receive) -> None:
    """Take a little more: a client that is cut off while it sends never sees the answer."""
    received = 0
    try:
        async with asyncio.timeout(_DISCARD_S):
            while received < _DISCARDED_BYTES:
                message = await receive()
                received += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _replay(first: Message, receive: Receive) -> Receive:
    waiting = [first]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed
