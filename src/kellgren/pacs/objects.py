"""Objects on their way in: on the disk from their first byte, bounded each and together.

pynetdicom collects a message in a `BytesIO` until it is whole, however long it is. Here that is an
`IncomingObject`, which keeps nothing in memory.
"""

from __future__ import annotations

import hashlib
import io
import queue
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import DimsePrimitiveType
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.pdu_primitives import P_DATA

from kellgren.pacs.callers import Limits
from kellgren.pacs.spool import Spool

OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0xA700, 0xC000
_COMMAND_BYTES = 2**16
_MESSAGES_AHEAD = 8
"""Messages that may wait for their answer; a caller that keeps to the standard sends one."""
_DRAINED_OBJECTS = 4
"""So many times its limit an object's bytes are taken, so that its sender sees a status."""
_DISK_CHECK_BYTES = 16 * 2**20


class Arrivals:
    """Counts the bytes of all objects that have not arrived whole, or were not taken yet.

    Args:
        spool: where they are written.
        limits: of each and of all.
        is_wanted: whether objects of a SOP class are kept; the others' bytes are dropped.
    """

    def __init__(self, spool: Spool, limits: Limits, is_wanted: Callable[[str], bool]) -> None:
        self.spool, self.limits, self.is_wanted = spool, limits, is_wanted
        self._lock, self._held = threading.Lock(), 0

    def reserve(self, size: int) -> bool:
        """Count so many more bytes, if the limit of all allows it."""
        with self._lock:
            if self._held + size > self.limits.unfinished_bytes:
                return False
            self._held += size
            return True

    def give_back(self, size: int) -> None:
        """Count so many less."""
        with self._lock:
            self._held -= size

    def has_space(self) -> bool:
        """Whether the disk has more space than must be left."""
        return shutil.disk_usage(self.spool.folder).free > self.limits.free_bytes


class IncomingObject(io.BytesIO):
    """The data set of one message, written to the spool; as a `BytesIO` it is always empty.

    Args:
        arrivals: that counts it.
        message: that it belongs to; its command is complete before the first byte comes.
        association: that it comes by.

    Attributes:
        size: bytes that came, kept or not.
        refusal: why it is not kept, for the log; empty: it is, or was not wanted.
        status: that goes with it.
    """

    def __init__(self, arrivals: Arrivals, message: DIMSEMessage, association: Association) -> None:
        super().__init__()
        self._arrivals, self._message, self._association = arrivals, message, association
        self._part: Path | None = None
        self._stream: IO[bytes] | None = None
        self._hash, self._reserved, self._checked, self._has_begun = hashlib.sha256(), 0, 0, False
        self._closing = threading.Lock()
        self.size, self.refusal, self.status = 0, "", 0

    @property
    def content(self) -> str:
        """SHA-256 of transfer syntax and data set as they were sent, hexadecimal."""
        return self._hash.hexdigest()

    def write(self, block: Any, /) -> int:
        """Take the next bytes; never raises: what cannot be kept is refused when all has come."""
        if not self._has_begun:
            self._has_begun = True
            self._begin()
        self.size += len(block)
        limits = self._arrivals.limits
        if self.size > _DRAINED_OBJECTS * limits.object_bytes:
            _end(self._association)
        elif self._stream is not None:
            try:
                self._keep(block)
            except (OSError, ValueError) as error:  # the latter: closed with its connection
                self.refuse(f"the spool cannot be written ({type(error).__name__})")
        return len(block)

    def _keep(self, block: bytes) -> None:
        if self.size > self._arrivals.limits.object_bytes:
            self.refuse(f"longer than {self._arrivals.limits.object_bytes} bytes")
        elif not self._arrivals.reserve(len(block)):
            self.refuse("too many unfinished objects at the same time")
        else:
            self._reserved += len(block)
            self._hash.update(block)
            self._stream.write(block)  # type: ignore[union-attr]
            self._check_space()

    def _check_space(self) -> None:
        if self.size >= self._checked:
            self._checked = self.size + _DISK_CHECK_BYTES
            if not self._arrivals.has_space():
                self.refuse("the spool is full")

    def _begin(self) -> None:
        """Write what comes before the data set in a file, if the object is wanted."""
        command, context = self._message.command_set, self._message.context_id
        try:
            if not self._arrivals.is_wanted(str(command.AffectedSOPClassUID)):
                return
            accepted = self._association._accepted_cx[context]  # type: ignore[index]
            meta = create_file_meta(
                sop_class_uid=command.AffectedSOPClassUID,
                sop_instance_uid=command.AffectedSOPInstanceUID,
                transfer_syntax=accepted.transfer_syntax[0],
            )
            start = b"".join((bytes(128), b"DICM", encode_file_meta(meta)))
            self._hash.update(str(accepted.transfer_syntax[0]).encode())
        except Exception as error:  # pydicom raises anything on malformed commands
            self.refuse(f"not understood ({type(error).__name__})", CANNOT_UNDERSTAND)
            return
        try:
            self._part = self._arrivals.spool.new_part()
            self._stream = self._part.open("xb")
            self._stream.write(start)
        except OSError as error:
            self.refuse(f"the spool cannot be written ({type(error).__name__})")

    def refuse(self, reason: str, status: int = OUT_OF_RESOURCES) -> None:
        """Keep nothing of it, and have its sender told so."""
        self.refusal, self.status = reason, status
        self.discard()

    def take(self) -> Path:
        """The file that holds all of it, which is the caller's from now on.

        Raises:
            OSError: the disk is full, or broken.
            ValueError: there is none.
        """
        if self._stream is None or self._part is None:
            raise ValueError("an object without a data set")
        self._stream.close()
        part, self._part = self._part, None
        self.discard()
        return part

    def discard(self) -> None:
        """Leave nothing of it on the disk; may be called at any time, by any thread."""
        with self._closing:
            stream, self._stream = self._stream, None
            part, self._part = self._part, None
            reserved, self._reserved = self._reserved, 0
        if stream is not None:
            with suppress(OSError):
                stream.close()
        if part is not None:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        self._arrivals.give_back(reserved)


