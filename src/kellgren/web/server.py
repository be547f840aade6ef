"""One process that listens: sockets, time limits of connections, the log."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kellgren.web.app import Room
from kellgren.web.settings import Settings

HEADER_SECONDS, ANSWER_SECONDS = 15.0, 60.0
_KEEP_ALIVE_S, _LAST_REQUESTS_S, _CONNECTIONS, _BACKLOG = 20, 10, 8192, 2048


class Refused(Exception):
    """The server cannot start; the text says why."""


class PatientProtocol(H11Protocol):
    """HTTP whose clients must finish each request's header, and take its answer, in time."""

    _header_clock: asyncio.TimerHandle | None = None
    _answer_clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first header."""
        super().connection_made(transport)
        self._watch_header()

    def data_received(self, data: bytes) -> None:
        """Start the clock of a later header at its first byte."""
        super().data_received(data)
        self._watch_header()

    def pause_writing(self) -> None:
        """The client takes no more of its answer: it has some time to go on."""
        super().pause_writing()
        self._answer_clock = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It went on."""
        super().resume_writing()
        self._answer_clock = _stopped(self._answer_clock)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._header_clock = _stopped(self._header_clock)
        self._answer_clock = _stopped(self._answer_clock)
        super().connection_lost(exc)

    @property
    def _awaits_header(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch_header(self) -> None:
        if not self._awaits_header:
            self._header_clock = _stopped(self._header_clock)
        elif self._header_clock is None and not self.transport.is_closing():
            self._header_clock = self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        self._header_clock = None
        if self._awaits_header and not self.transport.is_closing():
            self.transport.close()


def _stopped(clock: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Stop a clock; what to remember of it, which is nothing."""
    if clock is not None:
        clock.cancel()
    return None


def run(
    settings: Settings,
    host: str,
    port: int,
    hosts: Callable[[int], frozenset[str]],
    tell: Callable[[str], None],
) -> None:
    """Listen until interrupted.

    Args:
        settings: all but the hosts.
        host: address to listen on.
        port: likewise; 0 for any.
        hosts: Host headers to answer, for the port that was found.
        tell: says one line to whoever started the server.

    Raises:
        Refused: the address cannot be used.
        BundleError: the model is missing or damaged.
    """
    _allow_many_connections()
    _log_to_stderr()
    with _listening(host, port) as listening:
        bound = listening.getsockname()[1]
        room = Room(dataclasses.replace(settings, hosts=hosts(bound)))
        name = f"[{host}]" if ":" in host else host
        tell(f"The reading room is open at http://{name}:{bound} (Ctrl-C closes it)")
        tell(f"films and answers are kept in {settings.store}")
        uvicorn.Server(_config(room)).run(sockets=[listening])


def _config(room: Room) -> uvicorn.Config:
    return uvicorn.Config(
        room.application(),
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_REQUESTS_S,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=32 * 1024,
    )


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)  # whoever reads the address may connect at once
    except OSError as error:
        listening.close()
        raise Refused(f"cannot listen on {host}, port {port}: {error.strerror}") from None
    return listening


def _allow_many_connections() -> None:
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted: Any = _CONNECTIONS + 256 if hard == resource.RLIM_INFINITY else hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, _CONNECTIONS + 256), hard))


def _log_to_stderr() -> None:
    """Warnings and errors only: no line for each request, so no name or address is ever logged."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
