"""A joint that is refused is kept, served and deleted as a graded one is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from kellgren.ensemble import Ensemble
from kellgren.imaging.radiograph import read_radiograph
from kellgren.web.app import Application
from kellgren.web.settings import Settings
from kellgren.web.storage.messages import (
    GRADER_MESSAGE,
    AnswerHeader,
    InvalidMessage,
    Upload,
    decoded_answer,
    encoded_answer,
)
from kellgren.web.workers.grader import read_case

BOTH = Path(__file__).parents[1] / "frames" / "both.png"


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """A server with one film, whose right knee has no joint line any more."""
    made = Application(
        Settings(
            store=tmp_path_factory.mktemp("server") / "store",
            hosts=frozenset({"testserver"}),
            workers=0,
        )
    )
    pixels = read_radiograph(BOTH).pixels.copy()
    part = Image.fromarray(pixels[:, 60:290])
    pixels[:, 60:290] = np.asarray(part.resize((8, 5), Image.Resampling.BOX).resize(part.size))
    stream = io.BytesIO()
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(stream, "PNG")
    received = made.store.blobs.receive(io.BytesIO(stream.getvalue()))
    made.store.accept([Upload(*received, "film.png", "")], most_open=1)
    job = made.store.claim()
    assert job is not None
    sent = encoded_answer(read_case(Ensemble.default(threads=1), job))
    line, _, files = sent.partition(b"\n")
    header = GRADER_MESSAGE.validate_json(line)
    assert isinstance(header, AnswerHeader)
    assert len(header.sizes) == 4  # picture, map and overlay of one knee, picture of one joint
    cuts = np.cumsum([0, *header.sizes])
    parts = [files[a:b] for a, b in pairwise(cuts)]
    with pytest.raises(InvalidMessage):
        decoded_answer(header, parts[:-1])
    assert made.store.finish(job.id, decoded_answer(header, parts))
    yield made
    made.store.close()


def test_a_refused_joint_is_served_and_deleted(application: Application) -> None:
    client = TestClient(application.asgi())
    [case] = client.get("/api/v1/cases").json()["cases"]

    assert len(case["knees"]) == 1
    [refused] = case["refused"]
    assert refused["note"].startswith("is refused")
    assert refused["region"]["centre"][0] < 320
    assert "refused" in {check["verdict"] for check in refused["checks"]}
    answer = client.get(refused["picture"])
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size[0] == pytest.approx(refused["region"]["width"], abs=1)
    assert client.get(refused["picture"].replace("/refused/1", "/refused/2")).status_code == 404
    counts = client.get(f"{case['url']}/readings.json").json()["counts"]
    assert counts == {"files": 1, "graded": 1, "not_graded": 1}

    assert application.store.blobs.digests()
    assert client.delete(case["url"]).status_code == 204
    assert list(application.store.blobs.digests()) == []
