"""Reading studies: blind until committed, first reads stay, agreement as scikit-learn has it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix
from starlette.testclient import TestClient

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from kellgren.data.manifest import index
from kellgren.ensemble import Ensemble
from kellgren.web.app import Application
from kellgren.web.settings import Settings
from kellgren.web.storage.messages import Upload
from kellgren.web.workers.grader import read_case

KNEES = sorted(EXAMPLES.glob("*.png"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A room whose ten examples were read in this process, so that no grader has to start."""
    folder = tmp_path_factory.mktemp("room")
    bundle = make_bundle(folder / "tiny").folder
    hosts = frozenset({"testserver"})
    server = Application(Settings(store=folder / "store", hosts=hosts, workers=0, model=bundle))
    ensemble = Ensemble.open(bundle, threads=1)
    for knee in KNEES:
        arrived = server.store.blobs.receive(io.BytesIO(knee.read_bytes()))
        server.store.accept([Upload(*arrived, knee.name, "")], most_open=99)
        job = server.store.claim()
        assert job is not None
        assert server.store.finish(job.id, read_case(ensemble, job))
    with TestClient(server.asgi()) as opened:
        yield opened


def made(client: TestClient, *readers: str) -> dict[str, Any]:
    answer = client.post("/api/v1/studies", json={"name": "Pilot", "readers": list(readers)})
    assert answer.status_code == 201, answer.text
    study: dict[str, Any] = answer.json()
    return study


def work(client: TestClient, study: dict[str, Any], reader: int) -> list[dict[str, Any]]:
    path = f"/api/v1/studies/{study['id']}/readers/{study['readers'][reader]['id']}"
    items: list[dict[str, Any]] = client.get(path).json()["items"]
    return items


def say(
    client: TestClient,
    study: dict[str, Any],
    reader: int,
    item: int,
    grade: int | None,
    comment: str = "",
) -> dict[str, Any]:
    path = f"/api/v1/studies/{study['id']}/readers/{study['readers'][reader]['id']}/reads/{item}"
    said = {"grade": grade, "seconds": 3.5, "comment": comment}
    answer = client.put(path, json=said)
    assert answer.status_code == 200, answer.text
    knee: dict[str, Any] = answer.json()
    return knee


def test_nothing_of_the_model_shows_before_a_grade_is_given(client: TestClient) -> None:
    study = made(client, "A")
    for knee in work(client, study, 0):
        assert knee["read"] is None
        assert knee["model"] is None
        assert set(knee) == {"item", "side", "picture", "read", "model"}
        assert client.get(knee["picture"]).headers["content-type"] == "image/png"
    first, *rest = work(client, study, 0)
    revealed = say(client, study, 0, first["item"], 2)
    assert revealed["model"]["grade"] in range(5)
    assert all(knee["model"] is None for knee in work(client, study, 0)[1:])
    assert len(rest) == len(KNEES) - 1


def test_the_first_read_stays(client: TestClient) -> None:
    study = made(client, "A")
    item = work(client, study, 0)[0]["item"]
    say(client, study, 0, item, 1, "unsure")
    say(client, study, 0, item, 3, "sure now")
    read = say(client, study, 0, item, None)["read"]
    assert (read["first"], read["final"], read["comment"]) == (1, None, "")
    assert work(client, study, 0)[0]["read"] == read


def test_readers_have_orders_of_their_own_that_last(client: TestClient) -> None:
    study = made(client, "A", "B", "C")
    orders = [[knee["item"] for knee in work(client, study, reader)] for reader in range(3)]
    assert len({tuple(order) for order in orders}) > 1
    assert len({frozenset(order) for order in orders}) == 1
    assert [knee["item"] for knee in work(client, study, 1)] == orders[1]


