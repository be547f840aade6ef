"""One connection to a station, from its acceptance to its end, and the deadlines that it has."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association

from kellgren.pacs.callers import Limits
from kellgren.pacs.objects import StreamedMessages

MAX_PDU_BYTES = 2**20
"""Longest protocol data unit; ours are asked to be of 64 kB, association requests may be longer."""
_BLOCK_BYTES = 2**16


class Connection:
    """One connection, from its acceptance to its end.

    Args:
        wire: its socket.
        host: address that it comes from.

    Attributes:
        association: of pynetdicom; ``None`` while TLS is agreed on.
        is_open: whether an association was accepted on it.
    """

    def __init__(self, wire: socket.socket, host: str) -> None:
        self.wire, self.host = wire, host
        self.association: Association | None = None
        self.is_open = self._is_ended = False
        self._began = self._progress = time.monotonic()
        self._unit_began: float | None = None

    def moved(self, _: evt.Event) -> None:
        """Note that a message came or went."""
        self._progress = time.monotonic()

    def received_unit(self, _: evt.Event) -> None:
        """Note that a protocol data unit is whole."""
        self._unit_began = None
        arriving = self.messages.arriving if self.messages else None
        if arriving is None or arriving.size == 0:
            self._progress = time.monotonic()

    @property
    def messages(self) -> StreamedMessages | None:
        """What comes by its association."""
        return None if self.association is None else cast(StreamedMessages, self.association.dimse)

    @property
    def is_over(self) -> bool:
        """Whether no thread uses it any more."""
        used_by = self.association
        return used_by is not None and used_by.ident is not None and not used_by.is_alive()

    @property
    def counts(self) -> bool:
        """Whether it takes the place of another one."""
        return not (self._is_ended or self.is_over)

    def stalled_s(self, limits: Limits) -> float:
        """Seconds without progress: of an association, or of bytes at the least rate."""
        arriving = self.messages.arriving if self.messages else None
        seconds = time.monotonic() - self._progress
        return max(0.0, seconds - (arriving.size / limits.bytes_per_s if arriving else 0.0))

    def lateness(self, limits: Limits) -> str:
        """Which deadline it has missed; empty: none."""
        now = time.monotonic()
        if self._is_ended:
            return ""
        if not self.is_open and now - self._began > limits.opening_s:
            return f"no association within {limits.opening_s:g} s"
        if self._unit_began is not None and now - self._unit_began > limits.pdu_s:
            return f"a data unit took longer than {limits.pdu_s:g} s"
        if self.messages and self.messages.arriving and self.stalled_s(limits) > limits.object_s:
            return f"an object came with less than {limits.bytes_per_s} bytes/s"
        return ""

    def receive(self, size: int) -> bytearray:
        """Bytes of a protocol data unit, for pynetdicom; fewer at the connection's end.

        Raises:
            OSError: the connection broke, or wants to send more than any unit has.
        """
        if size > MAX_PDU_BYTES:
            raise OSError("a data unit longer than any accepted one")
        if self._unit_began is None:
            self._unit_began = time.monotonic()
        received = bytearray()
        while len(received) < size:
            block = self.wire.recv(min(size - len(received), _BLOCK_BYTES))
            if not block:
                break
            received += block
        return received

    def end(self) -> None:
        """Have its threads end; for any thread."""
        self._is_ended = True
        if self.association is not None and not self.is_open:
            # What pynetdicom's own thread gets when it has waited for a request long enough.
            self.association.dul.to_user_queue.put(cast(Any, None))
        with suppress(OSError):  # not through TLS, which its own thread may be in the middle of
            socket.socket.shutdown(self.wire, socket.SHUT_RDWR)

    def forget(self) -> None:
        """Leave neither a socket nor a file."""
        with suppress(OSError):
            self.wire.close()
        if self.messages is not None:
            self.messages.discard()
