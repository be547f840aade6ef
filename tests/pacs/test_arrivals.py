"""Objects on their way in: on the disk and not in memory, bounded each and together."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from kellgren.pacs.callers import Limits
from kellgren.pacs.receiver import Receiver
from kellgren.pacs.spool import Spool
from pacs_network import eventually, send

# pynetdicom leaves the sockets of connections that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
DX = uid.DigitalXRayImageStorageForPresentation
BLOCK = 2**16 - 100


@pytest.fixture(scope="module", autouse=True)
def _leave_no_socket_to_others() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", {"name": "test"})
    yield opened
    opened.close()


@pytest.fixture
def listening(spool: Spool, events: list[str]) -> Iterator[Callable[[Limits], Receiver]]:
    opened: list[Receiver] = []

    def listen(limits: Limits) -> Receiver:
        opened.append(
            Receiver(
                spool,
                ("127.0.0.1", 0),
                ae_title="KELLGREN",
                on_film=lambda: None,
                report=events.append,
                limits=limits,
            )
        )
        return opened[-1]

    yield listen
    for receiver in opened:
        receiver.close()


def film(size: int, sop_class: str = DX) -> Dataset:
    """An object of about so many bytes."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = sop_class, f"1.2.3.{size}"
    made.add_new("PixelData", "OB", bytes(size))
    return made


class Sender:
    """Sends one object piece by piece, by hand."""

    def __init__(self, receiver: Receiver, identifier: str = "1.2.3", sop_class: str = DX) -> None:
        caller = AE("SENDER")
        caller.add_requested_context(sop_class)
        self.association: Association = caller.associate("127.0.0.1", receiver.port)
        assert self.association.is_established
        (context,) = self.association.accepted_contexts
        assert context.context_id is not None
        self._context = context.context_id
        request = C_STORE()
        request.MessageID, request.Priority = 1, 2
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, identifier  # type: ignore[assignment]
        request.DataSet = BytesIO(b"any")
        message = C_STORE_RQ()
        message.primitive_to_message(request)
        self._send(next(iter(message.encode_msg(self._context, 2**16))))

    def send(self, size: int, *, is_last: bool = False, is_command: bool = False) -> None:
        """So many bytes of the data set, or of another command."""
        while size > 0:
            now, size = min(size, BLOCK), size - BLOCK
            control = bytes([is_command + 2 * (is_last and size <= 0)])
            block = P_DATA()
            block.presentation_data_value_list = [[self._context, control + bytes(now)]]  # type: ignore[list-item]
            self._send(block)

    def _send(self, block: P_DATA) -> None:
        unit = P_DATA_TF()
        unit.from_primitive(block)
        self.association.dul.socket.socket.sendall(unit.encode())  # type: ignore[union-attr]


def parts(spool: Spool) -> list[Path]:
    return list((spool.folder / "received").glob(".*"))


def sizes(spool: Spool) -> int:
    total = 0
    for part in parts(spool):
        try:
            total += part.stat().st_size
        except FileNotFoundError:
            continue
    return total


def test_unfinished_objects_are_on_the_disk_and_gone_with_their_connection(
    listening: Callable[[Limits], Receiver], spool: Spool
) -> None:
    receiver, size = listening(Limits()), 12 * 2**20
    senders = [Sender(receiver, f"1.2.{number}") for number in range(4)]
    tracemalloc.start()
    for sender in senders:
        sender.send(size)
    assert eventually(lambda: sizes(spool) > 4 * (size - 2**16))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size  # of four that have come by nearly all
    assert held < size / 4
    assert {part.stat().st_mode & 0o077 for part in parts(spool)} <= {0o044, 0}
    for sender in senders:
        sender.association.abort()
    assert eventually(lambda: parts(spool) == [])