class _Command(io.BytesIO):
    """The command of one message, which no caller needs to be long."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association

    def write(self, block: Any, /) -> int:
        if self.tell() + len(block) > _COMMAND_BYTES:
            _end(self._association)
            return len(block)
        return super().write(block)


class StreamedMessages(DIMSEServiceProvider):
    """The messages of one association, whose data sets go to the disk.

    Args:
        association: that it serves.
        arrivals: that counts the bytes.

    Attributes:
        incoming: objects of the association that came, or come; the last ones.
    """

    def __init__(self, association: Association, arrivals: Arrivals) -> None:
        super().__init__(association)
        self._arrivals = arrivals
        self._is_ended = False
        self.incoming: list[IncomingObject] = []

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the next unit of data."""
        if self._is_ended:
            return
        if self.msg_queue.qsize() > _MESSAGES_AHEAD:
            self.end()
            return
        if self.message is None:
            self.message = DIMSEMessage()
            self.message.encoded_command_set = _Command(self.assoc)
            arriving = IncomingObject(self._arrivals, self.message, self.assoc)
            self.message.data_set = arriving
            self.incoming = [*self.incoming[-2 * _MESSAGES_AHEAD :], arriving]
        super().receive_primitive(primitive)

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Answer, unless the association was ended: pynetdicom's thread would die of it."""
        if not self._is_ended:
            super().send_msg(primitive, context_id)

    def end(self) -> None:
        """Abort, as pynetdicom does on a message that it cannot read; for its own thread."""
        self._is_ended = True
        with suppress(queue.Empty):
            while True:
                self.dul.to_provider_queue.get_nowait()
        self.dul.event_queue.put("Evt19")

    @property
    def arriving(self) -> IncomingObject | None:
        """The object whose message has come in part."""
        return self.incoming[-1] if self.message is not None and self.incoming else None

    def discard(self) -> None:
        """Leave nothing on the disk of objects that were not taken."""
        for incoming in self.incoming:
            incoming.discard()


def _end(association: Association) -> None:
    cast(StreamedMessages, association.dimse).end()
