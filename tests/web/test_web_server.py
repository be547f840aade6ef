"""The reading room as a real server: films in, the same readings out, nothing lost."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageOps
from pydicom import dcmread
from pydicom.dataset import Dataset

from command_line import EXAMPLES, PATIENCE, command, environment
from damaged_files import huge_claims, nested, small_knee
from dicom_factory import CANARY, dicom_bytes
from dicom_headers import CANARIES, CR, DX, SOURCE_UIDS, complete
from kellgren.ensemble import Ensemble
from kellgren.reading_tables import json_text
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.messages import Upload
from kellgren.web.workers.grader import read_case
from web_room import RunningServer, alive, children, hand_in, parts, reading_room, wait_until_ready

KNEES = sorted(EXAMPLES.glob("*.png"))
FEW = KNEES[:4]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def room(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("room")
    with reading_room(folder / "store", bundle, "--workers", "2") as opened:
        yield opened


@pytest.fixture
def client(room: RunningServer) -> Iterator[httpx.Client]:
    with room.client() as opened:
        yield opened


def by_command_line(bundle: Path, folder: Path, name: str, content: bytes) -> dict[str, bytes]:
    """What the command line says of a film: JSON by its output, CSV as a file."""
    (folder / name).write_bytes(content)
    table = folder / f"{name}.csv"
    words = command("grade", name, "--json", "-", "--csv", table, "--model", bundle)
    done = subprocess.run(
        [*words, "--workers", "1"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout, done.stderr
    return {"json": done.stdout, "csv": table.read_bytes()}


@pytest.mark.parametrize("content", [KNEES[0].read_bytes(), b"no picture"], ids=["knee", "text"])
def test_answers_are_those_of_the_command_line_byte_for_byte(
    client: httpx.Client, bundle: Path, tmp_path: Path, content: bytes
) -> None:
    [case] = hand_in(client, (KNEES[0].name, content))
    for kind, said in by_command_line(bundle, tmp_path, case["image"], content).items():
        assert client.get(f"{case['url']}/readings.{kind}").content == said


def test_every_answer_belongs_to_its_film(client: httpx.Client) -> None:
    alone = {knee.name: hand_in(client, knee)[0] for knee in FEW}
    together = hand_in(client, *FEW)
    for knee, case in zip(FEW, together, strict=True):
        known = alone[knee.name]["knees"][0]["reading"]
        assert case["state"] == "graded"
        assert case["knees"][0]["reading"]["probabilities"] == known["probabilities"]
        assert case["knees"][0]["reading"]["side"] == knee.stem[-1]
    assert len({case["id"] for case in [*alone.values(), *together]}) == 2 * len(FEW)


def test_pictures_are_pictures(client: httpx.Client) -> None:
    [case] = hand_in(client, KNEES[0])
    for kind in ("picture", "map", "overlay"):
        answer = client.get(case["knees"][0][kind])
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(PNG)
    assert client.get(f"{case['url']}/knees/2/picture.png").status_code == 404


def deep_knee() -> np.ndarray:
    """A real right knee, 12 bits in (H, W) uint16."""
    return np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16


def coded(report: Dataset) -> dict[str, str]:
    """Code of each question in a report's tree, and of its coded answer."""
    found = {}
    open_items = list(report.ContentSequence)
    while open_items:
        item = open_items.pop()
        open_items += getattr(item, "ContentSequence", [])
        if item.ValueType == "CODE":
            [question], [answer] = item.ConceptNameCodeSequence, item.ConceptCodeSequence
            found[question.CodeValue] = answer.CodeValue
    return found