def test_an_object_that_is_too_long_is_refused_and_the_next_one_taken(
    listening: Callable[[Limits], Receiver], spool: Spool, events: list[str]
) -> None:
    receiver = listening(Limits(object_bytes=200_000))
    assert send(receiver.port, [film(300_000), film(100_000), film(250_000)]) == [
        0xA700,
        0,
        0xA700,
    ]
    assert len(spool.waiting()) == 1
    assert parts(spool) == []
    assert sum("longer than 200000 bytes" in line for line in events) == 2


def test_an_object_without_end_ends_its_association(
    listening: Callable[[Limits], Receiver], spool: Spool
) -> None:
    sender = Sender(listening(Limits(object_bytes=100_000)))
    sender.send(420_000)
    assert eventually(lambda: sender.association.is_aborted)
    assert eventually(lambda: parts(spool) == [])


def test_unfinished_objects_have_a_limit_together(
    listening: Callable[[Limits], Receiver], spool: Spool, events: list[str]
) -> None:
    receiver = listening(Limits(unfinished_bytes=500_000))
    first = Sender(receiver)
    first.send(400_000)
    assert eventually(lambda: sizes(spool) > 300_000)
    assert send(receiver.port, [film(200_000)]) == [0xA700]
    assert any("too many unfinished objects" in line for line in events)
    first.association.abort()
    assert eventually(lambda: parts(spool) == [])
    assert send(receiver.port, [film(200_000), film(200_001), film(200_002)]) == [0, 0, 0]


def test_a_full_disk_is_said_to_the_sender(
    listening: Callable[[Limits], Receiver], spool: Spool
) -> None:
    receiver = listening(Limits(free_bytes=2**60))
    assert send(receiver.port, [film(100_000)]) == [0xA700]
    assert (parts(spool), spool.waiting()) == ([], [])


def test_a_full_queue_is_said_to_the_sender(
    listening: Callable[[Limits], Receiver], spool: Spool
) -> None:
    receiver = listening(Limits(waiting=1))
    assert send(receiver.port, [film(1000), film(2000)]) == [0, 0xA700]
    assert parts(spool) == []


def test_what_is_no_film_touches_no_disk(
    listening: Callable[[Limits], Receiver], spool: Spool, events: list[str]
) -> None:
    receiver = listening(Limits(free_bytes=2**60))
    assert send(receiver.port, [film(100_000, uid.MRImageStorage)]) == [0]
    assert (parts(spool), spool.waiting(), events) == ([], [], ["ignored: no film"])


def test_an_object_that_drips_is_given_up(
    listening: Callable[[Limits], Receiver], spool: Spool, events: list[str]
) -> None:
    sender = Sender(listening(Limits(object_s=0.5, bytes_per_s=10**6)))
    sender.send(1000)
    assert eventually(lambda: sender.association.is_aborted)
    assert eventually(lambda: parts(spool) == [])
    assert events == [
        "ended a connection from 127.0.0.1: an object came with less than 1000000 bytes/s"
    ]


def test_a_command_without_end_ends_its_association(
    listening: Callable[[Limits], Receiver], spool: Spool
) -> None:
    sender = Sender(listening(Limits()))
    sender.send(1000, is_last=True)
    sender.send(2**17, is_command=True)
    assert eventually(lambda: sender.association.is_aborted)
    assert eventually(lambda: parts(spool) == [])


def test_one_who_never_waits_for_an_answer_is_sent_away(
    listening: Callable[[Limits], Receiver],
) -> None:
    receiver = listening(Limits())
    caller = AE("SENDER")
    caller.add_requested_context(Verification)
    association = caller.associate("127.0.0.1", receiver.port)
    request, message, unit = C_ECHO(), C_ECHO_RQ(), P_DATA_TF()
    request.MessageID, request.AffectedSOPClassUID = 1, Verification
    message.primitive_to_message(request)
    (block,) = message.encode_msg(1, 2**16)
    unit.from_primitive(block)
    wire = association.dul.socket.socket  # type: ignore[union-attr]
    with suppress(OSError):  # closed by the station
        for _ in range(1000):
            wire.sendall(10 * unit.encode())
    assert eventually(lambda: association.is_aborted)