def test_agreement_is_that_of_scikit_learn(client: TestClient) -> None:
    study = made(client, "A", "B")
    items = sorted(knee["item"] for knee in work(client, study, 0))
    said = {0: [0, 1, 2, 3, 4, 0, 1, 2, 3, None], 1: [0, 1, 2, 4, 4, 1, 1, 2, 2, 3]}
    model = {}
    for reader, grades in said.items():
        for item, grade in zip(items, grades, strict=True):
            model[item] = say(client, study, reader, item, grade)["model"]["grade"]
    say(client, study, 0, items[0], 4)  # a revision does not change the blind read
    results = client.get(f"/api/v1/studies/{study['id']}").json()["results"]
    pairs = {(pair["a"], pair["b"]): pair for pair in results["pairs"]}
    columns = {"A": said[0], "B": said[1], "model": [model[item] for item in items]}
    assert set(pairs) == {("A", "B"), ("A", "model"), ("B", "model")}
    for (a, b), pair in pairs.items():
        both = [(x, y) for x, y in zip(columns[a], columns[b], strict=True) if None not in (x, y)]
        x, y = zip(*both, strict=True)
        assert pair["knees"] == len(both)
        expected = cohen_kappa_score(x, y, weights="quadratic", labels=range(5))
        assert pair["kappa"]["value"] == pytest.approx(expected)
        assert pair["confusion"] == confusion_matrix(x, y, labels=range(5)).tolist()
        assert (pair["kappa"]["low"], pair["kappa"]["high"]) == (None, None)
        assert pair["kappa"]["reason"] == f"too few knees: {len(both)}"
    assert results["readers"][0] | {"id": ""} == {
        **{"id": "", "name": "A", "read": 10, "median_seconds": 3.5},
        **{"revised": 1, "ungradable": 1},
    }
    differing = {one["item"] for one in results["differing"]}
    assert differing == {items[place] for place in (0, 3, 5, 8, 9)}


def test_the_table_is_a_manifest(client: TestClient, tmp_path: Path) -> None:
    study = made(client, "=A()", "B")
    items = [knee["item"] for knee in work(client, study, 0)]
    for place, item in enumerate(items):
        say(client, study, 0, item, 2, "=HYPERLINK()")
        say(client, study, 1, item, 2 if place else 3)
    settled = f"/api/v1/studies/{study['id']}/items/{items[0]}/settled"
    table = tmp_path / "study.csv"

    table.write_bytes(client.get(f"/api/v1/studies/{study['id']}/study.csv").content)
    assert sorted(str(knee.grade) for knee in index(table)) == ["2"] * 9 + ["None"]
    assert client.put(settled, json={"grade": 3}).status_code == 204
    table.write_bytes(client.get(f"/api/v1/studies/{study['id']}/study.csv").content)
    knees = index(table)
    assert sorted(int(knee.grade or 0) for knee in knees) == [2] * 9 + [3]
    assert len({knee.patient for knee in knees}) == len({path.stem[:-1] for path in KNEES})
    assert kellgren("data", "index", table, "-o", tmp_path / "knees.csv") == 0
    rows = list(csv.reader(io.StringIO(table.read_text())))
    assert not any(cell.startswith("=") for row in rows for cell in row)


def test_a_deleted_case_leaves_its_studies_and_a_deleted_study_its_cases(
    client: TestClient,
) -> None:
    study = made(client, "A")
    say(client, study, 0, work(client, study, 0)[0]["item"], 0)
    cases = client.get("/api/v1/cases").json()["cases"]
    assert client.delete(cases[0]["url"]).status_code == 204
    assert len(work(client, study, 0)) == len(cases) - 1
    assert client.delete(f"/api/v1/studies/{study['id']}").status_code == 204
    assert client.get(f"/api/v1/studies/{study['id']}").status_code == 404
    assert client.get("/api/v1/cases").json()["total"] == len(cases) - 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "", "readers": ["A"]},
        {"name": "x", "readers": []},
        {"name": "x", "readers": ["A", "A"]},
        {"name": "x", "readers": ["A", "\u202e"]},
        {"name": "x", "readers": ["model"]},
        {"name": "x" * 101, "readers": ["A"]},
    ],
)
def test_studies_that_are_none_are_refused(client: TestClient, wrong: dict[str, Any]) -> None:
    assert client.post("/api/v1/studies", json=wrong).status_code == 422
    missing = {"name": "x", "readers": ["A"], "cases": ["nowhere"]}
    assert client.post("/api/v1/studies", json=missing).status_code == 404
