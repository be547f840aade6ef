"""Callers that mean harm, against a station: films are answered on, and nothing dies of a caller.

    python benchmarks/hostile_dicom.py [--calls 1000]

A station of its own is sent data units, requests, commands and objects that no library would send,
each at random and eight at a time, while films come in. Ends with 1 if a film is not taken
within a minute or has no answer, the log holds a traceback, or threads are left.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pacs_loop import films
from pydicom import uid
from pynetdicom import AE

from made.protocol_units import CR, item, request, unit
from pacs_network import AnswerPeer, Listening, eventually, free_port

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STORE_FIELD, NO_FIELDS = 1, (0, 2, 0x10, 0x20, 0x21, 0x0FFF, 0x130, 0x7777, 0x8001, 0xFFFF)
PATIENCE_S, MOST_S, FILMS = 0.5, 60.0, 6

Call = tuple[bytes, ...]


def element(number: int, content: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(content)) + content


def value(control: int, content: bytes, context: int = 1, length: int | None = None) -> bytes:
    """A unit of one presentation data value."""
    claimed = len(content) + 2 if length is None else length
    return unit(4, struct.pack(">I", claimed) + bytes([context, control]) + content)


def command(field: int, *, has_data: bool, instance: bytes = b"1.2.3.4\0") -> bytes:
    """A command, whole."""
    elements = element(2, CR.encode() + b"\0") + element(0x100, struct.pack("<H", field))
    elements += element(0x110, b"\1\0") + element(0x800, b"\0\0" if has_data else b"\1\1")
    elements += element(0x700, b"\0\0") + element(0x1000, instance)
    return value(3, element(0, struct.pack("<I", len(elements))) + elements)


def calls(rng: random.Random) -> list[Call]:
    """What a caller may send, in pieces: each waits for an answer to the one before."""
    noise, begun = rng.randbytes(20_000), command(STORE_FIELD, has_data=True)
    outside = command(STORE_FIELD, has_data=True, instance=b"../../../etc/x")
    stored = [
        (request(), begun + value(0, noise)),
        (request(), begun + value(2, noise)),
        (request(), begun + value(0, noise) + unit(7, bytes(4))),
        (request(), begun + b"".join(value(0, noise[at : at + 1]) for at in range(5000))),
        (request(), begun + value(2, struct.pack("<HHI", 0x7FE0, 0x10, 0xFFFFFFFE) + noise)),
        (request(), begun + value(2, bytes.fromhex("08001511fffffffffeff00e0ffffffff") * 1000)),
        (request(), outside + value(2, noise)),
    ]
    requests = [
        request(number=2),
        request(syntaxes=0),
        request(syntaxes=2500),
        request(contexts=5000),
        request(abstract=FIND),
        request(abstract=""),
        request(more=item(0x58, b"\x09\x01\xff\xff")),
        request() * 2,
        request()[: rng.randrange(1, 150)],
        unit(1, request()[6:], 2**32 - 1),
        unit(rng.randrange(256), noise[: rng.randrange(2000)]),
        noise,
    ]
    commands = [command(field, has_data=bool(field % 2)) for field in NO_FIELDS]
    values = [value(3, noise[:300]), value(255, b""), value(3, b"", 99), value(3, b"abc", 1, 5000)]
    broken = [
        *commands,
        *values,
        unit(4, b""),
        unit(6, bytes(4)),
        command(0x30, has_data=True) * 99,
    ]
    return [*stored, *((one,) for one in requests), *((request(), one) for one in broken)]


def call(port: int, pieces: Call) -> None:
    """Send, and wait a little for what comes back."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as wire:
            for piece in pieces:
                wire.sendall(piece)
                wire.recv(2**16)
    except OSError:  # no answer, or the station has closed it
        pass


def honest_seconds(port: int, film: Path) -> float:
    """How long a film takes to be taken, with as many tries as that needs, as a router makes."""
    caller, began = AE("HONEST"), time.monotonic()
    for syntax in (uid.DigitalXRayImageStorageForPresentation, CR):
        caller.add_requested_context(syntax, uid.ExplicitVRLittleEndian)
    while time.monotonic() - began < MOST_S:
        association = caller.associate("127.0.0.1", port)
        if association.is_established:
            status = association.send_c_store(film).get("Status")
            association.release()
            if status == 0:
                return time.monotonic() - began
        time.sleep(0.5)
    return float("inf")


def state(process: int) -> dict[str, int]:
    """Threads and memory (kB) of a process."""
    text = Path(f"/proc/{process}/status").read_text()
    return {name: int(number) for name, number in re.findall(r"(Threads|VmRSS):\s+(\d+)", text)}


def attack(port: int, count: int, during: Callable[[], None]) -> None:
    """Calls at random, eight at a time, and something meanwhile."""
    rng = random.Random(0)
    chosen = [rng.choice(calls(rng)) for _ in range(count)]
    with ThreadPoolExecutor(8) as callers:
        sent = callers.map(lambda pieces: call(port, pieces), chosen)
        during()
        list(sent)


def main() -> bool:
    """Print what happened; whether all promises were kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    count = parser.parse_args().calls
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        port, peer = free_port(), AnswerPeer()
        station = Listening(Path(folder) / "spool", peer.address, port)
        made = films(Path(folder) / "films", FILMS)
        before, began = state(station.process), time.monotonic()
        attack(port, count, lambda: waits.extend(honest_seconds(port, film) for film in made))
        took = time.monotonic() - began
        answered = eventually(lambda: len({one.StudyInstanceUID for one in peer.kept}) == FILMS)
        threads = before["Threads"] + 1
        is_quiet = eventually(lambda: state(station.process)["Threads"] <= threads)
        after = state(station.process)
        station.stop()
        peer.close()
    traces = sum("Traceback" in line for line in station.lines)
    print(f"{count} calls in {took:.0f} s; slowest film {max(waits):.1f} s; {traces} tracebacks")
    print(f"before {before}, after {after}; all {FILMS} films answered: {answered}")
    return answered and is_quiet and not traces and max(waits) < MOST_S


if __name__ == "__main__":
    sys.exit(not main())
