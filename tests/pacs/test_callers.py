"""Who may call the station, how much each may take, and that nobody can shut it from outside."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from command_line import kellgren
from kellgren.pacs import connection
from kellgren.pacs.callers import Access, InvalidNetwork, Limits, parse_networks
from kellgren.pacs.receiver import Receiver
from kellgren.pacs.spool import Spool
from pacs_network import eventually

# pynetdicom leaves the sockets of connections that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
REJECTED_FOR_NOW, REJECTED_FOR_GOOD = 2, 1


@pytest.fixture(scope="module", autouse=True)
def _leave_no_socket_to_others() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def events() -> list[str]:
    return []


class Clock:
    """The time that the station goes by, which only a test moves on."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(connection, "time", made)
    return made


@pytest.fixture
def listening(tmp_path: Path, events: list[str]) -> Iterator[Callable[..., Receiver]]:
    spool = Spool(tmp_path / "spool", {"name": "test"})
    opened: list[Receiver] = []

    def listen(access: Access = Access(), limits: Limits = Limits()) -> Receiver:  # noqa: B008
        given = {"ae_title": "KELLGREN", "on_film": lambda: None, "report": events.append}
        opened.append(Receiver(spool, ("127.0.0.1", 0), access=access, limits=limits, **given))  # type: ignore[arg-type]
        return opened[-1]

    yield listen
    for receiver in opened:
        with suppress(ValueError):  # closed by its test
            receiver.close()
    spool.close()


def call(receiver: Receiver, calling: str = "SENDER", called: str = "ANYONE") -> Association:
    caller = AE(calling)
    caller.connection_timeout = caller.acse_timeout = caller.network_timeout = 20
    caller.add_requested_context(Verification)
    return caller.associate("127.0.0.1", receiver.port, ae_title=called)


def is_answered(receiver: Receiver, calling: str = "SENDER", called: str = "ANYONE") -> bool:
    """Whether an association is accepted and an echo answered."""
    association = call(receiver, calling, called)
    if not association.is_established:
        return False
    status = association.send_c_echo().get("Status")
    association.release()
    return bool(status == 0)


@contextmanager
def drips(receiver: Receiver, number: int, whole: bytes, pause: float = 0.1) -> Iterator[None]:
    """Connections that send a byte now and then, each of which may be closed at any time."""
    wires = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(number)]
    done = threading.Event()

    def drip() -> None:
        for at in range(len(whole)):
            for wire in wires:
                try:
                    wire.sendall(whole[at : at + 1])
                except OSError:
                    continue
            if done.wait(pause):
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        yield
    finally:
        done.set()
        dripping.join()
        for wire in wires:
            wire.close()


REQUEST_WITHOUT_END = b"\x01\x00\x00\x01\x00\x00" + bytes(2**16)


def test_titles_that_are_not_allowed_are_rejected(
    listening: Callable[..., Receiver], events: list[str]
) -> None:
    receiver = listening(Access(frozenset({"PACS", "SECOND ONE"}), frozenset({"KELLGREN"})))
    assert is_answered(receiver, "PACS", "KELLGREN")
    assert is_answered(receiver, "SECOND ONE", "KELLGREN")
    assert events == []
    stranger = call(receiver, "STRANGER", "KELLGREN")
    assert stranger.is_rejected
    assert stranger.acceptor.primitive is not None
    assert stranger.acceptor.primitive.result == REJECTED_FOR_GOOD
    assert stranger.acceptor.primitive.diagnostic == 3
    wrong = call(receiver, "PACS", "OTHER")
    assert wrong.is_rejected
    assert wrong.acceptor.primitive is not None
    assert wrong.acceptor.primitive.diagnostic == 7
    assert events == [
        "refused an association from 127.0.0.1: calling AE title STRANGER not allowed",
        "refused an association from 127.0.0.1: called AE title OTHER not allowed",
    ]


def test_addresses_that_are_not_allowed_are_not_spoken_to(
    listening: Callable[..., Receiver], events: list[str]
) -> None:
    near = listening(Access(networks=parse_networks(["10.0.0.0/8", "127.0.0.0/8"])))
    assert is_answered(near)
    far = listening(Access(networks=parse_networks(["10.0.0.0/8", "::1"])))
    assert not call(far).is_established
    assert events == ["refused a connection from 127.0.0.1: address not allowed"]


