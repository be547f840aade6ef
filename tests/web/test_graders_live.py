"""Graders whose threads nothing ends: locks, full disks, kills; /health says so within 5 s."""

from __future__ import annotations

import errno
import io
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from bundle_factory import make_bundle
from command_line import EXAMPLES, PATIENCE
from kellgren.web.app import Application
from kellgren.web.settings import Limits, Settings
from kellgren.web.workers.process import GraderFailed, GraderProcess
from web_room import graders, hand_in, parts

KNEE = EXAMPLES / "9511862L.png"
SECRET = "a token that no grader may see"
HOSTS = frozenset({"testserver"})


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("room")
    bundle = make_bundle(folder / "tiny").folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KELLGREN_TOKEN", SECRET)
        patch.setenv("SOME_SECRET", SECRET)
        yield Application(Settings(store=folder / "store", hosts=HOSTS, workers=1, model=bundle))


@pytest.fixture(scope="module")
def opened(app: Application) -> Iterator[TestClient]:
    with TestClient(app.asgi()) as client:
        yield client


@pytest.fixture
def client(opened: TestClient) -> TestClient:
    """A server that is well."""
    until(opened, lambda health: health["graders"] == 1 and not health.get("detail"))
    return opened


def until(client: TestClient, wanted: Any) -> dict[str, Any]:
    """The first answer of /health that is as wanted."""
    deadline = time.monotonic() + PATIENCE
    while True:
        health: dict[str, Any] = client.get("/health").json()
        if wanted(health):
            return health
        assert time.monotonic() < deadline, health
        time.sleep(0.05)


def not_ready(client: TestClient) -> str:
    """Why /health is 503, which it must be soon."""
    health = until(client, lambda health: health["status"] != "ok")
    assert client.get("/health").status_code == 503
    return str(health["detail"])


def begun(client: TestClient) -> str:
    """Upload a film; the address of its case, which a grader reads no further until `go_on`."""
    to_graders(signal.SIGSTOP)
    [case] = hand_in(client, KNEE, wait=0)
    while client.get(case["url"]).json()["state"] == "waiting":
        time.sleep(0.01)
    return str(case["url"])


def to_graders(number: signal.Signals) -> None:
    for grader in graders(os.getpid()):
        os.kill(grader, number)


def go_on() -> None:
    to_graders(signal.SIGCONT)


def large_film() -> bytes:
    """A knee that takes long enough to read for a signal to come in between."""
    stream = io.BytesIO()
    with Image.open(KNEE) as knee:
        knee.convert("L").resize((3000, 3000)).save(stream, "TIFF")
    return stream.getvalue()