@pytest.mark.parametrize("kind", [DX, CR])
def test_a_dicom_film_is_answered_with_a_structured_report(client: httpx.Client, kind: str) -> None:
    film = dicom_bytes(deep_knee(), bits=12, **complete(kind))
    [case] = hand_in(client, ("film.dcm", film))
    reading = case["knees"][0]["reading"]
    assert (case["state"], reading["side"], reading["mm_per_pixel"]) == ("graded", "R", 0.139)
    answer = client.get(case["report"])
    assert answer.headers["content-type"] == "application/dicom"
    report = dcmread(io.BytesIO(answer.content))
    assert report.Modality == "SR"
    assert report.PatientID == CANARIES["PatientID"]
    assert report.StudyInstanceUID == SOURCE_UIDS["StudyInstanceUID"]
    assert SOURCE_UIDS["SOPInstanceUID"] in str(report)
    assert coded(report)["KL"] == f"KL{reading['grade']}"
    # Only the report names the patient: it goes back into the archive that the film came from.
    text = client.get(f"{case['url']}/readings.json").text + str(case)
    assert not [word for word in CANARIES.values() if word in text]
    assert client.delete(case["url"]).status_code == 204
    assert client.get(case["report"]).status_code == 404


def test_what_no_archive_could_match_has_no_report(client: httpx.Client) -> None:
    nameless = {name: value for name, value in complete(DX).items() if name not in SOURCE_UIDS}
    film = dicom_bytes(deep_knee(), bits=12, **nameless)
    for case in hand_in(client, ("film.dcm", film), KNEES[0], ("text.dcm", b"no picture")):
        assert case["report"] is None
        assert client.get(f"{case['url']}/report.dcm").status_code == 404


def test_another_model_has_no_index_of_similar_knees(client: httpx.Client) -> None:
    [case] = hand_in(client, KNEES[0])
    found = client.get(case["knees"][0]["similar"]).json()
    assert found["knees"] == []
    assert found["note"] == "There is no index of similar knees for this model"
    assert client.get("/api/v1/similar/0.webp").content[8:12] == b"WEBP"
    assert client.get("/api/v1/similar/999999.webp").status_code == 404
    assert client.get("/api/v1/cases/aaaaaaaaaaaaaaaa/knees/1/similar").status_code == 404


def test_both_knees_of_a_patient_find_each_other(client: httpx.Client) -> None:
    left, right = EXAMPLES / "9177337L.png", EXAMPLES / "9177337R.png"
    [first] = hand_in(client, left)
    [second] = hand_in(client, right)
    assert first["id"] in second["companions"]
    assert second["image"][:12] == first["image"][:12]
    assert "9177337" not in second["image"]
    [stranger] = hand_in(client, EXAMPLES / "9637958L.png")
    assert not {first["id"], second["id"]} & set(stranger["companions"])


def test_the_list_is_filtered(client: httpx.Client) -> None:
    hand_in(client, *FEW, ("text.png", b"no picture"))
    everything = client.get("/api/v1/cases", params={"limit": 1000}).json()
    assert everything["total"] == len(everything["cases"]) == sum(everything["counts"].values())
    graded = [case for case in everything["cases"] if case["state"] == "graded"]
    grades = {knee["reading"]["grade"] for case in graded for knee in case["knees"]}
    for grade in grades:
        found = client.get("/api/v1/cases", params={"grade": grade, "limit": 1000}).json()
        assert found["cases"]
        for case in found["cases"]:
            assert grade in [knee["reading"]["grade"] for knee in case["knees"]]
    refused = client.get("/api/v1/cases", params={"refused": True}).json()["cases"]
    assert {case["state"] for case in refused} == {"refused"}
    assert client.get("/api/v1/cases?refused=true&state=graded").json()["total"] == 0
    after = {"after": everything["revision"]}
    assert client.get("/api/v1/cases", params=after).json()["cases"] == []
    hand_in(client, KNEES[0])
    assert len(client.get("/api/v1/cases", params=after).json()["cases"]) == 1


def test_delete_really_deletes(client: httpx.Client, room: RunningServer) -> None:
    store = room.log.with_suffix("") / "contents"
    content = unseen_knee()
    [kept], [case] = hand_in(client, ("a.png", content)), hand_in(client, ("b.png", content))
    paths = [knee[kind] for knee in case["knees"] for kind in ("picture", "map", "overlay")]
    assert all(client.get(path).status_code == 200 for path in paths)
    before = {path for path in store.rglob("*") if path.is_file()}

    assert client.delete(case["url"]).status_code == 204
    assert client.get(kept["knees"][0]["picture"]).status_code == 200
    assert client.delete(kept["url"]).status_code == 204
    for path in (case["url"], *paths, f"{case['url']}/readings.json"):
        assert client.get(path).status_code == 404
    assert client.delete(case["url"]).status_code == 404
    gone = before - {path for path in store.rglob("*") if path.is_file()}
    assert len(gone) >= 3  # the film, the knee, its sheet; an empty map may be another's too
    assert not any(path.read_bytes() == content for path in store.rglob("*") if path.is_file())
    base = b"".join(path.read_bytes() for path in store.parent.glob("cases.sqlite*"))
    assert case["id"].encode() not in base


