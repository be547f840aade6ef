"""No input makes a server error: each kind of trouble has its status and its sentence."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from test_storage import accept, answer

from command_line import EXAMPLES, PATIENCE
from kellgren.web.app import Application
from kellgren.web.workers.grader import NoRoom, dicom_report, read_case
from web_room import hand_in, opened, parts, reading_room

KNEE = EXAMPLES / "9511862L.png"
JSON = {"content-type": "application/json"}


@pytest.fixture
def app(bundle: Path, tmp_path: Path) -> Application:
    return opened(bundle, tmp_path)


@pytest.fixture
def client(app: Application) -> Iterator[TestClient]:
    with TestClient(app.asgi(), raise_server_exceptions=False) as one:
        yield one


@pytest.mark.parametrize(
    "body",
    [
        rb'{"name": "\ud800", "readers": ["a"]}',
        rb'{"name": "s", "readers": ["\udfff\ud800"]}',
        rb'{"name": "s", "readers": ["a"], "cases": ["\ud800"]}',
        b'{"name": "s", "readers": NaN}',
        b'{"name": Infinity, "readers": ["a"]}',
        b'{"name": "s", "readers": ["a"], "cases": [-Infinity]}',
        rb'{"\ud800": 1}',
        b"[" * 30_000,
        b'{"name": ' + b"9" * 30_000 + b"}",
        b"\xff\xfe",
        b"",
        b"NaN",
    ],
)
def test_odd_json_is_refused(client: TestClient, body: bytes) -> None:
    answered = client.post("/api/v1/studies", content=body, headers=JSON)
    assert answered.status_code in (400, 404, 422), answered.text
    assert answered.json()["detail"]


@pytest.mark.parametrize(
    "read",
    [
        b'{"grade": 1, "seconds": NaN}',
        b'{"grade": NaN, "seconds": 1}',
        rb'{"grade": 1, "seconds": 1, "comment": "\ud83d"}',
        b'{"grade": 1, "seconds": 1e999}',
    ],
)
def test_odd_reads_are_refused(client: TestClient, app: Application, read: bytes) -> None:
    case = accept(app.store, b"film")
    app.store.claim()
    app.store.finish(case, answer(2))
    study = client.post("/api/v1/studies", json={"name": "s", "readers": ["r"]}).json()
    path = f"/api/v1/studies/{study['id']}/readers/{study['readers'][0]['id']}"
    [item] = client.get(path).json()["items"]
    answered = client.put(f"{path}/reads/{item['item']}", content=read, headers=JSON)
    assert answered.status_code == 422, answered.text
    assert client.get(path).json()["items"][0]["read"] is None


def test_what_was_sent_is_not_sent_back(client: TestClient) -> None:
    odd = client.post("/api/v1/studies", json={"name": ["a patient"], "readers": ["r"]})
    assert odd.status_code == 422
    assert "a patient" not in odd.text


def test_a_report_whose_file_is_missing(client: TestClient, app: Application) -> None:
    case = accept(app.store, b"film")
    app.store.claim()
    app.store.finish(case, answer(2))
    assert client.get(f"/api/v1/cases/{case}/report.dcm").status_code == 200
    app.store.blobs.remove(hashlib.sha256(b"report").hexdigest())
    assert client.get(f"/api/v1/cases/{case}/report.dcm").status_code == 404


def test_a_case_that_cannot_be_read_says_so(client: TestClient, app: Application) -> None:
    case = accept(app.store, b"film")
    with app.store.transaction() as base:
        base.execute("UPDATE cases SET rows = '[1]'")
    answered = client.get(f"/api/v1/cases/{case}")
    assert answered.status_code == 409
    assert "Delete the case" in answered.json()["detail"]
    assert client.delete(f"/api/v1/cases/{case}").status_code == 204


def test_a_disk_that_is_full_while_a_film_arrives_is_507(
    client: TestClient, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = KNEE.read_bytes()

    def on_full_disk(dir: Path) -> tuple[int, str]:
        (dir / "full").touch()
        return os.open("/dev/full", os.O_WRONLY), str(dir / "full")

    monkeypatch.setattr(tempfile, "mkstemp", on_full_disk)
    answered = client.post("/api/v1/cases", files=parts([("a.png", film)]))
    assert answered.status_code == 507
    assert not any((app.store.blobs.folder / "arriving").iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full")  # films never come through there
    assert hand_in(client, ("a.png", film), wait=0)


def test_a_grader_without_a_temporary_folder_blames_no_film(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(app.store, KNEE.read_bytes())
    job = app.store.claim()
    assert job is not None
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full")
    with pytest.raises(NoRoom):
        read_case(None, job)  # type: ignore[arg-type]  # it does not come to the model
    app.store.close()


def test_a_film_deleted_before_its_report_is_no_crash(tmp_path: Path) -> None:
    assert dicom_report([None], tmp_path / "gone") is None  # type: ignore[list-item]


@pytest.mark.parametrize("sent", ["", "/knees"], ids=["proxy strips", "proxy keeps"])
def test_everything_lies_below_a_root_path(bundle: Path, tmp_path: Path, sent: str) -> None:
    """Whether the proxy hands the path on whole or without its beginning."""
    app = opened(bundle, tmp_path, root_path="/knees", token="a token of many letters")
    with TestClient(app.asgi()) as client:
        page = client.get(f"{sent}/cases/aaaaaaaaaaaaaaaa").text
        assert 'src="/knees/static/main.js"' in page
        assert '="/static' not in page
        assert client.get(f"{sent}/static/main.js").status_code == 200
        assert client.get(f"{sent}/health").status_code == 200
        assert client.get(f"{sent}/api/v1/cases").status_code == 401
        signed_in = client.post(f"{sent}/api/v1/session", json={"token": app.settings.token})
        assert "path=/knees;" in signed_in.headers["set-cookie"].lower()
        cookie = {"cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        [case] = client.post(f"{sent}/api/v1/cases", files=parts([KNEE]), headers=cookie).json()[
            "cases"
        ]
        app.store.claim()
        app.store.finish(case["id"], answer(2))
        url = f"{sent}/api/v1/cases/{case['id']}"
        found = client.get(url, headers=cookie).json()
        knee = found["knees"][0]
        for path in (found["url"], found["page"], found["report"], knee["picture"]):
            assert path.startswith("/knees/")
            below = path if sent else path.removeprefix("/knees")
            assert client.get(below, headers=cookie).status_code == 200, path
        described = client.get(f"{sent}/openapi.json", headers=cookie).json()
        assert described["servers"] == [{"url": "/knees"}]


def test_ctrl_c_ends_with_0_and_without_advice(bundle: Path, tmp_path: Path) -> None:
    with reading_room(tmp_path / "store", bundle, "--workers", "1", ready=False) as room:
        with room.client() as client:
            assert client.get("/health").status_code == 503  # no grader has its model yet
        room.process.send_signal(signal.SIGINT)
        assert room.process.wait(timeout=PATIENCE) == 0
        said = room.log.read_text()
    assert "--resume" not in said
    assert "Traceback" not in said
    if os.name == "posix":
        modes = {path: path.stat().st_mode & 0o077 for path in (tmp_path / "store").rglob("*")}
        assert {path: mode for path, mode in modes.items() if mode} == {}
