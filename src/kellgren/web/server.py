"""The server process: its socket, time limits of connections, its log."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kellgren.web.app import Application
from kellgren.web.settings import Settings
from kellgren.web.workers.confinement import hide_memory

HEADER_SECONDS, ANSWER_SECONDS = 15.0, 60.0
_KEEP_ALIVE_S, _SHUTDOWN_S, _CONNECTIONS, _BACKLOG = 20, 10, 8192, 2048


class CannotServe(Exception):
    """The server cannot start; the text says why."""


class TimedProtocol(H11Protocol):
    """HTTP whose clients must finish each request's header, and receive its answer, in time."""

    _header_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first header."""
        super().connection_made(transport)
        self._watch_header()

    def data_received(self, data: bytes) -> None:
        """Start the timer of a later header at its first byte."""
        super().data_received(data)
        self._watch_header()

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
        self._stop_header_timer()
        self._stop_answer_timer()
        super().connection_lost(exc)

    @property
    def _awaits_header(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch_header(self) -> None:
        if not self._awaits_header:
            self._stop_header_timer()
        elif self._header_timer is None and not self.transport.is_closing():
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


def run(
    settings: Settings,
    host: str,
    port: int,
    hosts: Callable[[int], frozenset[str]],
    report: Callable[[str], None],
) -> None:
    """Listen until interrupted; what is written from now on is its owner's only.

    Args:
        settings: all but the hosts.
        host: address to listen on.
        port: likewise; 0 for any.
        hosts: Host headers to answer, for the port that was found.
        report: shows one line to whoever started the server.

    Raises:
        CannotServe: the address cannot be used.
        BundleError: the model is missing or damaged.
        StoreInUse: another server has the store.
        DamagedBase: the store's database is damaged.
    """
    _raise_file_limit()
    _log_to_stderr()
    mask = os.umask(0o077)
    try:
        _serve(settings, host, port, hosts, report)
    except KeyboardInterrupt:
        report("the reading room is closed; cases that wait are read after the next start")
    finally:
        os.umask(mask)


def _serve(
    settings: Settings,
    host: str,
    port: int,
    hosts: Callable[[int], frozenset[str]],
    report: Callable[[str], None],
) -> None:
    with _bound_socket(host, port) as listener:
        bound = listener.getsockname()[1]
        application = Application(dataclasses.replace(settings, hosts=hosts(bound)))
        hide_memory()  # from the graders: the token is in it, and in the environment
        name = f"[{host}]" if ":" in host else host
        where = f"http://{name}:{bound}{settings.root_path}"
        report(f"The reading room is open at {where} (Ctrl-C closes it)")
        report(f"films and answers are kept in {settings.store}")
        uvicorn.Server(_config(application)).run(sockets=[listener])


def _config(application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        application.asgi(),
        http=TimedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=32 * 1024,
    )


def _bound_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # clients may connect as soon as the address is reported
    except OSError as error:
        listener.close()
        raise CannotServe(f"cannot listen on {host}, port {port}: {error.strerror}") from None
    return listener


def _raise_file_limit() -> None:
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