def unseen_knee() -> bytes:
    """A knee whose file and pictures no other test has."""
    stream = io.BytesIO()
    ImageOps.flip(Image.open(KNEES[3])).save(stream, "PNG")
    return stream.getvalue()


def hazards() -> dict[str, bytes]:
    knee = dicom_bytes(small_knee())
    return {
        **huge_claims(),
        "nested.dcm": knee[:400] + nested(20_000, explicit_length=False),
        "empty.png": b"",
        "archive.zip": b"PK\x03\x04" + bytes(100),
        "polyglot.dcm": b"MZ" + bytes(126) + b"DICM" + bytes(50),
        "../../../../etc/passwd": b"root:x:0:0",
        "..\\..\\boot.ini": b"[boot]",
        "con\x00.png": b"\x89PNG\r\n\x1a\n",
        "<img src=x onerror=alert(1)>.png": b"GIF89a",
        "page.html": b"<script>alert(1)</script>",
    }


def test_hazards_get_their_status_and_message(client: httpx.Client, room: RunningServer) -> None:
    found = hazards()
    outside = set(room.log.parent.iterdir())
    cases = hand_in(client, *found.items(), ("sound.png", KNEES[0].read_bytes()))
    for name, case in zip(found, cases, strict=False):
        assert case["state"] == "refused", name
        assert case["note"].count(". ") >= 1, name
        assert case["seconds"] < 30
        assert client.get(f"{case['url']}/readings.csv").status_code == 200
    assert cases[-1]["state"] == "graded"
    assert set(room.log.parent.iterdir()) == outside
    counted = client.get("/metrics").text
    assert "kellgren_grader_deaths_total 0" in counted
    assert int(counted.partition("\nkellgren_not_graded_total ")[2].split()[0]) >= 1
    assert int(counted.partition("\nkellgren_reading_exposure_count ")[2].split()[0]) >= 1


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fgrades.py",
        "/api/v1/cases/..%2f..%2fcases.sqlite",
        "/api/v1/cases/aaaaaaaaaaaaaaaa/knees/1/..%2f..%2f.png",
        "/cases/../../etc/passwd",
        "//etc/passwd",
        "/static/%00",
    ],
)
def test_no_path_leads_outside(room: RunningServer, path: str) -> None:
    host = room.url.removeprefix("http://")
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=30) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split()[1] in (b"400", b"404", b"422", b"200")
    assert b"root:" not in answer
    assert b"annotations" not in answer
    assert answer.split()[1] != b"200" or b"<title>" in answer


def test_no_name_of_a_patient_is_anywhere(client: httpx.Client, room: RunningServer) -> None:
    """Not in answers, addresses, tables, pictures or the log; names of files included."""
    film = dicom_bytes(small_knee(), PatientName=CANARY, PatientID=CANARY, StudyDescription=CANARY)
    cases = hand_in(client, (f"{CANARY}.dcm", film), (f"{CANARY}.{CANARY}", b"no picture"))
    assert [case["state"] for case in cases] == ["graded", "refused"]
    paths = ["/api/v1/cases", "/metrics", "/health", "/", "/openapi.json"]
    for case in cases:
        paths += [case["url"], case["page"], f"{case['url']}/readings.json"]
        paths += [f"{case['url']}/readings.csv"]
        paths += [knee[kind] for knee in case["knees"] for kind in ("picture", "map", "overlay")]
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert CANARY.encode() not in answer.content, path
        assert CANARY not in str(answer.headers)
        assert CANARY not in path
    assert CANARY not in room.log.read_text()
    base = b"".join(path.read_bytes() for path in (room.log.with_suffix("")).glob("cases.sqlite*"))
    assert CANARY.encode() not in base