def settled(client: TestClient, url: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while (case := client.get(url).json())["state"] in ("waiting", "working"):
        assert time.monotonic() < deadline, case
        time.sleep(0.05)
    return dict(case)


def test_another_programs_lock_ends_no_grader(client: TestClient, app: Application) -> None:
    url = begun(client)
    with closing(sqlite3.connect(app.settings.store / "cases.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        go_on()
        assert "locked" in not_ready(client)
        answer = client.post("/api/v1/cases", files=parts([KNEE]))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert client.get(url).json()["state"] == "working"
        time.sleep(4)  # longer than a change waits for the lock
        other.rollback()
    assert settled(client, url)["state"] == "graded"
    until(client, lambda health: health["status"] == "ok")
    assert hand_in(client, KNEE)[0]["state"] == "graded"


def test_a_full_disk_ends_no_grader(
    client: TestClient, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = begun(client)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("kellgren.web.storage.blobs.os.fsync", full)
        go_on()
        assert "disk" in not_ready(client)
        assert client.post("/api/v1/cases", files=parts([KNEE])).status_code == 507
        assert client.get(url).json()["state"] == "working"
    assert settled(client, url)["state"] == "graded"
    assert list((app.settings.store / "contents" / "arriving").iterdir()) == []


def test_a_film_is_not_blamed_for_a_killed_grader(client: TestClient, app: Application) -> None:
    url = begun(client)
    to_graders(signal.SIGKILL)
    assert not_ready(client)
    case = settled(client, url)
    assert (case["state"], case["note"]) == ("graded", "")
    assert app.pool.failures > 0


def reader_of(client: TestClient, url: str) -> int:
    """The grader that reads a film, waited for."""
    while client.get(url).json()["state"] != "working" or not graders(os.getpid()):
        time.sleep(0.01)
    time.sleep(0.1)  # it begins to read the film a little later
    [grader] = graders(os.getpid())
    return grader


def test_a_film_that_ends_two_graders_fails(client: TestClient, app: Application) -> None:
    """By what a decoder's fault looks like; once could be anything."""
    failures = app.pool.failures
    url = hand_in(client, ("film.tiff", large_film()), wait=0)[0]["url"]
    for ended in (1, 2):
        os.kill(reader_of(client, url), signal.SIGSEGV)
        while app.pool.failures < failures + ended:  # a case waits too shortly to be seen waiting
            time.sleep(0.01)
    case = settled(client, url)
    assert case["state"] == "failed"
    assert "ended the grader" in case["note"]
    assert hand_in(client, KNEE)[0]["state"] == "graded"


def test_an_idle_grader_that_is_killed_is_missed(client: TestClient) -> None:
    to_graders(signal.SIGKILL)
    assert "grader" in not_ready(client)
    until(client, lambda health: health["status"] == "ok")


def test_no_exception_ends_a_graders_thread(
    client: TestClient, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def failing(**_: object) -> None:
        calls.append(1)
        raise RuntimeError("of no known kind")

    with monkeypatch.context() as patch:
        patch.setattr(app.store, "claim", failing)
        app.pool.wake()
        until(client, lambda _: len(calls) > 1)
    assert hand_in(client, KNEE)[0]["state"] == "graded"


def test_a_film_that_was_changed_on_the_disk_is_not_graded(
    client: TestClient, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(app.store, "claim", lambda **_: None)
        [case] = hand_in(client, ("film.png", KNEE.read_bytes() + b"once more"), wait=0)
        [(digest,)] = app.store.select("SELECT content FROM cases WHERE id = ?", (case["id"],))
        app.store.blobs.path(digest).write_bytes(b"another film")
    app.pool.wake()
    answered = settled(client, case["url"])
    assert answered["state"] == "failed"
    assert "changed on the disk" in answered["note"]


def test_a_case_deleted_while_it_is_read_blames_nobody(
    client: TestClient, app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    failures, url = app.pool.failures, begun(client)
    assert client.delete(url).status_code == 204
    go_on()
    assert hand_in(client, KNEE)[0]["state"] == "graded"
    assert app.pool.failures == failures
    assert "damaged" not in caplog.text


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_graders_have_no_secret_and_few_rights(client: TestClient) -> None:
    [grader] = graders(os.getpid())
    environment = Path(f"/proc/{grader}/environ").read_bytes()
    assert b"PATH=" in environment
    assert SECRET.encode() not in environment
    status = Path(f"/proc/{grader}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    limits = {
        line[:26].strip(): line[26:47].strip()
        for line in Path(f"/proc/{grader}/limits").read_text().splitlines()
    }
    assert limits["Max core file size"] == "0"
    assert int(limits["Max file size"]) < 2**30
    assert int(limits["Max open files"]) < 1024
    assert int(limits["Max address space"]) < 2**33


def test_a_process_that_cannot_be_started_is_no_trouble_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no python"))
    with pytest.raises(GraderFailed, match="could be started"):
        GraderProcess(None, 2**30)


def test_cases_that_nobody_answers_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "tiny").folder
    limits = Limits(case_seconds=0.1)
    monkeypatch.setattr("kellgren.web.api.server_routes._STALL_MARGIN_S", 0.1)
    app = Application(
        Settings(store=tmp_path / "store", hosts=HOSTS, workers=0, model=bundle, limits=limits)
    )
    with TestClient(app.asgi()) as client:
        assert client.get("/health").status_code == 200
        hand_in(client, KNEE, wait=0)
        time.sleep(0.3)
        health = client.get("/health")
    assert health.status_code == 503
    assert health.json()["oldest_waiting_seconds"] > 0.2
    assert "none is answered" in health.json()["detail"]
