"""Clients that speak no HTTP, or too little of it at a time: one answer, one line of the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import PATIENCE
from kellgren.web import bodies, http_connection, server
from kellgren.web.app import Application
from kellgren.web.server import FewWarnings
from kellgren.web.settings import Settings

HOST = b"Host: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
STUDY = (
    b"POST /api/v1/studies HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n" + CHUNKED
)
FILMS = b"POST /api/v1/cases HTTP/1.1\r\n" + HOST
FORM = b"Content-Type: multipart/form-data; boundary=y\r\n"
UPLOAD = FILMS + FORM + CHUNKED
OTHER_ORIGIN = STUDY.replace(CHUNKED, b"Origin: http://elsewhere.example\r\n" + CHUNKED)
HEALTH = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
FIELD = b'--y\r\nContent-Disposition: form-data; name="side"\r\n\r\n'
WAITING = FILMS.replace(b"cases", b"cases?wait=60") + FORM
ONE_FILM = FIELD.replace(b'"side"', b'"files"; filename="a.png"') + b"x\r\n--y--\r\n"
PAUSE, OWES, TO_THE_END = b"pause", b"owes", b"to the end"


@pytest.fixture
def app(bundle: Path, tmp_path: Path) -> Iterator[Application]:
    hosts = frozenset({"localhost"})
    opened = Application(Settings(tmp_path / "store", hosts, model=bundle, workers=0))
    yield opened
    opened.store.close()


def answers(app: Application, *clients: tuple[bytes, ...]) -> list[bytes]:
    """What each client is told, of those that connect one after the other and stay."""

    async def told() -> list[bytes]:
        with server._bound_socket("127.0.0.1", 0) as listening:
            running = server.RoomServer(app)
            serving = asyncio.create_task(running.serve(sockets=[listening]))
            address = listening.getsockname()
            opened = [await talk(address, pieces) for pieces in clients]
            found = [answer for answer, _ in opened]
            for _, writer in opened:
                writer.close()
            running.should_exit = True
            await serving
        return found

    return asyncio.run(told())


async def talk(
    address: tuple[str, int], pieces: tuple[bytes, ...]
) -> tuple[bytes, asyncio.StreamWriter]:
    """Send, and read one answer; all there are with `TO_THE_END`, none with `OWES`."""
    reader, writer = await asyncio.open_connection(*address)
    for piece in pieces:
        if piece == PAUSE:
            await asyncio.sleep(0.2)
        elif piece not in (OWES, TO_THE_END):
            writer.write(piece)
            await writer.drain()
    answer = b""
    if OWES not in pieces:
        with contextlib.suppress(ConnectionError):
            while more := await asyncio.wait_for(reader.read(65536), PATIENCE):
                answer += more
                if TO_THE_END not in pieces and b"\r\n\r\n" in answer:
                    break
    return answer, writer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ((STUDY + b"zz\r\n",), b"400"),
        ((STUDY + b"3\r\nabc\r\n", PAUSE, b"zz\r\n"), b"400"),
        ((UPLOAD + b"5\r\n--y\r\n\r\n", PAUSE, b"-1\r\n"), b"400"),
        ((OTHER_ORIGIN + b"3\r\nabc\r\n", PAUSE, b"zz\r\n", TO_THE_END), b"403"),
        ((HEALTH * 3 + b"\0\1\r\n\r\n", TO_THE_END), b"200"),
        ((b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\r\n\r\n",), b"400"),
    ],
    ids=["at once", "later", "upload", "after its answer", "after others", "TLS"],
)
def test_what_is_no_http_costs_one_line(
    app: Application, caplog: pytest.LogCaptureFixture, sent: tuple[bytes, ...], status: bytes
) -> None:
    (answer,) = answers(app, sent)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (FILMS + FORM + b"Content-Length: 999\r\n\r\n--y\r\n", b"503"),
        (WAITING + b"Content-Length: %d\r\n\r\n" % len(ONE_FILM) + ONE_FILM, b"202"),
    ],
    ids=["half an upload", "one that waits for its answer"],
)
def test_the_end_of_the_server_is_told(
    app: Application,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    status: bytes,
) -> None:
    monkeypatch.setattr(server, "_SHUTDOWN_S", 0.2)

    async def told() -> bytes:
        with server._bound_socket("127.0.0.1", 0) as listening:
            running = server.RoomServer(app)
            serving = asyncio.create_task(running.serve(sockets=[listening]))
            client = asyncio.create_task(talk(listening.getsockname(), (sent,)))
            await asyncio.sleep(0.2)
            running.should_exit = True
            answer, writer = await client
            await serving
            writer.close()
        return answer

    answer = asyncio.run(told())
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert not any(record.exc_info for record in caplog.records)


def test_another_protocol_is_not_spoken(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    (answer,) = answers(app, (HEALTH.removesuffix(b"\r\n") + upgrade,))
    assert answer.startswith(b"HTTP/1.1 200")
    assert not caplog.records


@pytest.mark.parametrize("first", [b"", HEALTH], ids=["alone", "behind another"])
def test_a_body_in_chunks_of_a_byte_is_refused(app: Application, first: bytes) -> None:
    """45 kB of them kept the server from everyone else for a tenth of a second."""
    body = b'{"name":"' + b"x" * 20_000 + b'"}'
    large = b"".join(b"400\r\n" + body[at : at + 1024] + b"\r\n" for at in range(0, 19456, 1024))
    small = first + STUDY + b"1\r\nx\r\n" * 9000
    refused, taken = answers(app, (small, TO_THE_END), (STUDY + large + b"0\r\n\r\n",))
    assert refused.count(b"HTTP/1.1 400") == 1
    assert taken.startswith(b"HTTP/1.1 422")


def test_a_field_that_is_no_file_is_small(app: Application) -> None:
    content = FIELD + b"L" * 5000 + b"\r\n--y--\r\n"
    length = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(content)
    (answer,) = answers(app, (FILMS + FORM + length + content, TO_THE_END))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"A field that is no file may have 4 kB" in answer


def test_idle_connections_make_room(
    app: Application, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_connection, "MOST_CONNECTIONS", 2)
    begun = HEALTH.removesuffix(b"\r\n")
    found = answers(app, (begun, OWES), (HEALTH,), (HEALTH,), (HEALTH,))
    assert [answer[9:12] for answer in found] == [b"", b"200", b"200", b"200"]
    assert not caplog.records


def test_a_connection_too_many_is_sent_away(
    app: Application, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_connection, "MOST_CONNECTIONS", 2)
    body = b"Content-Length: 9\r\n\r\n"
    found = answers(app, *[(FILMS + FORM + body, OWES, PAUSE)] * 2, (HEALTH,))
    assert [answer[9:12] for answer in found] == [b"", b"", b"503"]
    assert b"Retry-After" in found[2]
    assert not caplog.records


def test_small_bodies_take_little_memory_together(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "ROOM_BYTES", 100_000)
    owed = STUDY.replace(CHUNKED, b"Content-Length: 60000\r\n\r\n")
    found = answers(app, (owed, OWES, PAUSE), (owed,), (HEALTH,))
    assert [answer[9:12] for answer in found] == [b"", b"503", b"200"]
    assert b"retry-after: 5" in found[1].lower()


def test_clients_write_few_lines_into_the_log() -> None:
    now = [0.0]
    few = FewWarnings(lambda: now[0])

    def written(level: int) -> bool:
        return few.filter(logging.LogRecord("x", level, "", 0, "no HTTP", (), None))

    assert sum(written(logging.WARNING) for _ in range(1000)) == 60
    assert written(logging.ERROR)
    now[0] = 60.0
    assert written(logging.WARNING)
