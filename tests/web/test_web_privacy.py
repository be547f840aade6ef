"""Privacy at rest: what is deleted is gone, what is old goes, and the audit log names nobody."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from test_storage import accept, answer

from kellgren.web.app import Application
from web_room import hand_in, opened

CANARY = "Zyxwvut Mustermann"
DAY_S = 86_400


@pytest.fixture
def app(bundle: Path, tmp_path: Path) -> Application:
    return opened(bundle, tmp_path)


@pytest.fixture
def client(app: Application) -> Iterator[TestClient]:
    with TestClient(app.asgi()) as one:
        yield one


def answered(app: Application, film: bytes, size: int = 10) -> str:
    identifier = accept(app.store, film.ljust(size, b"."))
    while (job := app.store.claim()) is not None:
        app.store.finish(job.id, answer(2, name=film))
    return identifier


def age(app: Application, identifier: str, days: float) -> None:
    with app.store.transaction() as base:
        base.execute(
            "UPDATE cases SET created = ? WHERE id = ?", (time.time() - days * DAY_S, identifier)
        )


def on_disk(app: Application) -> bytes:
    files = app.settings.store.glob("cases.sqlite*")
    return b"".join(path.read_bytes() for path in files)


def audit(app: Application) -> list[dict[str, Any]]:
    lines = (app.settings.store / "audit.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_names_and_comments_of_a_study_are_gone(client: TestClient, app: Application) -> None:
    answered(app, b"film")
    new = {"name": f"Study of {CANARY}", "readers": [f"Dr {CANARY}"]}
    study = client.post("/api/v1/studies", json=new).json()
    path = f"/api/v1/studies/{study['id']}/readers/{study['readers'][0]['id']}"
    [item] = client.get(path).json()["items"]
    read = {"grade": 1, "seconds": 2.0, "comment": f"looks like {CANARY}"}
    assert client.put(f"{path}/reads/{item['item']}", json=read).status_code == 200
    assert on_disk(app).count(CANARY.encode()) >= 3
    assert client.delete(f"/api/v1/studies/{study['id']}").status_code == 204
    assert CANARY.encode() not in on_disk(app)
    assert CANARY not in str(audit(app))


def test_a_comment_goes_with_its_case(client: TestClient, app: Application) -> None:
    case = answered(app, b"film")
    study = client.post("/api/v1/studies", json={"name": "s", "readers": ["r"]}).json()
    path = f"/api/v1/studies/{study['id']}/readers/{study['readers'][0]['id']}"
    [item] = client.get(path).json()["items"]
    read = {"grade": 1, "seconds": 2.0, "comment": CANARY}
    client.put(f"{path}/reads/{item['item']}", json=read)
    assert client.delete(f"/api/v1/cases/{case}").status_code == 204
    assert CANARY.encode() not in on_disk(app)


def test_a_deletion_says_what_it_could_not_remove(client: TestClient, app: Application) -> None:
    """Another program reads the database: the log of changes keeps the rows until it ends."""
    case = answered(app, b"film")
    with closing(sqlite3.connect(app.settings.store / "cases.sqlite")) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM cases").fetchall()
        deleted = client.delete(f"/api/v1/cases/{case}")
        assert deleted.status_code == 202
        assert "still holds" in deleted.json()["detail"]
        assert case.encode() in on_disk(app)
        app.housekeeper.tidy()
        assert case.encode() in on_disk(app)
    app.housekeeper.tidy()
    assert case.encode() not in on_disk(app)


def test_old_cases_are_deleted_and_said(bundle: Path, tmp_path: Path) -> None:
    app = opened(bundle, tmp_path, keep_days=30)
    old, young = answered(app, b"old"), answered(app, b"young")
    waiting = accept(app.store, b"waits")
    stray = app.settings.store / "quarantine" / "film"
    stray.parent.mkdir()
    stray.write_bytes(b"of nobody")
    for identifier in (old, waiting):
        age(app, identifier, 31)
    age(app, young, 29)
    app.housekeeper.tidy()
    assert app.store.case(old) is None
    assert app.store.case(young) is not None
    assert app.store.case(waiting) is not None
    assert stray.exists()  # put there today
    [line] = audit(app)
    assert (line["event"], line["case"], line["why"]) == ("case deleted", old, "keep-days")
    app.store.close()


def test_the_oldest_answered_cases_make_room(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = opened(bundle, tmp_path, max_bytes=40_000)
    first, second = answered(app, b"1", 15_000), answered(app, b"2", 15_000)
    with TestClient(app.asgi()) as client:
        [third] = hand_in(client, ("3.png", bytes(15_000)), wait=0)
        assert app.store.case(first) is None
        assert app.store.case(second) is not None
        assert first in caplog.text
        assert [line["why"] for line in audit(app) if line["event"] == "case deleted"] == ["max-gb"]
        study = client.post("/api/v1/studies", json={"name": "s", "readers": ["r"]})
        assert study.status_code == 201
        # What waits or is part of a study is not deleted: then there is no room.
        full = client.post("/api/v1/cases", files=[("files", ("4.png", bytes(15_001)))])
        assert full.status_code == 507
        assert app.store.case(second) is not None
        assert app.store.case(third["id"]) is not None
        assert list((app.store.blobs.folder / "arriving").iterdir()) == []


def test_the_audit_log_says_who_did_what(client: TestClient, app: Application) -> None:
    [case] = hand_in(client, (f"{CANARY}.png", CANARY.encode()), wait=0)
    client.delete(case["url"])
    events = [line["event"] for line in audit(app)]
    assert events == ["started", "cases accepted", "case deleted"]
    for line in audit(app):
        assert {"time", "event", "who"} <= line.keys()
    assert audit(app)[1]["cases"] == [case["id"]]
    assert audit(app)[2] | {"time": ""} == {
        **{"time": "", "event": "case deleted", "who": "anyone at testclient"},
        **{"case": case["id"], "why": "asked for"},
    }
    assert CANARY not in str(audit(app))


def test_the_audit_log_is_put_aside_not_cut(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kellgren.web.storage.audit_log.LARGEST_BYTES", 1000)
    for number in range(50):
        app.audit.write("event", "somebody", number=number)
    logs = sorted(app.settings.store.glob("audit*.log"))
    assert len(logs) > 3
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    assert sorted(line["number"] for line in lines) == list(range(50))
    app.store.close()


def test_floods_of_wrong_tokens_do_not_fill_the_disk(app: Application) -> None:
    for number in range(1000):
        app.audit.write_refusal("wrong token", f"unknown at 192.0.2.{number % 256}")
    assert len(audit(app)) <= 2 * 60 + 1
    app.store.close()


def test_an_audit_log_that_cannot_be_written_stops_nobody(
    client: TestClient, app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    app.audit.path.unlink()
    app.audit.path.mkdir()
    [case] = hand_in(client, ("a.png", b"film"), wait=0)
    assert client.delete(case["url"]).status_code == 204
    assert "the audit log lacks a line" in caplog.text
    app.audit.path.rmdir()
