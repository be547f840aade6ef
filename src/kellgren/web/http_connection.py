"""One client's connection: how long it may take, how small its chunks may be, how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kellgren.web.settings import RETRY_SECONDS

HEADER_SECONDS, ANSWER_SECONDS = 15.0, 60.0
MOST_CONNECTIONS = 2048
SMALL_CHUNKS, CHUNK_BYTES = 64, 128
"""Chunks that a body may come in: so many, and one for so many bytes of it."""
_HEADER_BYTES = 32 * 1024
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
) % RETRY_SECONDS


class _Parser(h11.Connection):
    """A parser of requests that bears few chunks of a byte: each takes as long as a large one."""

    _chunks = _bytes = 0

    def next_event(self) -> Any:
        """The next part of a request; too many small chunks are no HTTP."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > SMALL_CHUNKS + self._bytes // CHUNK_BYTES:
                raise h11.RemoteProtocolError("too many small chunks")
        return event


class BoundedConnection(H11Protocol):
    """HTTP whose clients must finish each request's header, and receive its answer, in time.

    What is no HTTP is answered once, and costs one line of the log, whatever came before it.

    Args:
        config: of uvicorn, as the rest.
        idle: the connections of one server that await a header, those first that do so longest.
    """

    _header_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None

    def __init__(
        self, config: uvicorn.Config, *, idle: dict[BoundedConnection, None], **options: Any
    ) -> None:
        super().__init__(config, **options)
        self._idle = idle
        self.conn = _Parser(h11.SERVER, _HEADER_BYTES)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first header; end a connection where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS and not self._found_room():
            transport.write(_BUSY)
            transport.close()
        else:
            self._watch_header()

    def data_received(self, data: bytes) -> None:
        """Start the timer of a later header at its first byte."""
        super().data_received(data)
        self._watch_header()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer has begun; its request hears no more of it."""
        if not self._awaits_header:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Start the timer of an answer that the client does not receive."""
        super().pause_writing()
        self._answer_timer = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer: the client receives again."""
        super().resume_writing()
        self._stop_answer_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._idle.pop(self, None)
        self._stop_header_timer()
        self._stop_answer_timer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Await the next header, if there is one."""
        super().on_response_complete()  # which begins the next request, if that has come already
        if self._awaits_header and not self.transport.is_closing():
            self._idle.setdefault(self)

    @property
    def _awaits_header(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _found_room(self) -> bool:
        """End who has been idle, or owed a header, for longest: such clients keep no one out."""
        longest = next(iter(self._idle), None)
        if longest is not None:
            del self._idle[longest]
            longest.transport.abort()
        return longest is not None

    def _should_upgrade(self) -> bool:
        return False  # without two lines of the log that advise to install something

    def _watch_header(self) -> None:
        if not self._awaits_header:
            self._idle.pop(self, None)
            self._stop_header_timer()
        elif self._header_timer is None and not self.transport.is_closing():
            self._idle.setdefault(self)
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self._time_out)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_answer_timer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    def _time_out(self) -> None:
        self._header_timer = None
        if self._awaits_header and not self.transport.is_closing():
            self.transport.close()
