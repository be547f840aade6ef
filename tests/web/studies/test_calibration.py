"""Calibration of the server's bundle to a study's readers: estimate first, a bundle to download."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from bundle_factory import make_bundle
from command_line import EXAMPLES
from kellgren.ensemble import Ensemble
from kellgren.grading.bundle import open_bundle
from kellgren.web.app import Application
from kellgren.web.settings import Settings
from kellgren.web.storage.messages import Upload
from kellgren.web.workers.grader import read_case

KNEE = EXAMPLES / "9177337L.png"
KNEES = 40
SEVERITY = np.linspace(-5.0, 5.0, KNEES)


def _shares(severity: float) -> tuple[float, ...]:
    above = 1 / (1 + np.exp(-(severity - np.array([-1.0, 0.5, 2.0, 4.0]))))
    return tuple(float(p) for p in -np.diff([1.0, *above, 0.0]))


def _grade(severity: float) -> int:
    """Of a reader whose thresholds lie 2 higher than the model's."""
    return int((severity > np.array([1.0, 2.5, 4.0, 6.0])).sum())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A room with a knee of each of many patients, from none to severe."""
    folder = tmp_path_factory.mktemp("room")
    bundle = make_bundle(folder / "tiny").folder
    hosts = frozenset({"testserver"})
    server = Application(Settings(store=folder / "store", hosts=hosts, workers=0, model=bundle))
    ensemble, answer = Ensemble.open(bundle, threads=1), None
    for number in range(KNEES):
        arrived = server.store.blobs.receive(io.BytesIO(KNEE.read_bytes()))
        server.store.accept([Upload(*arrived, f"{9000000 + number}L.png", "")], most_open=999)
        job = server.store.claim()
        assert job is not None
        answer = answer or read_case(ensemble, job)
        shares = _shares(SEVERITY[number])
        changed = {"image": job.image, "probabilities": shares, "grade": int(np.argmax(shares))}
        rows = (answer.rows[0].model_copy(update=changed),)
        assert server.store.finish(job.id, replace(answer, rows=rows))
    with TestClient(server.asgi()) as opened:
        yield opened


def _made(client: TestClient, read: int = KNEES) -> str:
    """A study of which a reader has read some knees, and afterwards agrees with the model."""
    made = client.post("/api/v1/studies", json={"name": "Clinic", "readers": ["A"]}).json()
    path = f"/api/v1/studies/{made['id']}/readers/{made['readers'][0]['id']}"
    items = sorted(item["item"] for item in client.get(path).json()["items"])
    for item, severity in list(zip(items, SEVERITY, strict=True))[:read]:
        said = {"grade": _grade(severity), "seconds": 1.0}
        revealed = client.put(f"{path}/reads/{item}", json=said).json()
        said["grade"] = revealed["model"]["grade"]
        client.put(f"{path}/reads/{item}", json=said)
    return str(made["id"])


@pytest.fixture(scope="module")
def study(client: TestClient) -> str:
    return _made(client)


def test_the_estimate_comes_first_and_rests_on_blind_reads(client: TestClient, study: str) -> None:
    told = client.get(f"/api/v1/studies/{study}/calibration").json()

    assert (told["knees"], told["patients"], told["left_out"]) == (KNEES, KNEES, 0)
    assert told["problem"] is None
    assert told["calibrated"] is True
    accuracy = next(one for one in told["metrics"] if one["name"] == "accuracy")
    assert accuracy["after"] > accuracy["before"] + 0.1
    assert accuracy["difference"]["low"] > 0
    assert "other thresholds" in told["words"]


def test_the_bundle_is_downloaded_whole_and_the_server_keeps_its_own(
    client: TestClient, study: str, tmp_path: Path
) -> None:
    before = client.get("/api/v1/about").json()["model"]

    answer = client.get(
        f"/api/v1/studies/{study}/calibrated-bundle.zip",
        params={"name": "Clinic", "licence": "CC0"},
    )

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(tmp_path)
    local = open_bundle(tmp_path / "bundle").card.local_calibration
    assert local is not None
    assert (local.data.name, local.data.licence) == ("Clinic", "CC0")
    assert (local.data.credit, local.data.limits) == ("not stated", "not stated")
    assert local.data.knees == KNEES
    reading = Ensemble.open(tmp_path / "bundle").read(KNEE)[0]
    assert reading.model["local_calibration"].startswith("Clinic, ")
    assert client.get("/api/v1/about").json()["model"] == before


def test_too_few_reads_are_no_calibration(client: TestClient) -> None:
    study = _made(client, read=12)

    told = client.get(f"/api/v1/studies/{study}/calibration").json()

    assert (told["knees"], told["left_out"], told["calibrated"]) == (12, KNEES - 12, False)
    assert "12 graded knees" in told["problem"]
    path = f"/api/v1/studies/{study}/calibrated-bundle.zip"
    assert client.get(path, params={"name": "Clinic"}).status_code == 409
    assert client.get(path).status_code == 422


def test_no_study_no_calibration(client: TestClient) -> None:
    for path in ("calibration", "calibrated-bundle.zip?name=x"):
        assert client.get(f"/api/v1/studies/{'x' * 16}/{path}").status_code == 404
