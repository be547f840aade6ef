"""Requests that are refused: unknown hosts and tokens, large bodies, other origins."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from command_line import EXAMPLES, PATIENCE, kellgren
from kellgren.web import http_connection, server
from kellgren.web.app import Application
from kellgren.web.guard import CONTENT_POLICY
from kellgren.web.settings import Limits, Settings, answered_hosts, is_loopback
from web_room import parts

HOSTS = answered_hosts("127.0.0.1", 8000, [])
LIMITS = Limits(
    file_bytes=50_000,
    request_bytes=120_000,
    files=3,
    queue=4,
    idle_seconds=0.2,
    upload_seconds=1.0,
)
KNEE = EXAMPLES / "9511862L.png"
TOKEN = "a token of many letters"
LONGEST_S = 30  # before a limit of less than a second would be found not to hold


@pytest.fixture
def app(bundle: Path, tmp_path: Path) -> Iterator[Application]:
    """A server without graders: whatever it accepts waits."""
    opened = Application(settings(tmp_path, bundle))
    yield opened
    opened.store.close()


def settings(folder: Path, bundle: Path, **changes: Any) -> Settings:
    common = {"store": folder / "store", "hosts": HOSTS, "workers": 0, "limits": LIMITS}
    return Settings(model=bundle, **{**common, **changes})


def ask(app: Application, method: str, path: str, **options: Any) -> httpx.Response:
    """One request to the app, without a socket."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1:9", "", "localhost:8000 x"]
)
def test_only_known_hosts_are_answered(app: Application, host: str) -> None:
    assert ask(app, "GET", "/health", headers={"host": host}).status_code == 421
    assert ask(app, "GET", "/health", headers={"host": "LOCALHOST:8000"}).status_code == 200


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ],
)
def test_pages_of_other_origins_change_nothing(app: Application, header: str, value: str) -> None:
    refused = ask(app, "POST", "/api/v1/cases", files=parts([KNEE]), headers={header: value})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    assert app.store.count_open() == 0
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert ask(app, "POST", "/api/v1/cases", files=parts([KNEE]), headers=own).status_code == 202


def test_every_answer_has_security_headers(app: Application) -> None:
    for path in ("/", "/health", "/api/v1/cases", "/nowhere", "/static/nothing.js"):
        headers = ask(app, "GET", path).headers
        assert headers["content-security-policy"] == CONTENT_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
    assert "'unsafe" not in CONTENT_POLICY
    assert "script-src 'self'" in CONTENT_POLICY


def test_a_token_is_asked_of_everyone(bundle: Path, tmp_path: Path) -> None:
    app = Application(settings(tmp_path, bundle, token=TOKEN))
    closed = ["/api/v1/cases", "/api/v1/cases/aaaaaaaaaaaaaaaa", "/metrics", "/openapi.json"]
    for path in closed:
        assert ask(app, "GET", path).status_code == 401
        wrong = {"authorization": f"Bearer {TOKEN}x"}
        assert ask(app, "GET", path, headers=wrong).status_code == 401
        right = {"authorization": f"Bearer {TOKEN}"}
        assert ask(app, "GET", path, headers=right).status_code in (200, 404)
    assert ask(app, "GET", "/health").status_code == 200
    assert ask(app, "GET", "/api/v1/session").json() == {
        "token_needed": True,
        "signed_in": False,
    }
    assert ask(app, "POST", "/api/v1/session", json={"token": "wrong"}).status_code == 401
    signed_in = ask(app, "POST", "/api/v1/session", json={"token": TOKEN})
    assert signed_in.status_code == 204
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    headers = {"cookie": cookie.partition(";")[0]}
    assert ask(app, "GET", "/api/v1/cases", headers=headers).status_code == 200
    app.store.close()


@pytest.mark.parametrize(
    "words",
    [
        ("--host", "0.0.0.0"),
        ("--host", "192.0.2.7"),
        ("--host", "::"),
        ("--host", "0.0.0.0", "--token", "short"),
        ("--token", "line\nbreak and much more"),
        ("--port", "70000"),
        ("--allow-host", "https://films.example.org"),
        ("--allow-host", "films.example.org/knees"),
        ("--allow-host", ""),
    ],
)
def test_an_open_server_needs_a_token(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren("serve", "--store", tmp_path / "store", *words) == 2
    assert not (tmp_path / "store").exists()
    assert "Traceback" not in capsys.readouterr().err


def test_a_port_that_is_taken_is_named_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert kellgren("serve", "--port", port, "--store", tmp_path / "store") == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"port {port}: Address already in use; name another --port" in said


def test_a_missing_model_is_said_at_once(tmp_path: Path) -> None:
    assert kellgren("serve", "--port", "0", "--model", tmp_path, "--store", tmp_path / "s") == 3


def test_loopback_is_told_from_the_rest() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "")))


def refusal(app: Application, files: list[tuple[str, bytes]]) -> tuple[int, str]:
    answer = ask(app, "POST", "/api/v1/cases", files=parts(files))
    return answer.status_code, answer.json().get("detail", "")


def test_limits_hold_before_anything_is_kept(app: Application) -> None:
    assert refusal(app, [("a.png", bytes(LIMITS.file_bytes + 1))])[0] == 413
    assert refusal(app, [("a.png", bytes(40_001))] * 3)[0] == 413
    assert refusal(app, [("a.png", b"x")] * 4)[0] == 413
    assert refusal(app, [("a.png", b"x")] * 3)[0] == 202
    assert refusal(app, [("a.png", b"x")] * 2) == (
        503,
        "Too many cases wait; try again in 5 s",
    )
    assert list((app.store.blobs.folder / "arriving").iterdir()) == []
    assert app.store.count_open() == 3


