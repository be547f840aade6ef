"""The storage SCU: sends results, object by object, and records which arrived."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydicom import dcmread, uid
from pynetdicom import AE
from pynetdicom.association import Association

from kellgren.errors import KellgrenError
from kellgren.pacs.tls import failure

_RESULT_CLASSES = (
    uid.Comprehensive3DSRStorage,
    uid.SecondaryCaptureImageStorage,
    uid.SegmentationStorage,
    uid.GrayscaleSoftcopyPresentationStateStorage,
)
_SYNTAXES = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]
_SUCCESS, _NOT_SUPPORTED, _NO_ANSWER, _WARNING = 0x0000, 0x0122, 0xFFFF, 0xB
_TITLE = re.compile(r"(?! *$)[ -\[\]-~]{1,16}")
_PEER = re.compile(r"(?P<host>[^\s/]+):(?P<port>\d{1,5})/(?P<title>.+)")


class InvalidPeer(KellgrenError):
    """A destination that is not written as HOST:PORT/AET."""


class DeliveryFailed(Exception):
    """The peer did not accept an object; those it accepted are recorded."""


class PeerUnreachable(DeliveryFailed):
    """The peer accepts no association at this time."""


def is_title(text: str) -> bool:
    """Whether this may name an application entity: 1 to 16 of ASCII's letters, no backslash."""
    return _TITLE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Peer:
    """Where answers go.

    Attributes:
        host: name or address.
        port: number.
        title: of the application entity.
        tls: of this side; ``None``: without.
        name: that the peer's certificate has to hold; empty: that of the host.
    """

    host: str
    port: int
    title: str
    tls: ssl.SSLContext | None = None
    name: str = ""

    @property
    def certified_name(self) -> str:
        """What the peer's certificate has to name."""
        return self.name or self.host

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.title}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST:PORT/AET``.

        Raises:
            InvalidPeer: it is written differently.
        """
        match = _PEER.fullmatch(text)
        if match is None or not is_title(match["title"]) or not 0 < int(match["port"]) < 2**16:
            raise InvalidPeer(text, "is no HOST:PORT/AET", "Write 127.0.0.1:4242/ORTHANC, say")
        return cls(match["host"].strip("[]"), int(match["port"]), match["title"])


def deliver(folder: Path, peer: Peer, ae_title: str, report: Callable[[str], None]) -> int:
    """Send an answer's objects that were not sent before, and mark each as soon as it arrived.

    A crash between the peer's success and the mark sends one object again: the same bytes under
    the same identifier, which an archive recognises.

    Args:
        folder: of the answer; ``NN.dcm`` is to be sent, ``NN.sent`` was.
        peer: to send them to.
        ae_title: of this station.
        report: called with a line on an object that the peer never accepts.

    Returns:
        How many objects the peer has of this answer.

    Raises:
        PeerUnreachable: try all answers again later.
        DeliveryFailed: try this one again later.
    """
    waiting = sorted(folder.glob("*.dcm"))
    if waiting:
        _send(waiting, peer, ae_title, report)
    return len([*folder.glob("*.sent")])


def _send(waiting: list[Path], peer: Peer, ae_title: str, report: Callable[[str], None]) -> None:
    station = AE(ae_title)
    station.acse_timeout = station.dimse_timeout = station.network_timeout = 60
    station.connection_timeout = 10
    for sop_class in _RESULT_CLASSES:
        station.add_requested_context(sop_class, _SYNTAXES)
    association = station.associate(
        peer.host,
        peer.port,
        ae_title=peer.title,
        tls_args=None if peer.tls is None else (peer.tls, peer.certified_name),
    )
    if not association.is_established:
        raise PeerUnreachable(_association_failure(association, peer))
    try:
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        for path in waiting:
            dataset = dcmread(path)
            status = _NOT_SUPPORTED
            if dataset.SOPClassUID in accepted:
                status = association.send_c_store(dataset).get("Status", _NO_ANSWER)
            if status == _NOT_SUPPORTED:
                report(f"the peer takes no {dataset.SOPClassUID.name}: left out")
                path.rename(path.with_suffix(".declined"))
            elif status == _SUCCESS or status >> 12 == _WARNING:
                path.rename(path.with_suffix(".sent"))
            elif status == _NO_ANSWER:
                raise PeerUnreachable("it does not answer")
            else:
                raise DeliveryFailed(f"it answers {status:04X} to {dataset.SOPClassUID.name}")
    except RuntimeError:  # the association ended
        raise PeerUnreachable("it ended the association") from None
    except ValueError as error:  # its terms do not fit
        raise DeliveryFailed(type(error).__name__) from None
    finally:
        association.release()


def _association_failure(association: Association, peer: Peer) -> str:
    """The reason, in terms of the standard or the system, which quote no patient."""
    if association.is_rejected and association.acceptor.primitive is not None:
        return f"it rejects us: {association.acceptor.primitive.reason_str}"
    try:
        with socket.create_connection((peer.host, peer.port), timeout=10) as wire:
            if peer.tls is None:
                return "it does not answer in DICOM"
            peer.tls.wrap_socket(wire, server_hostname=peer.certified_name).close()
    except ssl.SSLError as error:
        return f"no TLS: {failure(error)}"
    except OSError as error:
        return f"no connection: {error.strerror or error}"
    return "it does not answer in DICOM over TLS; it may want a certificate that it knows"
