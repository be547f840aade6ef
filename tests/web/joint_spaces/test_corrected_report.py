"""The report of a case whose margins were corrected: a successor with the corrected numbers."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom import sr
from PIL import Image
from pydicom import Dataset, dcmread
from starlette.testclient import TestClient

from bundle_factory import make_bundle
from command_line import EXAMPLES
from dicom_factory import dicom_bytes
from dicom_headers import CANARIES, DX, complete
from kellgren.ensemble import Ensemble
from kellgren.output.dicom import vocabulary
from kellgren.web.storage.messages import Upload
from kellgren.web.workers.grader import read_case
from web_room import opened


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with one right knee as a DICOM film, read in this process."""
    folder = tmp_path_factory.mktemp("room")
    bundle = make_bundle(folder / "tiny").folder
    application = opened(bundle, folder)
    grey = np.asarray(Image.open(EXAMPLES / "9589486R.png")).astype(np.uint16) * 16
    film = dicom_bytes(grey, bits=12, **complete(DX))
    arrived = application.store.blobs.receive(io.BytesIO(film))
    application.store.accept([Upload(*arrived, "film.dcm", "")], most_open=1)
    job = application.store.claim()
    assert job is not None
    assert application.store.finish(job.id, read_case(Ensemble.open(bundle, threads=1), job))
    with TestClient(application.asgi()) as served:
        yield served


def case_of(client: TestClient) -> dict[str, Any]:
    [case] = client.get("/api/v1/cases").json()["cases"]
    found: dict[str, Any] = case
    return found


def corrected(client: TestClient, pixels: float) -> dict[str, Any]:
    """The joint space after its medial plateau was moved."""
    medial = case_of(client)["knees"][0]["reading"]["joint_space"]["compartments"][1]
    points = [[x, y + pixels] for x, y in medial["tibia"]["points"]]
    told = [True] * len(points)
    margin = {"compartment": "medial", "bone": "tibia", "points": points, "told": told}
    path = f"{case_of(client)['url']}/knees/1/joint-space"
    space: dict[str, Any] = client.put(path, json={"margins": [margin]}).json()
    return space


def report_of(client: TestClient) -> tuple[Dataset, bytes]:
    answer = client.get(case_of(client)["report"])
    assert answer.headers["content-type"] == "application/dicom"
    return dcmread(io.BytesIO(answer.content)), answer.content


def width_and_origin(report: Dataset) -> tuple[float, str]:
    """Of the medial compartment the minimum in millimetres, and whose margins they are."""
    [group] = sr.MeasurementReport.from_sequence([report]).get_image_measurement_groups()
    [width] = [
        float(one.value)
        for one in group.get_measurements(name=vocabulary.JOINT_SPACE_WIDTH)
        if one.unit.value == "mm"
        and one.derivation.meaning == "Minimum"
        and one.finding_sites[0].topographical_modifier.meaning == "Medial"
    ]
    [origin] = group.get_qualitative_evaluations(name=vocabulary.MARGINS)
    return width, origin.value.value


def test_the_report_of_a_corrected_case_has_the_corrected_numbers(
    client: TestClient, tmp_path: Path
) -> None:
    before, content = report_of(client)
    assert width_and_origin(before)[1] == "MARGINS-FOUND"
    space = corrected(client, -1.5)
    after, changed = report_of(client)

    minimum = space["compartments"][1]["minimum"]
    assert width_and_origin(after) == (pytest.approx(minimum["mm"], abs=2e-3), "MARGINS-HAND")
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID
    [study] = after.PredecessorDocumentsSequence
    [series] = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert {keyword: str(after[keyword].value) for keyword in CANARIES} == CANARIES
    told, untold = (
        sr.MeasurementReport.from_sequence([it]).get_planar_roi_measurement_groups()[0]
        for it in (before, after)
    )
    assert told == untold  # the grade is that of the film
    assert report_of(client)[0].SOPInstanceUID == after.SOPInstanceUID
    corrected(client, -0.5)
    assert report_of(client)[0].SOPInstanceUID != after.SOPInstanceUID
    client.delete(f"{case_of(client)['url']}/knees/1/joint-space")
    assert report_of(client)[1] == content

    if shutil.which("dciodvfy"):
        (tmp_path / "report.dcm").write_bytes(changed)
        done = subprocess.run(
            ["dciodvfy", tmp_path / "report.dcm"], capture_output=True, text=True, check=False
        )
        said = (done.stdout + done.stderr).splitlines()
        allowed = ("Comprehensive3DSR", "Warning - Unrecognized defined term <99KELLGREN>")
        assert [line for line in said if not line.startswith(allowed)] == []
