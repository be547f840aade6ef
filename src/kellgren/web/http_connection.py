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
ARRIVING_BYTES, READ_BYTES = 16 * 2**20, 256 * 1024
"""Taken in at a time: from all connections together, and from one."""
_HEADERS, _HEADER_BYTES = 100, 32 * 1024
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
) % RETRY_SECONDS


class _Parser(h11.Connection):
    """A parser of requests that bears few headers and few chunks of a byte: each takes its time."""

    _chunks = _bytes = 0

    def next_event(self) -> Any:
        """The next part of a request; too many headers or small chunks are no HTTP."""
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            # What h11 raises refers to itself through its traceback, and so would keep all that
            # came until the garbage is collected.
            raise error.with_traceback(None) from None
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
            if len(event.headers) > _HEADERS or size > _HEADER_BYTES:
                raise h11.RemoteProtocolError("too many headers")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > SMALL_CHUNKS + self._bytes // CHUNK_BYTES:
                raise h11.RemoteProtocolError("too many small chunks")
        return event

    def forget(self) -> None:
        """Drop what came and was not parsed, for which h11 has no public method."""
        self._receive_buffer = type(self._receive_buffer)()


class BoundedConnection(H11Protocol, asyncio.BufferedProtocol):
    """HTTP whose clients must finish each request's header, and receive its answer, in time.

    What is no HTTP is answered once, and costs one line of the log, whatever came before it. The
    more connections there are, the less is taken from each before its request has used it.

    Args:
        config: of uvicorn, as the rest.
        idle: the connections of one server that await a header, those first that do so longest.
        arriving: memory of one server for what is read, `READ_BYTES`.
    """

    _header_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        idle: dict[BoundedConnection, None],
        arriving: bytearray,
        **options: Any,
    ) -> None:
        super().__init__(config, **options)
        self._idle, self._arriving = idle, memoryview(arriving)
        self._parser = self.conn = _Parser(h11.SERVER, _HEADER_BYTES)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first header; end a connection where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS and not self._found_room():
            transport.write(_BUSY)
            transport.close()
        else:
            self._watch_header()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Memory for the next bytes, which are taken out before any other connection has some."""
        return self._arriving[: ARRIVING_BYTES // len(self.connections)]

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that came."""
        self.data_received(bytes(self._arriving[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Take no more until the request has used it; start the timer of a later header."""
        super().data_received(data)
        if not self._awaits_header and self.cycle.body:
            self.flow.pause_reading()
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
        """Stop the timers; what still refers to the connection keeps nothing that came."""
        self._idle.pop(self, None)
        self._stop_header_timer()
        self._stop_answer_timer()
        super().connection_lost(exc)
        self._parser.forget()
        if self.cycle is not None:
            self.cycle.body.clear()

    def on_response_complete(self) -> None:
        """Await the next header, if there is one; nobody asks for the rest of the body."""
        self.cycle.body.clear()
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