def test_names_are_kept_for_who_asks(bundle: Path, tmp_path: Path) -> None:
    store = CaseStore(tmp_path / "store", keep_names=True)
    arrived = store.blobs.receive(io.BytesIO(KNEES[3].read_bytes()))
    store.accept([Upload(*arrived, f"x/../{KNEES[3].name}\x00\u202e", "")], most_open=9)
    job = store.claim()
    assert job is not None
    assert job.image == KNEES[3].name
    assert KNEES[3].stem[:-1] not in job.file
    answer = read_case(Ensemble.open(bundle, threads=1), job)
    store.close()
    assert answer.model is not None
    table = json_text(answer.rows, answer.model).encode()
    content = KNEES[3].read_bytes()
    assert table == by_command_line(bundle, tmp_path, KNEES[3].name, content)["json"]


def test_a_grader_that_dies_costs_its_case_only(client: httpx.Client, room: RunningServer) -> None:
    """kill -9 of every grader while cases wait: each is answered, none hangs, new graders come."""
    answer = client.post("/api/v1/cases", files=parts(KNEES))
    urls = [case["url"] for case in answer.json()["cases"]]
    for grader in children(room.process.pid):
        os.kill(grader, signal.SIGKILL)
    states = [settled(client, url) for url in urls]
    assert set(states) <= {"graded", "failed"}
    assert states.count("graded") >= len(urls) - 2
    for url, state in zip(urls, states, strict=True):
        if state == "failed":
            assert "ended the grader" in client.get(url).json()["note"]
    assert hand_in(client, KNEES[0])[0]["state"] == "graded"


def settled(client: httpx.Client, url: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        state = str(client.get(url).json()["state"])
        if state not in ("waiting", "working"):
            return state
        time.sleep(0.05)
    raise AssertionError(f"{url} was never answered")


def test_kill_9_loses_no_case_and_answers_none_twice(bundle: Path, tmp_path: Path) -> None:
    accepted: dict[str, str] = {}
    for kills in range(2):
        with reading_room(tmp_path / "store", bundle, "--workers", "1", ready=False) as room:
            with room.client() as client:
                answer = client.post("/api/v1/cases", files=parts(FEW))
                for knee, case in zip(FEW, answer.json()["cases"], strict=True):
                    accepted[case["url"]] = knee.stem[-1]
                if kills:
                    settled(client, next(iter(accepted)))
            graders = children(room.process.pid)
            room.kill()
        deadline = time.monotonic() + PATIENCE
        while any(map(alive, graders)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with (
        reading_room(tmp_path / "store", bundle, "--workers", "2") as room,
        room.client() as client,
    ):
        for url, side in accepted.items():
            assert settled(client, url) == "graded"
            knees = client.get(url).json()["knees"]
            assert [knee["reading"]["side"] for knee in knees] == [side]
        counts = client.get("/api/v1/cases").json()["counts"]
    assert counts["graded"] == len(accepted) == 2 * len(FEW)


def test_slow_connections_starve_nobody(room: RunningServer, client: httpx.Client) -> None:
    host, _, port = room.url.removeprefix("http://").partition(":")
    head = f"POST /api/v1/cases HTTP/1.1\r\nHost: {host}:{port}\r\n".encode()
    body = b"Content-Type: multipart/form-data; boundary=y\r\nContent-Length: 100000\r\n\r\n--y"
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(200)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall(head + body if number % 2 else head)
        assert client.get("/health").status_code == 200
        for connection in slow:  # and did not wait for them to be cut off
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
        assert hand_in(client, KNEES[0])[0]["state"] == "graded"
    finally:
        for connection in slow:
            connection.close()


def test_many_clients_each_get_their_own_answer(room: RunningServer, client: httpx.Client) -> None:
    known = {knee: hand_in(client, knee)[0]["knees"][0]["reading"] for knee in FEW}

    def one(number: int) -> bool:
        knee = FEW[number % len(FEW)]
        with room.client() as own:
            [case] = hand_in(own, knee)
        expected = known[knee]
        reading = case["knees"][0]["reading"]
        return bool(reading["probabilities"] == expected["probabilities"])

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(16)))
    wait_until_ready(room)
