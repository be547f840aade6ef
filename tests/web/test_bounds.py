"""Bounded without a token: bodies, guesses, what graders inherit."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kellgren.web import server
from kellgren.web.app import Application
from kellgren.web.guard import RequestGuard
from kellgren.web.sessions import (
    GUESS_SECONDS,
    GUESSES,
    IDLE_SECONDS,
    SESSION_SECONDS,
    Guesses,
    Sessions,
)
from kellgren.web.settings import Limits, Settings, answered_hosts
from kellgren.web.workers.confinement import grader_environment

TOKEN = "a token of many letters"
SLOW = Limits(idle_seconds=0.3, body_seconds=0.6)
LONGEST_S = 30  # before these limits would be found not to hold, on a busy machine


def opened(bundle: Path, folder: Path, **changes: Any) -> Application:
    hosts = answered_hosts("127.0.0.1", 8000, [])
    given = {"hosts": hosts, "workers": 0, "limits": SLOW, **changes}
    return Application(Settings(store=folder / "store", model=bundle, **given))


@pytest.fixture
def app(bundle: Path, tmp_path: Path) -> Iterator[Application]:
    application = opened(bundle, tmp_path, token=TOKEN)
    yield application
    application.store.close()


class Client:
    """Asks an application as if from an address."""

    def __init__(self, app: Application) -> None:
        self._asgi = app.asgi()
        assert isinstance(self._asgi, RequestGuard)

    def __call__(
        self, method: str, path: str, address: str = "192.0.2.1", **options: Any
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._asgi, client=(address, 1))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())


def chunks(count: int) -> AsyncIterator[bytes]:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(2**16)

    return stream()


@pytest.mark.parametrize("path", ["/api/v1/session", "/api/v1/studies", "/health", "/nowhere"])
def test_no_body_but_a_film_is_large(bundle: Path, tmp_path: Path, path: str) -> None:
    app = opened(bundle, tmp_path)
    client, kind = Client(app), {"content-type": "application/json"}
    for body in (json.dumps({"token": "x" * 70_000}).encode(), chunks(3)):
        answer = client("POST", path, content=body, headers=kind)
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
    small = json.dumps({"token": "x" * 500}).encode()
    assert client("POST", path, content=small, headers=kind).status_code in (204, 404, 405, 422)
    app.store.close()


def test_a_large_body_is_not_kept_in_memory(app: Application) -> None:
    """A gigabyte that is announced, or that just comes: at most a little of it is taken."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 2**20
            yield bytes(2**20)

    for headers in ({}, {"content-length": str(2**30)}):
        answer = Client(app)("POST", "/api/v1/session", content=endless(), headers=headers)
        assert answer.status_code == 413
    assert taken < 8 * 2**20


