"""Clients that mean harm, against a reading room: it answers on, and its log stays short.

    python benchmarks/hostile_http.py [--clients 3000]

A server of its own is sent requests that are none, bodies and headers that claim what they do not
keep, and floods of connections. Afterwards a film must be graded as before. Ends with 1 if a client
got a 500, the log holds a traceback or over 200 lines, or the server took over 300 MB.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from serve_load import KNEES, Server

MOST_MB, MOST_LINES, PATIENCE_S = 300.0, 200, 1.0
JSON = b"Content-Type: application/json\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=y\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
FILE = b'--y\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
FIELD = b'--y\r\nContent-Disposition: form-data; name="side"\r\n\r\n'


def request(method: bytes, path: bytes, host: bytes, more: bytes = b"", body: bytes = b"") -> bytes:
    """An HTTP request."""
    return method + b" " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + more + b"\r\n" + body


def attacks(host: bytes) -> dict[str, tuple[bytes, ...]]:
    """What one client sends, in pieces with a pause between them."""
    post, films = b"/api/v1/studies", b"/api/v1/cases"

    def chunked(*chunks: bytes, path: bytes = post, kind: bytes = JSON) -> tuple[bytes, ...]:
        first, *rest = chunks
        return (request(b"POST", path, host, kind + CHUNKED, first), *rest)

    def claimed(length: bytes, body: bytes = b"{}") -> tuple[bytes]:
        return (request(b"POST", post, host, JSON + b"Content-Length: " + length + b"\r\n", body),)

    def got(path: bytes, more: bytes = b"") -> tuple[bytes]:
        return (request(b"GET", path, host, more),)

    foreign = JSON + b"Origin: http://elsewhere.example\r\n"
    return {
        "chunk without a size": chunked(b"zz\r\nabc\r\n"),
        "chunk without a size, later": chunked(b"3\r\nabc\r\n", b"zz\r\n"),
        "chunk without a size, after a 403": chunked(b"3\r\nabc\r\n", b"zz\r\n", kind=foreign),
        "chunk without a size, in an upload": chunked(
            b"3\r\n--y\r\n", b"-1\r\n", path=films, kind=FORM
        ),
        "chunks of a byte": chunked(b"1\r\nx\r\n" * 9000),
        "trailer that is none": chunked(b"0\r\nnonsense\r\n\r\n"),
        "length and chunks": chunked(b"0\r\n\r\n", kind=JSON + b"Content-Length: 5\r\n"),
        "length of 5000 digits": claimed(b"9" * 5000),
        "negative length": claimed(b"-5"),
        "two lengths": claimed(b"2\r\nContent-Length: 3"),
        "NaN": claimed(b"13", b'{"name": NaN}'),
        "half of a surrogate pair": claimed(b"17", b'{"name":"\\ud800"}'),
        "20 000 lists in each other": claimed(b"40000", b"[" * 20_000 + b"]" * 20_000),
        "number of 5000 digits": claimed(b"5000", b"1" * 5000),
        "field of a megabyte": (
            request(b"POST", films, host, FORM + b"Content-Length: 2000000\r\n", FIELD),
            b"x" * 1_000_000,
        ),
        "header of 100 kB": got(b"/health", b"X: " + b"x" * 100_000 + b"\r\n"),
        "path that is no UTF-8": got(b"/api/v1/cases/%ff%ed%a0%80%00"),
        "path out of its folder": got(b"/static/..%2f..%2f..%2fetc/passwd"),
        "4000 ranges": got(b"/", b"Range: bytes=" + b"0-0," * 4000 + b"1-1\r\n"),
        "WebSocket": got(b"/api/v1/cases", UPGRADE),
        "200 requests at once, then none": (*got(b"/health") * 200, b"\0\1\2\r\n\r\n"),
        "another host": (request(b"GET", b"/health", b"elsewhere.example"),),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",),
    }


def answer(port: int, pieces: tuple[bytes, ...]) -> bytes:
    """What a client is told within a second."""
    told = b""
    wire = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    with wire:
        try:
            for piece in pieces:
                wire.sendall(piece)
                time.sleep(0.1)
            while block := wire.recv(2**16):
                told += block
        except OSError:  # it keeps the connection open, or has closed it
            pass
    return told


def flood(server: Server, name: str, piece: bytes, count: int) -> str:
    """Open connections that each send a piece and stay; how /health answers meanwhile."""
    wires, began = [], time.monotonic()
    for _ in range(count):
        wire = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        wires.append(wire)
        try:
            wire.sendall(piece)
        except OSError:
            continue
    asked = time.monotonic()
    status = server.ask("GET", "/health")[0]
    seconds = time.monotonic() - asked
    for wire in wires:
        wire.close()
    memory = f"HTTP {server.memory_mb()[0]:.0f} MB"
    told = f"/health {status} after {seconds:.1f} s, {memory}"
    return f"{count} connections, {name}: opened in {asked - began:.1f} s, {told}"


def floods(host: bytes) -> dict[str, bytes]:
    """What each connection of a flood sends."""
    owed = JSON + b"Content-Length: 65000\r\n"
    film = FORM + b"Content-Length: 4000000\r\n"
    headers = b"".join(b"X%d: x\r\n" % number for number in range(3000))
    return {
        "nothing": b"",
        "most of a header": request(b"GET", b"/health", host, b"X: " + b"x" * 31_000)[:-2],
        "most of a body": request(b"POST", b"/api/v1/session", host, owed, b"x" * 64_000),
        "3000 headers": request(b"POST", b"/api/v1/cases", host, headers + film, b"--y"),
        "path of 30 kB": request(b"POST", b"/api/v1/cases?" + b"x" * 30_000, host, film, b"--y"),
        "most of a film": request(b"POST", b"/api/v1/cases", host, film, FILE + bytes(700_000)),
        "64 small films": request(
            b"POST", b"/api/v1/cases", host, film, (FILE + bytes(10_000) + b"\r\n") * 64
        ),
        "chunks of a byte": request(
            b"POST", b"/api/v1/session", host, JSON + CHUNKED, b"1\r\nx\r\n" * 9000
        ),
    }


def main() -> bool:
    """Print what happens; whether all promises were kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=3000, help="of each flood")
    clients = parser.parse_args().clients
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "store", workers=1, queue=64)
        host = b"127.0.0.1:%d" % server.port
        server.await_graders(1)
        found = Counter[str]()
        for name, pieces in attacks(host).items():
            statuses = re.findall(rb"HTTP/1.1 (\d+)", answer(server.port, pieces))
            found.update(status.decode() for status in statuses)
            print(f"{name:36}{b' '.join(dict.fromkeys(statuses)).decode() or 'no answer yet'}")
        for name, piece in floods(host).items():
            print(flood(server, name, piece, clients))
        status, _, graded = server.post(KNEES[0], wait=60)
        memory = server.memory_mb()[0]
        server.stop()
    failed = "500" in found or any("Traceback" in line for line in server.lines)
    print(f"then a film is {graded['cases'][0]['state']} ({status}); {len(server.lines)} lines")
    return not failed and len(server.lines) <= MOST_LINES and memory <= MOST_MB and status == 200


if __name__ == "__main__":
    sys.exit(not main())
