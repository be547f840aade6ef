"""Corrected margins over HTTP: kept, marked, in every export, and put back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bundle_factory import make_bundle
from command_line import EXAMPLES
from kellgren.ensemble import Ensemble
from kellgren.web.bodies import SMALL_BYTES
from kellgren.web.storage.messages import Upload
from kellgren.web.workers.grader import read_case
from web_room import opened

MEDIAL = 1  # of a right knee: on the picture's right


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Path]]:
    """One right knee, read in this process; the audit log beside it."""
    folder = tmp_path_factory.mktemp("room")
    bundle = make_bundle(folder / "tiny").folder
    application = opened(bundle, folder)
    knee = EXAMPLES / "9589486R.png"
    arrived = application.store.blobs.receive(io.BytesIO(knee.read_bytes()))
    application.store.accept([Upload(*arrived, knee.name, "")], most_open=1)
    job = application.store.claim()
    assert job is not None
    assert application.store.finish(job.id, read_case(Ensemble.open(bundle, threads=1), job))
    with TestClient(application.asgi()) as client:
        yield client, folder / "store" / "audit.log"


@pytest.fixture
def client(server: tuple[TestClient, Path]) -> Iterator[TestClient]:
    """What a test corrected is put back."""
    yield server[0]
    server[0].delete(path_of(server[0]))


def case_of(client: TestClient) -> dict[str, Any]:
    [case] = client.get("/api/v1/cases").json()["cases"]
    found: dict[str, Any] = case
    return found


def path_of(client: TestClient) -> str:
    return f"{case_of(client)['url']}/knees/1/joint-space"


def space_of(client: TestClient) -> dict[str, Any]:
    space: dict[str, Any] = case_of(client)["knees"][0]["reading"]["joint_space"]
    return space


def moved(space: dict[str, Any], pixels: float = -2.0, bone: str = "tibia") -> dict[str, Any]:
    """The whole medial margin of a bone, further down by some pixels."""
    points = [[x, y + pixels] for x, y in space["compartments"][MEDIAL][bone]["points"]]
    told = space["compartments"][MEDIAL][bone]["told"]
    margin = {"compartment": "medial", "bone": bone, "points": points, "told": told}
    return {"margins": [margin]}


def test_a_correction_is_kept_and_the_numbers_follow(client: TestClient) -> None:
    before, revision = space_of(client), case_of(client)["revision"]
    assert not before["corrected"]
    answer = client.put(path_of(client), json=moved(before))
    assert answer.status_code == 200
    now = space_of(client)
    assert now == answer.json()
    assert now["corrected"]
    assert case_of(client)["revision"] > revision
    medial, earlier = (space["compartments"][MEDIAL] for space in (now, before))
    assert medial["tibia"]["corrected"]
    assert medial["mean"]["ratio"] == pytest.approx(
        earlier["mean"]["ratio"] - 2 / before["condylar_width"], rel=0.1
    )
    assert medial["mean"]["ratio_uncertainty"] is None
    assert now["compartments"][0]["minimum"]["ratio"] == pytest.approx(
        before["compartments"][0]["minimum"]["ratio"], abs=2e-5
    )
    probabilities = case_of(client)["knees"][0]["reading"]["probabilities"]
    again = client.put(path_of(client), json=moved(before, 1.0, "femur")).json()
    femur, tibia = (again["compartments"][MEDIAL][bone] for bone in ("femur", "tibia"))
    assert (femur["corrected"], tibia["corrected"]) == (True, True)
    assert case_of(client)["knees"][0]["reading"]["probabilities"] == probabilities


def test_what_was_found_comes_back(client: TestClient) -> None:
    before = space_of(client)
    for pixels in (-1.0, -2.0):
        client.put(path_of(client), json=moved(before, pixels))
    answer = client.delete(path_of(client))
    assert (answer.status_code, answer.json()) == (200, before)
    assert space_of(client) == before
    assert client.delete(path_of(client)).json() == before  # nothing was corrected


def test_every_export_has_the_correction(client: TestClient) -> None:
    new = {"name": "Pilot", "readers": ["Reader A"], "cases": []}
    study = client.post("/api/v1/studies", json=new).json()
    corrected = client.put(path_of(client), json=moved(space_of(client))).json()
    url = case_of(client)["url"]

    ratio = f"{corrected['compartments'][MEDIAL]['minimum']['ratio']:.5f}"
    for table in (f"{url}/readings.csv", f"/api/v1/studies/{study['id']}/study.csv"):
        [row] = csv.DictReader(io.StringIO(client.get(table).text))
        assert (row["jsw_medial"], row["jsw_corrected"]) == (ratio, "yes"), table
        assert row["jsw_medial_sd"] == ""
    [reading] = client.get(f"{url}/readings.json").json()["readings"]
    assert reading["joint_space"] == corrected


def test_a_correction_that_cannot_be_is_refused(client: TestClient) -> None:
    before, path = space_of(client), path_of(client)
    correction = moved(before)
    [margin] = correction["margins"]
    far = [[x + 9999, y] for x, y in margin["points"]]
    for status, body in (
        (422, {"margins": []}),
        (422, {"margins": [margin] * 5}),
        (422, {"margins": [margin | {"bone": "patella"}]}),
        (422, {"margins": [margin | {"points": margin["points"][:1]}]}),
        (422, {"margins": [margin], "who": "me"}),
        (409, {"margins": [margin | {"points": far}]}),
        (409, {"margins": [margin | {"compartment": "left"}]}),
    ):
        assert client.put(path, json=body).status_code == status, body
    for other in (path.replace("knees/1", "knees/2"), path.replace(path[14:30], "A" * 16)):
        assert client.put(other, json=correction).status_code == 404
        assert client.delete(other).status_code == 404
    large = json.dumps(correction).encode() + b" " * SMALL_BYTES
    headers = {"Content-Type": "application/json"}
    assert client.put(path, content=large, headers=headers).status_code == 413
    assert space_of(client) == before


def test_the_audit_log_tells_of_corrections(server: tuple[TestClient, Path]) -> None:
    client, log = server
    client.put(path_of(client), json=moved(space_of(client)))
    client.delete(path_of(client))
    last = [json.loads(line) for line in log.read_text().splitlines()][-2:]
    assert [line["event"] for line in last] == ["joint space corrected", "joint space restored"]
    assert {line["case"] for line in last} == {case_of(client)["id"]}