@pytest.mark.parametrize("dripping", [False, True])
def test_a_silent_body_is_closed(bundle: Path, tmp_path: Path, dripping: bool) -> None:
    app = opened(bundle, tmp_path, hosts=frozenset({"localhost"}))
    import uvicorn

    async def talk() -> tuple[float, bytes]:
        with server._bound_socket("127.0.0.1", 0) as listening:
            running = uvicorn.Server(server._config(app))
            serving = asyncio.create_task(running.serve(sockets=[listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            began = time.monotonic()
            writer.write(
                b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
            )
            received = asyncio.create_task(reader.read())
            while not received.done() and time.monotonic() - began < LONGEST_S:
                if dripping:
                    writer.write(b" ")
                await asyncio.sleep(0.1)
            spent = time.monotonic() - began
            received.cancel()
            writer.close()
            running.should_exit = True
            await serving
            try:
                return spent, received.result() if not received.cancelled() else b""
            except ConnectionResetError:  # a drip met the closed end before the answer was read
                return spent, b""

    spent, answer = asyncio.run(talk())
    assert spent < LONGEST_S
    assert answer.startswith(b"HTTP/1.1 408") or (dripping and not answer)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_guesses_from_one_address_are_slow(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kellgren.web.guard._WRONG_TOKEN_S", 0.0)
    client = Client(app)
    session = client("POST", "/api/v1/session", json={"token": TOKEN}).headers["set-cookie"]
    cookie = {"cookie": session.partition(";")[0]}
    statuses = [
        client("GET", "/api/v1/cases", headers=bearer(f"guess {n}")).status_code
        for n in range(GUESSES + 3)
    ]
    assert statuses == [401] * GUESSES + [429] * 3
    late = client("GET", "/api/v1/cases", headers=bearer(TOKEN))
    assert late.status_code == 429
    assert 0 < int(late.headers["retry-after"]) <= GUESS_SECONDS
    assert client("POST", "/api/v1/session", json={"token": TOKEN}).status_code == 429
    # Nobody else is kept out: other addresses, whoever is signed in, who come through a proxy.
    assert client("GET", "/api/v1/cases", headers=cookie).status_code == 200
    other = client("GET", "/api/v1/cases", "192.0.2.2", headers=bearer(TOKEN))
    assert other.status_code == 200
    log = (app.settings.store / "audit.log").read_text()
    assert log.count('"wrong token"') == GUESSES
    assert "guess" not in log
    assert TOKEN not in log


def test_a_proxy_on_this_machine_names_its_clients(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kellgren.web.guard._WRONG_TOKEN_S", 0.0)
    client = Client(app)

    def through(address: str, token: str) -> int:
        headers = bearer(token) | {"x-forwarded-for": f"spoofed, {address}"}
        return client("GET", "/api/v1/cases", "127.0.0.1", headers=headers).status_code

    assert [through("203.0.113.5", "wrong") for _ in range(GUESSES + 1)][-1] == 429
    assert through("203.0.113.6", TOKEN) == 200
    # What a client says of itself without a proxy is not believed.
    own = [
        client(
            "GET",
            "/api/v1/cases",
            headers=bearer("wrong") | {"x-forwarded-for": f"203.0.113.{n}"},
        ).status_code
        for n in range(GUESSES + 1)
    ]
    assert own[-1] == 429


def test_guesses_are_forgiven_and_counted_by_network() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for number in range(GUESSES):
        guesses.count(f"2001:db8::{number}")
    assert guesses.wait("2001:db8::ffff") > 0
    assert guesses.wait("2001:db8:1::1") == 0
    now[0] = GUESS_SECONDS
    assert guesses.wait("2001:db8::1") == 0


def test_sessions_are_random_and_end() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    first, second = sessions.begin(), sessions.begin()
    assert first != second
    assert len(first) >= 43
    assert sessions.name(first) != sessions.name(second)
    now[0] = IDLE_SECONDS + 1
    assert sessions.name(first) is None
    busy = sessions.begin()
    begun = now[0]
    while now[0] - begun <= SESSION_SECONDS - IDLE_SECONDS:
        now[0] += IDLE_SECONDS / 2
        assert sessions.name(busy) is not None
    now[0] = begun + SESSION_SECONDS + 1
    assert sessions.name(busy) is None


def test_a_session_is_not_the_token_and_can_be_signed_out(app: Application) -> None:
    client = Client(app)
    given = client("POST", "/api/v1/session", json={"token": TOKEN}).headers["set-cookie"]
    assert TOKEN.replace(" ", "") not in given.replace(" ", "").replace("%20", "")
    assert "max-age=" in given.lower()
    cookie = {"cookie": given.partition(";")[0]}
    assert client("GET", "/api/v1/session", headers=cookie).json()["signed_in"]
    assert client("DELETE", "/api/v1/session", headers=cookie).status_code == 204
    assert client("GET", "/api/v1/cases", headers=cookie).status_code == 401
    log = (app.settings.store / "audit.log").read_text()
    assert "signed in" in log
    assert "signed out" in log
    assert cookie["cookie"].partition("=")[2] not in log


def test_graders_inherit_no_secret() -> None:
    given = {"KELLGREN_TOKEN": TOKEN, "AWS_SECRET_ACCESS_KEY": "x", "PATH": "/bin", "HOME": "/h"}
    assert grader_environment(given) == {"PATH": "/bin", "HOME": "/h", "OMP_NUM_THREADS": "1"}
