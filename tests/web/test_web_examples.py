"""The examples in the API's description are answers of a real server.

KELLGREN_UPDATE_EXAMPLES=1 writes them anew.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from command_line import EXAMPLES
from kellgren.ensemble import Ensemble
from kellgren.explanation.similar import SimilarKnees
from kellgren.grading.bundle import default_bundle
from kellgren.web.api import schemas, study_records
from kellgren.web.app import Application
from kellgren.web.settings import Settings
from kellgren.web.storage.messages import Upload
from kellgren.web.workers.grader import read_case

STORED = Path(str(resources.files("kellgren.web"))) / "examples.json"
KNEE = EXAMPLES / "9177337R.png"
LATER = {"side_evidence", "joint_space"}  # version 0.1 had none
MODELS = {
    **{name: getattr(schemas, name) for name in ("Case", "Health", "About", "Session")},
    "SimilarList": schemas.SimilarList,
    **{name: getattr(study_records, name) for name in ("StudyWithResults", "ReaderWorklist")},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with the default model and one example knee, graded in this process."""
    store = tmp_path_factory.mktemp("server") / "store"
    application = Application(
        Settings(store=store, hosts=frozenset({"testserver"}), workers=0, keep_names=True)
    )
    received = application.store.blobs.receive(io.BytesIO(KNEE.read_bytes()))
    application.store.accept([Upload(*received, KNEE.name, "")], most_open=1)
    job = application.store.claim()
    assert job is not None
    ensemble = Ensemble.open(default_bundle(), threads=1)
    answer = read_case(ensemble, job, SimilarKnees.default())
    assert application.store.finish(job.id, answer)
    with TestClient(application.asgi()) as opened:
        yield opened


@pytest.fixture(scope="module")
def answers(client: TestClient) -> dict[str, Any]:
    """An answer of each kind."""
    [case] = client.get("/api/v1/cases").json()["cases"]
    new = {"name": "Pilot", "readers": ["Reader A", "Reader B"], "cases": [case["id"]]}
    study = client.post("/api/v1/studies", json=new).json()
    paths = []
    for reader, grade in zip(study["readers"], (4, 3), strict=True):
        paths.append(f"/api/v1/studies/{study['id']}/readers/{reader['id']}")
        [item] = client.get(paths[-1]).json()["items"]
        read = {"grade": grade, "seconds": 8.5, "comment": "osteophytes"}
        assert client.put(f"{paths[-1]}/reads/{item['item']}", json=read).status_code == 200
    return {
        "Case": client.get(case["url"]).json(),
        "Health": client.get("/health").json(),
        "About": client.get("/api/v1/about").json(),
        "Session": client.get("/api/v1/session").json(),
        "SimilarList": client.get(case["knees"][0]["similar"]).json(),
        "StudyWithResults": client.get(f"/api/v1/studies/{study['id']}").json(),
        "ReaderWorklist": client.get(paths[0]).json(),
    }


def shape(value: Any) -> Any:
    """Names, order and kinds of all values; not the values."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return type(value).__name__


def test_examples_have_the_shape_of_the_answers(answers: dict[str, Any]) -> None:
    if os.environ.get("KELLGREN_UPDATE_EXAMPLES"):
        STORED.write_text(json.dumps(answers, indent=1) + "\n", "utf-8")
    stored = json.loads(STORED.read_text("utf-8"))
    assert shape(stored) == shape(answers)
    assert [list(stored[name]) for name in stored] == [list(answers[name]) for name in answers]


def test_the_example_is_the_reading_of_the_example(answers: dict[str, Any]) -> None:
    stored = json.loads(STORED.read_text("utf-8"))
    example, reading = (one["Case"]["knees"][0]["reading"] for one in (stored, answers))
    assert example["probabilities"] == pytest.approx(reading["probabilities"], abs=1e-4)
    assert example["image"] == KNEE.name
    for key in ("side", "grade", "name", "certainty", "grade_set", "named", "model"):
        assert example[key] == reading[key], key


def test_the_description_shows_them(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    stored = json.loads(STORED.read_text("utf-8"))
    for name, model in MODELS.items():
        assert schemas[name]["examples"] == [stored[name]], name
        assert issubclass(model, BaseModel)
        assert model.model_validate(stored[name]).model_dump(mode="json") == stored[name], name
    assert set(MODELS) == set(stored)


def test_the_description_has_the_reading_whole(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    knee = schemas["Knee"]["properties"]["reading"]
    assert knee == {"$ref": "#/components/schemas/ReadingRecord"}
    reading = schemas["ReadingRecord"]
    assert reading["additionalProperties"] is False
    assert set(reading["required"]) == set(reading["properties"]) - LATER
    assert all("description" in field for field in reading["properties"].values())
    assert reading["properties"]["grade"] | {"description": ""} == {
        **{"type": "integer", "minimum": 0, "maximum": 4, "title": "Grade", "description": ""}
    }


def test_no_answer_is_left_undescribed(client: TestClient) -> None:
    """Every answer in JSON names its model, whose fields are all known."""
    description = client.get("/openapi.json").json()
    undescribed = []
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema")
                if schema is None or path.endswith((".json", ".csv")):
                    continue
                if "$ref" not in schema.get("items", schema):
                    undescribed.append(f"{method} {path} {status}: {schema}")
    assert undescribed == []
    open_ended = [
        name
        for name, schema in description["components"]["schemas"].items()
        if schema.get("additionalProperties") is True
    ]
    assert open_ended == []
