"""One schema of readings: what `grade --json` writes is what the shipped JSON Schema describes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from bundle_factory import make_bundle
from command_line import EXAMPLES, ROOT, kellgren
from dicom_factory import write_dicom
from dicom_headers import DX, complete
from kellgren.ensemble import Ensemble
from kellgren.reading import KneeReading
from kellgren.reading_schema import READING_ROW, GradedRow

SHIPPED = ROOT / "docs" / "reference" / "readings.schema.json"
KEY = "a key of more than sixteen characters"


@pytest.fixture(scope="module")
def validator() -> Any:
    """An implementation of JSON Schema that knows nothing of the models."""
    return jsonschema_rs.validator_for(json.loads(SHIPPED.read_text("utf-8")))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny").folder


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, Any]:
    """Of the examples, a film of both knees, and a file that is refused."""
    folder = tmp_path_factory.mktemp("batch")
    refused = folder / "refused.png"
    refused.write_text("Dear colleague,\n")
    films = ROOT / "tests" / "frames" / "both.png"
    target = folder / "grades.json"
    given = ("grade", EXAMPLES, films, refused, "--model", model, "--json", target)
    assert kellgren(*given) == 1
    made: dict[str, Any] = json.loads(target.read_text("utf-8"))
    return made


def test_a_document_is_valid(validator: Any, document: dict[str, Any]) -> None:
    validator.validate(document)
    grades = [reading["grade"] for reading in document["readings"]]
    assert len(grades) == 10 + 2 + 1
    assert grades[-1] is None
    assert None not in grades[:-1]
    assert document["readings"][-2]["region"] is not None
    assert all("patient" not in reading for reading in document["readings"])
    assert all("joint_space" in reading for reading in document["readings"][:-1])


def test_a_document_with_pseudonyms_is_valid(validator: Any, model: Path, tmp_path: Path) -> None:
    knee = np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16
    write_dicom(tmp_path / "film.dcm", knee, bits=12, **complete(DX))
    (tmp_path / "refused.dcm").write_text("Dear colleague,\n")
    target = tmp_path / "grades.json"
    given = ("grade", tmp_path, "--model", model, "--pseudonym", KEY, "--json", target)
    assert kellgren(*given) == 1
    made = json.loads(target.read_text("utf-8"))
    validator.validate(made)
    patients = [reading["patient"] for reading in made["readings"]]
    assert len(patients[0]) == 32
    assert patients[1] == ""


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        (0, "grade", 5),
        (0, "grade", "2"),
        (0, "side", "left"),
        (0, "certainty", "sure"),
        (0, "probabilities", [1.0]),
        (0, "likely", [2, 3, 4]),
        (0, "note", "why"),
        (0, "patient", None),
        (0, "checks", [{"name": "view"}]),
        (0, "model", {}),
        (0, "unknown", 1),
        (-1, "grade", 0),
        (-1, "note", None),
    ],
)
def test_what_is_no_reading_is_invalid(
    validator: Any, document: dict[str, Any], place: int, key: str, value: object
) -> None:
    broken = json.loads(json.dumps(document))
    broken["readings"][place][key] = value
    assert not validator.is_valid(broken)


@pytest.mark.parametrize("place", [0, -1])
def test_no_field_of_a_reading_may_be_missing(
    validator: Any, document: dict[str, Any], place: int
) -> None:
    later = {"side_evidence", "joint_space"}  # 0.1 had none
    for key in document["readings"][place].keys() - later:
        broken = json.loads(json.dumps(document))
        del broken["readings"][place][key]
        assert not validator.is_valid(broken), key


def test_the_command_prints_the_shipped_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert kellgren("grade", "--schema") == 0
    assert capsys.readouterr().out == SHIPPED.read_text("utf-8")


def test_the_documented_example_is_what_the_command_writes(
    validator: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "reference" / "predictions.md").read_text("utf-8")
    told = json.loads(page.split("```json\n")[1].split("```")[0])
    validator.validate(told)
    monkeypatch.chdir(ROOT)
    files = ("examples/9177337R.png", "pyproject.toml")
    assert kellgren("grade", *files, "--joint-space", "off", "--json", "-") == 1
    written = json.loads(capsys.readouterr().out)
    assert unnumbered(told) == unnumbered(written), "run `python scripts/make_reference.py`"
    assert told["readings"][0]["probabilities"] == pytest.approx(
        written["readings"][0]["probabilities"], abs=0.002
    )


def unnumbered(value: Any) -> Any:
    """A document without its fractions, whose last digits are the processor's."""
    if isinstance(value, dict):
        return {key: unnumbered(part) for key, part in value.items()}
    if isinstance(value, list):
        return [unnumbered(part) for part in value]
    if isinstance(value, str):
        return re.sub(r"\d+\.\d+", "", value)
    return None if isinstance(value, float) else value


@pytest.fixture(scope="module")
def reading(model: Path) -> KneeReading:
    return Ensemble.open(model, threads=1).read(EXAMPLES / "9177337R.png")[0]


def test_a_row_comes_back_from_json_as_it_was(reading: KneeReading) -> None:
    row = GradedRow.of(reading.record())
    named = row.model_copy(update={"patient": ""})
    for one in (row, named):
        line = json.dumps(one.model_dump(mode="json"))
        again = READING_ROW.validate_python(json.loads(line))
        assert again == one
        assert again.model_dump(mode="json") == json.loads(line)
    assert "patient" not in row.model_dump(mode="json")
    assert named.model_dump(mode="json")["patient"] == ""
    assert row.reading == reading.record()


def test_a_reading_outside_the_schema_is_not_written(reading: KneeReading) -> None:
    unknown = KneeReading(**{**vars(reading), "model": reading.model | {"engine": "foo"}})
    with pytest.raises(ValidationError, match="engine"):
        unknown.to_dict()
