"""The server process: its socket, its limits, its log."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import uvicorn

from kellgren.web.app import Application
from kellgren.web.http_connection import MOST_CONNECTIONS, READ_BYTES, BoundedConnection
from kellgren.web.settings import Settings
from kellgren.web.workers.confinement import hide_memory

_KEEP_ALIVE_S, _SHUTDOWN_S, _BACKLOG = 20, 10, 2048
_OTHER_FILES = 256
_LINES_A_MINUTE = 60


class CannotServe(Exception):
    """The server cannot start; the text says why."""


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
    _raise_file_limit(settings.limits.uploads)
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
        RoomServer(application).run(sockets=[listener])


class RoomServer(uvicorn.Server):
    """Serves an application; at the end requests that only wait for graders are answered first.

    Args:
        application: to be served.
    """

    def __init__(self, application: Application) -> None:
        super().__init__(_config(application))
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and give those that are being answered some time."""
        self._application.notifier.end()
        await super().shutdown(sockets)


def _config(application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        application.asgi(),
        http=cast(Any, partial(BoundedConnection, idle={}, arriving=bytearray(READ_BYTES))),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
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
        raise CannotServe(
            f"cannot listen on {host}, port {port}: {error.strerror}; name another --port or "
            "--host, or end the program that has it"
        ) from None
    return listener


def _raise_file_limit(uploads: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A backlog comes before any of it ends.
    wanted = MOST_CONNECTIONS + _BACKLOG + uploads + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log_to_stderr() -> None:
    """Warnings and errors only: no line for each request, so no name or address is ever logged."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    few = FewWarnings()
    for name in ("uvicorn.error", "python_multipart.multipart"):
        logging.getLogger(name).addFilter(few)


class FewWarnings(logging.Filter):
    """Lets some warnings a minute through, and all errors: clients write as many as they like.

    Args:
        now: seconds that only grow.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._minute, self._written = -1, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.levelno > logging.WARNING:
            return True
        minute = int(self._now() // 60)
        if minute != self._minute:
            self._minute, self._written = minute, 0
        self._written += 1
        if self._written == _LINES_A_MINUTE:
            record.msg, record.args = f"{record.getMessage()} (no more of these this minute)", ()
        return self._written <= _LINES_A_MINUTE
