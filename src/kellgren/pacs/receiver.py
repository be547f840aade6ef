"""The storage SCP: accepts whatever a network sends, and stores the films.

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
from kellgren.pacs.spool import Spool

FILMS = frozenset(
    {
        uid.ComputedRadiographyImageStorage,
        uid.DigitalXRayImageStorageForPresentation,
        uid.DigitalXRayImageStorageForProcessing,
    }
)
"""What is graded, raw data for processing with a warning.

Secondary captures are not: our own would come back from an eager router.
"""
MAX_PDU_BYTES = 2**20
"""Longest protocol data unit; ours are asked to be of 64 kB, association requests may be longer."""
MAX_OBJECT_BYTES = 512 * 2**20
"""Most bytes of one message, the largest file that is opened at all."""
MAX_WAITING = 10_000
MIN_FREE_BYTES = 512 * 2**20
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
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
]
"""All that can be read, and no more: senders of others transcode, or see a refusal."""


class CannotListen(KellgrenError):
    """An address in use by another program, or not of this machine."""


class Receiver:
    """A listening storage SCP.

    Args:
        spool: where films go.
        address: host and port; port 0 takes a free one.
        ae_title: of this station; callers that ask for another are served too.
        on_film: called when there is a new film.
        report: called with a line on each object, without anything of the patient.

    Raises:
        CannotListen: the address is taken, or of no use.
    """

    def __init__(
        self,
        spool: Spool,
        address: tuple[str, int],
        *,
        ae_title: str,
        on_film: Callable[[], None],
        report: Callable[[str], None],
    ) -> None:
        self._spool, self._on_film, self._report = spool, on_film, report
        station = AE(ae_title)
        station.maximum_pdu_size = 2**16
        station.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            station.add_supported_context(str(context.abstract_syntax), TRANSFER_SYNTAXES)
        try:
            self._server: Any = station.start_server(
                address,
                block=False,
                evt_handlers=[(evt.EVT_CONN_OPEN, _limit_sizes), (evt.EVT_C_STORE, self._store)],
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
        """Accept nothing more."""
        self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        event.assoc.dul.socket.received_bytes = 0  # type: ignore[union-attr]
        if event.request.AffectedSOPClassUID not in FILMS:
            self._report("ignored: no film")
            return SUCCESS
        try:
            key = self._spool.key(str(event.request.AffectedSOPInstanceUID))  # type: ignore[union-attr]
            film = event.encoded_dataset()
            if not self._has_room(len(film)):
                self._report(f"refused {key[:8]}: the spool is full")
                return OUT_OF_RESOURCES
            is_new = self._spool.receive(key, film)
        except OSError as error:
            self._report(f"refused: the spool cannot be written ({type(error).__name__})")
            return OUT_OF_RESOURCES
        except Exception as error:  # pynetdicom raises anything on malformed messages
            self._report(f"refused: not understood ({type(error).__name__})")
            return CANNOT_UNDERSTAND
        self._report(f"received {key[:8]}" + ("" if is_new else " again"))
        self._on_film()
        return SUCCESS

    def _has_room(self, size: int) -> bool:
        free = shutil.disk_usage(self._spool.folder).free
        return free > size + MIN_FREE_BYTES and len(self._spool.waiting()) < MAX_WAITING


def _limit_sizes(event: evt.Event) -> None:
    """End a connection that sends longer units or objects than any film needs.

    pynetdicom collects a message in memory until it is complete, however long it is.
    """
    socket: Any = event.assoc.dul.socket
    receive = socket.recv
    socket.received_bytes = 0

    def limited_recv(size: int) -> bytearray:
        socket.received_bytes += size
        if size > MAX_PDU_BYTES or socket.received_bytes > MAX_OBJECT_BYTES:
            raise OSError("longer than any accepted object")
        received: bytearray = receive(size)
        return received

    socket.recv = limited_recv
