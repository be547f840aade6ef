"""The connections of a station: how many, for how long, and which one makes room for another.

pynetdicom waits for a protocol data unit without a deadline once its first byte has come, shakes
hands in TLS in the one thread that accepts, and rejects callers only after their request. So every
connection is watched from its first byte by a thread of its own, which ends what is late.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from kellgren.pacs.callers import Access
from kellgren.pacs.connection import Connection
from kellgren.pacs.objects import Arrivals, StreamedMessages
from kellgren.pacs.tls import failure

_WATCH_S = 0.25
_LAST_S = 15.0
_POLL_S = 0.005
"""Between two looks of an idle association; pynetdicom's 1 ms costs a core for twenty of them."""


class Server(ThreadedAssociationServer):
    """Accepts connections within limits and watches each of them.

    Args:
        station: with its contexts and its title.
        address: host and port.
        arrivals: for the objects that come.
        access: who may call.
        tls: of this side; ``None``: without.
        handlers: of pynetdicom's events.
        report: called with a line on each refusal, without anything of the patient.

    Raises:
        OSError: it cannot listen there.
    """

    daemon_threads = True

    def __init__(
        self,
        station: AE,
        address: tuple[str, int],
        *,
        arrivals: Arrivals,
        access: Access,
        tls: ssl.SSLContext | None,
        handlers: list[Any],
        report: Callable[[str], None],
    ) -> None:
        self._arrivals, self._access, self._tls, self._report = arrivals, access, tls, report
        self._limits = arrivals.limits
        self._lock, self._connections = threading.Lock(), set[Connection]()
        self._closed = threading.Event()
        super().__init__(
            station,
            address,
            station.ae_title,
            station.supported_contexts,
            evt_handlers=[*handlers, (evt.EVT_REQUESTED, self._requested)],
            request_handler=_Handler,
        )
        station._servers.append(self)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        for thread in (threading.Thread(target=self._accept, daemon=True), self._watcher):
            thread.start()

    def shutdown(self) -> None:
        """Accept nothing more, and end all connections: who got no answer sends again."""
        super().shutdown()
        self._closed.set()
        self._watcher.join(_LAST_S)

    # In the thread that accepts.

    def _accept(self) -> None:
        self.serve_forever(_WATCH_S)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is taken at all."""
        host = str(client_address[0])
        if not self._access.admits_address(host):
            self._report(f"refused a connection from {host}: address not allowed")
            return False
        limits, made = self._limits, Connection(request, host)
        with self._lock:
            opening = [one for one in self._connections if one.counts and not one.is_open]
            most = (limits.openings, limits.openings_per_address)
            is_admitted = self._makes_room(opening, host, most, 0.0)
            if is_admitted:
                self._connections.add(made)
        if not is_admitted:
            self._report(f"refused a connection from {host}: too many at the same time")
        return is_admitted

    def _makes_room(
        self, present: Sequence[Connection], host: str, most: tuple[int, int], patience: float
    ) -> bool:
        """Whether one more of these connections may be; the one that stalls longest may end."""
        for within, limit in (
            (present, most[0]),
            ([one for one in present if one.host == host], most[1]),
        ):
            if len(within) < limit:
                continue
            worst = max(within, key=lambda one: one.stalled_s(self._limits))
            if worst.stalled_s(self._limits) <= patience:
                return False
            self._report(f"ended a connection from {worst.host}: it stalls, and others wait")
            worst.end()
        return True

    # In a thread of each connection.

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Agree on TLS, if there is to be any, and begin an association."""
        connection = self.connection(request)
        try:
            if self._tls is not None:
                connection.wire = request = self._tls.wrap_socket(
                    request, server_side=True, do_handshake_on_connect=False
                )
                request.do_handshake()
            super().finish_request(request, client_address)
        except Exception as error:  # no caller may end more than its own connection
            self._report(f"refused a connection from {connection.host}: no TLS: {failure(error)}")
            self._forget(connection)

    def connection(self, wire: socket.socket) -> Connection:
        """The connection of a socket."""
        with self._lock:
            return next(one for one in self._connections if one.wire is wire)

    def begin(self, wire: socket.socket, association: Association) -> None:
        """Have an association use a connection."""
        connection = self.connection(wire)
        association.dimse = StreamedMessages(association, self._arrivals)
        association.dul._run_loop_delay = _POLL_S
        association.dul.socket.recv = connection.receive  # type: ignore[union-attr,method-assign]
        association.bind(evt.EVT_PDU_RECV, connection.received_unit)
        for event in (evt.EVT_DIMSE_RECV, evt.EVT_DIMSE_SENT):
            association.bind(event, connection.moved)
        for thread in (association, association.dul):
            thread.run = partial(self._run, connection, thread.run)  # type: ignore[method-assign]
        connection.association = association
        if not connection.counts:  # it was ended before it had this to end
            connection.end()
        association.start()

    def _run(self, connection: Connection, run: Callable[[], None]) -> None:
        """Run a thread of pynetdicom, which raises anything on malformed requests and commands."""
        try:
            run()
        except Exception as error:
            problem = f"not understood ({type(error).__name__})"
            self._report(f"ended a connection from {connection.host}: {problem}")
            connection.end()

    def _requested(self, event: evt.Event) -> None:
        """Reject whoever may not call, or comes when there are too many."""
        association = event.assoc
        request: Any = association.requestor.primitive
        calling, called = request.calling_ae_title.strip(), request.called_ae_title.strip()
        with self._lock:
            mine = next(one for one in self._connections if one.association is association)
        if self._access.calling and calling not in self._access.calling:
            self._reject(mine, 3, f"calling AE title {_shown(calling)} not allowed")
        elif self._access.called and called not in self._access.called:
            self._reject(mine, 7, f"called AE title {_shown(called)} not allowed")
        elif not self._opens(mine):
            self._reject(mine, 0, "too many at the same time")

    def _opens(self, mine: Connection) -> bool:
        limits = self._limits
        with self._lock:
            others = [one for one in self._connections if one.counts and one.is_open]
            most = (limits.associations, limits.associations_per_address)
            mine.is_open = self._makes_room(others, mine.host, most, limits.patience_s)
        return mine.is_open

    def _reject(self, mine: Connection, diagnostic: int, reason: str) -> None:
        """Reject for good, with a diagnostic of the service user, or for now."""
        self._report(f"refused an association from {mine.host}: {reason}")
        association = cast(Association, mine.association)
        if diagnostic:
            association.acse.send_reject(0x01, 0x01, diagnostic)
        else:
            association.acse.send_reject(0x02, 0x03, 0x02)
        association.kill()

    # In the thread that watches.

    def _watch(self) -> None:
        while not self._closed.wait(_WATCH_S):
            self._look()
        for connection in self._present():
            connection.end()
        while self._present():
            self._look()
            time.sleep(_POLL_S)

    def _present(self) -> list[Connection]:
        with self._lock:
            return list(self._connections)

    def _look(self) -> None:
        for connection in self._present():
            if connection.is_over:
                self._forget(connection)
            elif lateness := connection.lateness(self._limits):
                self._report(f"ended a connection from {connection.host}: {lateness}")
                connection.end()

    def _forget(self, connection: Connection) -> None:
        connection.forget()
        with self._lock:
            self._connections.discard(connection)


class _Handler(RequestHandler):
    def handle(self) -> None:
        """Begin an association on an accepted connection."""
        cast(Server, self.server).begin(self.request, self._create_association())


def _shown(title: str) -> str:
    """A title from outside, as far as it is one."""
    return title if title and title.isascii() and title.isprintable() else "that is none"