def test_a_full_queue_says_when_to_come_back(app: Application) -> None:
    for _ in range(4):
        assert ask(app, "POST", "/api/v1/cases", files=parts([KNEE])).status_code == 202
    full = ask(app, "POST", "/api/v1/cases", files=parts([KNEE]))
    assert full.status_code == 503
    assert int(full.headers["retry-after"]) > 0
    assert "kellgren_turned_away_total 1" in ask(app, "GET", "/metrics").text


MULTIPART = "multipart/form-data; boundary=y"
NAMED = b'--y\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nz'
SIDE = b'--y\r\nContent-Disposition: form-data; name="side"\r\n\r\n'
SIDE_ONLY = SIDE + b"L\r\n--y--\r\n"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "app/json", 415),
        (b"x", "multipart/form-data", 400),
        (b"x", MULTIPART, 400),
        (b"--y--\r\n", MULTIPART, 400),
        (b"--y\r\nContent-Disposition: form-data\r\n\r\nz\r\n--y--\r\n", MULTIPART, 400),
        (SIDE_ONLY, MULTIPART, 400),
        (NAMED, MULTIPART, 400),
        (b"--y\r\n", MULTIPART + "y" * 300, 400),
        (b"--y\r\n", "multipart/form-data; charset=%00; boundary=y", 400),
    ],
)
def test_bodies_that_are_none_are_refused(
    app: Application, content: bytes, kind: str, status: int
) -> None:
    answer = ask(app, "POST", "/api/v1/cases", content=content, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert app.store.count_open() == 0


@pytest.mark.parametrize(
    ("sides", "status"),
    [((), 202), ((b"L",), 202), ((b"L", b"L"), 202), ((b"L", b"R"), 400), ((b"L", b""), 400)],
)
def test_a_side_is_stated_once_or_alike(
    app: Application, sides: tuple[bytes, ...], status: int
) -> None:
    """Of two sides the last would win in silence."""
    content = b"".join(SIDE + side + b"\r\n" for side in sides) + NAMED + b"\r\n--y--\r\n"
    answer = ask(app, "POST", "/api/v1/cases", content=content, headers={"content-type": MULTIPART})
    assert answer.status_code == status, answer.text
    assert ("stated twice" in answer.text) is (status == 400)


def test_a_length_that_lies_is_not_believed(app: Application) -> None:
    """A body longer than its header says, in chunks: counted as it comes."""

    async def endless() -> AsyncIterator[bytes]:
        head = b'--y\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        yield head
        while True:
            yield bytes(10_000)

    kind = {"content-type": "multipart/form-data; boundary=y"}
    answer = ask(app, "POST", "/api/v1/cases", content=endless(), headers=kind)
    assert answer.status_code == 413
    claim = {**kind, "content-length": str(10**12)}
    assert ask(app, "POST", "/api/v1/cases", content=b"", headers=claim).status_code == 413


def test_who_stands_still_is_cut_off(app: Application) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"--y\r\n"
        await asyncio.sleep(5)

    kind = {"content-type": "multipart/form-data; boundary=y"}
    answer = ask(app, "POST", "/api/v1/cases", content=stalling(), headers=kind)
    assert answer.status_code == 408


def seconds_until_cut_off(app: Application, sent: bytes, dripping: bytes) -> tuple[float, bytes]:
    """Listen for real, send something, then a byte now and then; when the connection ends.

    Returns:
        The seconds, 5 if it never does, and the first of what was answered: no more is taken.
    """

    async def talk() -> tuple[float, bytes]:
        with server._bound_socket("127.0.0.1", 0) as listening:
            port = listening.getsockname()[1]
            running = uvicorn.Server(server._config(app))
            serving = asyncio.create_task(running.serve(sockets=[listening]))
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", port))
            began = time.monotonic()
            await loop.sock_sendall(slow, sent)
            await asyncio.sleep(0.2)
            answer = b""
            if b"\r\n\r\n" in sent:  # however long the first answer takes
                answer = await asyncio.wait_for(loop.sock_recv(slow, 2048), PATIENCE)
            while time.monotonic() - began < LONGEST_S and running.server_state.connections:
                await asyncio.sleep(0.05)
                try:
                    slow.send(dripping)
                except OSError:
                    break
            spent = time.monotonic() - began
            slow.close()
            running.should_exit = True
            await serving
        return spent, answer

    return asyncio.run(talk())


HEADER = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("sent", [HEADER, HEADER + b"\r\n" + HEADER], ids=["first", "later"])
def test_a_header_that_never_ends_is_cut_off(
    app: Application, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """The first of a connection and a later one alike, however slowly it drips."""
    monkeypatch.setattr(http_connection, "HEADER_SECONDS", 0.6)
    spent, answer = seconds_until_cut_off(app, sent, b"x")
    assert 0.5 < spent < LONGEST_S
    assert answer.startswith(b"HTTP/1.1 200") == (sent != HEADER)


def test_who_takes_no_answer_is_cut_off(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "ANSWER_SECONDS", 0.6)
    large = b"GET /static/openseadragon.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    spent, answer = seconds_until_cut_off(app, large * 40, b"")
    assert 0.5 < spent < LONGEST_S
    assert answer.startswith(b"HTTP/1.1 200")


def test_the_description_is_whole(app: Application) -> None:
    schema = ask(app, "GET", "/openapi.json").json()
    assert "not a medical device" in schema["info"]["description"]
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    assert len(operations) >= 11
    assert all(operation["description"] for operation in operations)
    assert json.dumps(schema).count("nYp1qfT0Zq6yW2cB") > 3
