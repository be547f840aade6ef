"""The storage SCP: takes whatever a picture network sends, and keeps the films.

Success is returned when a film is on the disk, and not before. What is no film (reports, slices,
our own answers coming back) is acknowledged and dropped, so that a router that sends whole studies
does not stall; no storage commitment is offered, for this is no archive.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from pydicom import uid
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from kellgren.errors import KellgrenError
from kellgren.listen.spool import Spool

FILMS = frozenset({uid.ComputedRadiographyImageStorage, uid.DigitalXRayImageStorageForPresentation})
"""What is graded. Secondary captures are not: our own would come back from an eager router."""
MOST_PDU_BYTES = 2**20
"""Longest protocol data unit; ours are asked to be of 64 kB, association requests may be longer."""
MOST_OBJECT_BYTES = 512 * 2**20
"""Most bytes of one message, the largest file that is opened at all."""
MOST_WAITING = 10_000
SPARE_DISK_BYTES = 512 * 2**20
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
TRANSFER_SYNTAXES = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
]
"""All that is read, and no more: senders that have others transcode, or know it was not taken."""


class CannotListen(KellgrenError):
    """An address that another program has, or that is not this machine's."""


class Receiver:
    """A listening storage SCP.

    Args:
        spool: where films go.
        address: host and port; port 0 takes a free one.
        ae_title: of this station; callers that ask for another are served too.
        arrived: called when there is a new film.
        tell: for one line about each object, without anything of the patient.

    Raises:
        CannotListen: the address is taken, or of no use.
    """

    def __init__(
        self,
        spool: Spool,
        address: tuple[str, int],
        *,
        ae_title: str,
        arrived: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._spool, self._arrived, self._tell = spool, arrived, tell
        station = AE(ae_title)
        station.maximum_pdu_size = 2**16
        station.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            station.add_supported_context(str(context.abstract_syntax), TRANSFER_SYNTAXES)
        try:
            self._server: Any = station.start_server(
                address,
                block=False,
                evt_handlers=[(evt.EVT_CONN_OPEN, _bound), (evt.EVT_C_STORE, self._store)],
            )
        except OSError as error:
            host, port = address
            raise CannotListen(
                f"{host}:{port}",
                f"cannot be listened at: {error.strerror or 'no such address'}",
                "Name another --port or --host, or end the program that has it",
            ) from None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Take nothing more."""
        self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        event.assoc.dul.socket.taken = 0  # type: ignore[union-attr]
        if event.request.AffectedSOPClassUID not in FILMS:
            self._tell("ignored: no film")
            return SUCCESS
        try:
            key = self._spool.key(str(event.request.AffectedSOPInstanceUID))  # type: ignore[union-attr]
            film = event.encoded_dataset()
            if not self._has_room(len(film)):
                self._tell(f"refused {key[:8]}: the spool is full")
                return OUT_OF_RESOURCES
            is_new = self._spool.receive(key, film)
        except OSError as error:
            self._tell(f"refused: the spool cannot be written ({type(error).__name__})")
            return OUT_OF_RESOURCES
        except Exception as error:  # whatever the wire's bytes make of pynetdicom
            self._tell(f"refused: not understood ({type(error).__name__})")
            return CANNOT_UNDERSTAND
        self._tell(f"received {key[:8]}" + ("" if is_new else " again"))
        self._arrived()
        return SUCCESS

    def _has_room(self, size: int) -> bool:
        free = shutil.disk_usage(self._spool.folder).free
        return free > size + SPARE_DISK_BYTES and len(self._spool.waiting()) < MOST_WAITING


def _bound(event: evt.Event) -> None:
    """End a connection that sends longer units or objects than anyone needs.

    pynetdicom gathers a message in memory until it is whole, however long it is.
    """
    socket: Any = event.assoc.dul.socket
    receive = socket.recv
    socket.taken = 0

    def bounded(size: int) -> bytearray:
        socket.taken += size
        if size > MOST_PDU_BYTES or socket.taken > MOST_OBJECT_BYTES:
            raise OSError("longer than anything that is taken here")
        received: bytearray = receive(size)
        return received

    socket.recv = bounded
