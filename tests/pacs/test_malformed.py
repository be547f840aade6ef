"""Requests and commands that no library would send: each ends its own connection, in one line."""

from __future__ import annotations

import gc
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, uid

from kellgren.pacs.receiver import Receiver
from kellgren.pacs.spool import Spool
from made.protocol_units import CR, item, request, unit
from pacs_network import eventually, send, write_films

# pynetdicom leaves the sockets of connections that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ACCEPT, ABORT = 2, 7


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def receiver(tmp_path: Path, events: list[str]) -> Iterator[Receiver]:
    spool = Spool(tmp_path / "spool", {"name": "test"})
    given = {"ae_title": "KELLGREN", "on_film": lambda: None, "report": events.append}
    opened = Receiver(spool, ("127.0.0.1", 0), **given)  # type: ignore[arg-type]
    yield opened
    opened.close()
    spool.close()
    gc.collect()


def command(field: bytes) -> bytes:
    """A message that consists of one command."""
    elements = struct.pack("<HHI", 0, 2, len(CR) + 1) + CR.encode() + b"\0" + field
    content = struct.pack("<HHII", 0, 0, 4, len(elements)) + elements
    return unit(4, struct.pack(">I", len(content) + 2) + b"\1\3" + content)


def field(number: int) -> bytes:
    return struct.pack("<HHIH", 0, 0x100, 2, number)


def talk(receiver: Receiver, first: bytes, second: bytes = b"") -> bytes:
    """What is answered until the connection is closed."""
    answer = b""
    wire = socket.create_connection(("127.0.0.1", receiver.port), timeout=20)
    with wire, suppress(ConnectionError):
        wire.sendall(first)
        answer = wire.recv(65536)
        wire.sendall(second)
        while block := wire.recv(65536):
            answer += block
    return answer


REQUESTS = {
    "even context": request(number=2),
    "no transfer syntax": request(syntaxes=0),
    "unknown identity": request(more=item(0x58, b"\x09\x01\xff\xff")),
}
COMMANDS = {
    "none": b"",
    "unknown": field(0x7777),
    "reserved": field(0),
    "no group of a command": b"\xff" * 40,
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_malformed_request_ends_its_own_connection(
    receiver: Receiver, events: list[str], name: str
) -> None:
    talk(receiver, REQUESTS[name])
    assert eventually(lambda: len(events) == 1)
    assert events[0].startswith("ended a connection from 127.0.0.1: not understood (")
    assert talk(receiver, request(), unit(ABORT, bytes(4)))[0] == ACCEPT
    assert len(events) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_malformed_command_ends_its_own_connection(
    receiver: Receiver, events: list[str], name: str
) -> None:
    assert talk(receiver, request(), command(COMMANDS[name]))[0] == ACCEPT
    assert eventually(lambda: len(events) == 1)
    assert events[0].startswith("ended a connection from 127.0.0.1: not understood (")
    assert talk(receiver, request(), unit(ABORT, bytes(4)))[0] == ACCEPT


def test_a_film_that_was_sent_under_another_transfer_syntax_is_not_known(
    receiver: Receiver, events: list[str], tmp_path: Path
) -> None:
    """The first could not be read: to swallow the second, of the same bytes, would lose it."""
    (path,) = write_films(tmp_path / "films", np.zeros((8, 8), np.uint16), 1)
    for syntax in (uid.RLELossless, uid.ExplicitVRLittleEndian, uid.ExplicitVRLittleEndian):
        film = dcmread(path)
        film.file_meta.TransferSyntaxUID = syntax
        assert send(receiver.port, [film]) == [0]
    said = [event.partition(" ")[2][8:] for event in events]
    assert said == ["", ", with other content than before: it gets an answer of its own", " again"]
