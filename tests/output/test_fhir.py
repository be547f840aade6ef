"""FHIR Observations: of the rows, and as an independent model of R4's resources has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from dicom_factory import write_dicom
from dicom_headers import DX, complete
from kellgren.grading.bundle import Bundle
from kellgren.output.dicom.vocabulary import SCHEME_UID
from kellgren.output.fhir import SYSTEM, observation
from kellgren.reading_schema import GradedRow

KEY = "a key of more than sixteen characters"
ROW: dict[str, Any] = {
    "image": "9177337R.png",
    "side": "R",
    "grade": 3,
    "name": "moderate",
    "probabilities": [0.01, 0.02, 0.27, 0.6, 0.1],
    "certainty": "moderate",
    "likely": [2, 3],
    "warnings": ["the file names no side"],
    "mm_per_pixel": None,
    "region": None,
    "read_with": None,
    "checks": [],
    "model": {
        **{"software": "kellgren 0.1.0", "name": "default", "checksum": "0" * 64},
        **{"engine": "onnxruntime", "precision": "fp32", "mirror": "off", "other_knee": "off"},
    },
    "note": "",
    "patient": "0123456789abcdef0123456789abcdef",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


def knee() -> np.ndarray:
    return np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16


def test_observations_are_of_the_rows(tmp_path: Path, bundle: Bundle) -> None:
    write_dicom(tmp_path / "film.dcm", knee(), bits=12, **complete(DX))
    given = ["grade", tmp_path / "film.dcm", "--model", bundle.folder, "--pseudonym", KEY]
    given += ["--json", tmp_path / "t.json"]

    assert kellgren(*given, "--fhir", tmp_path / "all.json") == 0
    assert kellgren(*given, "--fhir", tmp_path / "each") == 0

    (row,) = json.loads((tmp_path / "t.json").read_text())["readings"]
    collection = json.loads((tmp_path / "all.json").read_text())
    assert (collection["resourceType"], collection["type"]) == ("Bundle", "collection")
    (entry,) = collection["entry"]
    one = entry["resource"]
    (path,) = (tmp_path / "each").iterdir()
    assert json.loads(path.read_text()) == one
    assert path.stem == one["id"] == entry["fullUrl"].removeprefix("urn:uuid:")
    assert (one["resourceType"], one["status"]) == ("Observation", "preliminary")
    assert one["code"]["coding"][0]["code"] == "KL"
    assert one["valueCodeableConcept"]["coding"][0]["code"] == f"KL{row['grade']}"
    assert one["bodySite"]["coding"][0]["code"] == "6757004"
    assert one["subject"]["identifier"]["value"] == row["patient"]
    shares = [part["valueQuantity"]["value"] for part in one["component"][:5]]
    assert shares == row["probabilities"]
    assert "not a medical device" in one["note"][0]["text"]


def test_fhir_and_dicom_speak_of_the_same_scheme() -> None:
    assert f"urn:oid:{SCHEME_UID}" == SYSTEM


@pytest.mark.parametrize(
    "change",
    [{}, {"side": "L"}, {"side": ""}, {"patient": ""}, {"warnings": []}, {"grade": 0}],
    ids=str,
)
def test_an_observation_is_one_by_the_definition_of_others(change: dict[str, Any]) -> None:
    """R4B's definition, which is R4's for Observation and Bundle; unknown elements are errors."""
    resources = pytest.importorskip("fhir.resources.R4B")
    made = observation(GradedRow.model_validate(ROW | change))
    around = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": f"urn:uuid:{made['id']}", "resource": made}],
    }

    read = resources.get_fhir_model_class("Bundle").model_validate(around)

    assert json.loads(read.model_dump_json()) == around


@pytest.mark.parametrize(
    "broken",
    [
        {"bodysite": {}},
        {"code": {"coding": "KL"}},
        {"component": [{}]},
        {"subject": {"identifer": "x"}},
        {"valueQuantity": {"value": "three"}},
        {"id": "not a valid id"},
    ],
    ids=str,
)
def test_that_definition_refuses_what_is_wrong(broken: dict[str, Any]) -> None:
    resources = pytest.importorskip("fhir.resources.R4B")
    model = resources.get_fhir_model_class("Observation")
    model.model_validate(observation(GradedRow.model_validate(ROW)))
    with pytest.raises(ValueError, match="validation error"):
        model.model_validate(observation(GradedRow.model_validate(ROW)) | broken)