def test_networks_are_written_in_cidr_notation() -> None:
    access = Access(networks=parse_networks(["10.1.2.3", "192.168.4.0/22", "fd00::/8"]))
    admitted = ["10.1.2.3", "192.168.7.255", "::ffff:10.1.2.3", "fd12::1", "fd12::1%eth0"]
    assert all(map(access.admits_address, admitted))
    assert not any(map(access.admits_address, ["10.1.2.4", "192.168.8.0", "fe80::1", "nonsense"]))
    for wrong in ("10.1.2.3/24", "localhost", "10.1.2", ""):
        with pytest.raises(InvalidNetwork):
            parse_networks([wrong])


def test_the_command_line_refuses_what_is_no_network_or_title(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["listen", "--answer-to", "127.0.0.1:104/A", "--spool", tmp_path / "none"]
    assert kellgren(*given, "--allow-address", "10.1.2.3/24") == 2
    assert "10.1.2.0/24" in capsys.readouterr().err
    assert kellgren(*given, "--allow-calling", "A" * 17) == 2
    assert "1 to 16" in capsys.readouterr().err


def test_twelve_connections_that_drip_shut_nobody_out(
    listening: Callable[..., Receiver], events: list[str], clock: Clock
) -> None:
    receiver = listening(limits=Limits(opening_s=2.0))
    with drips(receiver, 12, REQUEST_WITHOUT_END):
        assert is_answered(receiver)
        clock.seconds += 2.1
        ended = "ended a connection from 127.0.0.1: no association within 2 s"
        assert eventually(lambda: events.count(ended) == 12)
        assert is_answered(receiver)


def test_more_openings_than_are_granted_make_room_for_one_another(
    listening: Callable[..., Receiver], events: list[str]
) -> None:
    receiver = listening(limits=Limits(openings=4, openings_per_address=3, opening_s=60))
    with drips(receiver, 12, REQUEST_WITHOUT_END):
        assert is_answered(receiver)
    room = "ended a connection from 127.0.0.1: it stalls, and others wait"
    assert events.count(room) == 10


@pytest.mark.parametrize("limit", ["associations", "associations_per_address"])
def test_associations_are_limited_and_the_one_that_stalls_makes_room(
    listening: Callable[..., Receiver], events: list[str], clock: Clock, limit: str
) -> None:
    receiver = listening(limits=Limits(**{limit: 2}, patience_s=1.0))  # type: ignore[arg-type]
    first, second = call(receiver), call(receiver)
    third = call(receiver)
    assert third.is_rejected
    assert third.acceptor.primitive is not None
    assert third.acceptor.primitive.result == REJECTED_FOR_NOW
    assert events == ["refused an association from 127.0.0.1: too many at the same time"]
    clock.seconds += 1.1
    assert second.send_c_echo().Status == 0  # it works, so the other one has to go
    assert is_answered(receiver)
    assert eventually(lambda: first.is_aborted)
    assert second.send_c_echo().Status == 0
    second.release()


def test_a_unit_of_an_association_that_drips_has_a_deadline(
    listening: Callable[..., Receiver], events: list[str], clock: Clock
) -> None:
    receiver = listening(limits=Limits(pdu_s=15.0))
    association = call(receiver)
    association.dul.socket.socket.sendall(b"\x04\x00\x00\x00")  # type: ignore[union-attr]
    [mine] = receiver._server._connections
    assert eventually(lambda: mine._unit_began is not None)
    clock.seconds += 15.1
    assert eventually(lambda: association.is_aborted)
    assert events == ["ended a connection from 127.0.0.1: a data unit took longer than 15 s"]


def test_a_silent_association_ends(listening: Callable[..., Receiver]) -> None:
    receiver = listening(limits=Limits(idle_s=0.5))
    association = call(receiver)
    assert eventually(lambda: association.is_aborted)


def test_closing_ends_every_connection(listening: Callable[..., Receiver]) -> None:
    receiver = listening()
    association = call(receiver)
    with drips(receiver, 3, REQUEST_WITHOUT_END):
        receiver.close()
        assert not [it for it in threading.enumerate() if it.name.startswith("AcceptorThread")]
    assert eventually(lambda: association.is_aborted)
