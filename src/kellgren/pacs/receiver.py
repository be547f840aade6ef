"""The storage SCP: accepts what those who may call send, and stores the films.

Success is returned when a film is on the disk, and not before. What is no film (reports, slices,
our own answers coming back) is acknowledged and dropped, so that a router that sends whole studies
does not stall; no storage commitment is offered, for this is no archive.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from pydicom import uid
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from kellgren.errors import KellgrenError
from kellgren.pacs.acceptor import Server
from kellgren.pacs.callers import Access, Limits
from kellgren.pacs.objects import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    Arrivals,
    IncomingObject,
)
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
SUCCESS = 0x0000
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
        ae_title: of this station.
        on_film: called when there is a new film.
        report: called with a line on each object and each refusal, without anything of the patient.
        access: who may call; everybody by default, whatever title they call this station by.
        limits: on what callers may take.
        tls: of this side; ``None``: without.

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
        access: Access = Access(),  # noqa: B008 (frozen)
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._spool, self._on_film, self._report, self._limits = spool, on_film, report, limits
        try:
            self._server = Server(
                _station(ae_title, limits),
                address,
                arrivals=Arrivals(spool, limits, FILMS.__contains__),
                access=access,
                tls=tls,
                handlers=[(evt.EVT_C_STORE, self._store)],
                report=report,
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
        request: Any = event.request
        if request.AffectedSOPClassUID not in FILMS:
            self._report("ignored: no film")
            return SUCCESS
        incoming = request.DataSet
        try:
            if not isinstance(incoming, IncomingObject):
                raise TypeError("no object")
            return self._keep(str(request.AffectedSOPInstanceUID), incoming)
        except OSError as error:
            self._report(f"refused: the spool cannot be written ({type(error).__name__})")
            return OUT_OF_RESOURCES
        except Exception as error:  # pynetdicom raises anything on malformed messages
            self._report(f"refused: not understood ({type(error).__name__})")
            return CANNOT_UNDERSTAND

    def _keep(self, identifier: str, incoming: IncomingObject) -> int:
        key = self._spool.key(identifier, incoming.content)
        if not incoming.refusal and len(self._spool.waiting()) >= self._limits.waiting:
            incoming.refuse("the spool is full")
        if incoming.refusal:
            self._report(f"refused {key[:8]}: {incoming.refusal}")
            return incoming.status
        was_known = self._spool.knows_identity(key)
        is_new = self._spool.receive(key, incoming.take())
        another = ", with other content than before: it gets an answer of its own"
        self._report(f"received {key[:8]}" + (" again" * (not is_new) or another * was_known))
        self._on_film()
        return SUCCESS


def _station(ae_title: str, limits: Limits) -> AE:
    station = AE(ae_title)
    station.maximum_pdu_size = 2**16
    station.maximum_associations = limits.associations + limits.openings  # counted by the server
    station.acse_timeout = limits.opening_s
    station.network_timeout = station.dimse_timeout = limits.idle_s
    station.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        station.add_supported_context(str(context.abstract_syntax), TRANSFER_SYNTAXES)
    return station
