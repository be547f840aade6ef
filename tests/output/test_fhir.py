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
from kellgren.joint_space.spacing import NONE_STATED
from kellgren.joint_space.telling.space_record import JointSpaceRecord
from kellgren.joint_space.widths import NOT_TOLD
from kellgren.output.dicom.vocabulary import SCHEME_UID
from kellgren.output.fhir import ObservationFile, observation
from kellgren.output.fhir_elements import SYSTEM
from kellgren.reading_schema import GradedRow, ReadingRow, UngradedRow
from made.joint_space import WHOLE_CROP, made_joint_space

KEY = "a key of more than sixteen characters"
ROW: dict[str, Any] = {
    "image": "9177337R.png",
    "side": "R",
    "grade": 3,
    "name": "moderate",
    "probabilities": [0.01, 0.02, 0.27, 0.6, 0.1],
    "certainty": "moderate",
    "named": True,
    "doubts": [],
    "right_share": 0.6,
    "grade_set": {"lowest": 2, "highest": 3, "level": 0.9, "coverage": 0.901},
    "disagreement": 0.02,
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
MEASURED = JointSpaceRecord.of(made_joint_space(), WHOLE_CROP)


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


def components(space: JointSpaceRecord | None) -> dict[str, Any]:
    """The components of an observation by their code."""
    row = GradedRow.model_validate(ROW | {"joint_space": space})
    return {one["code"]["coding"][0]["code"]: one for one in observation(row)["component"]}


def test_a_measured_joint_space_has_components_with_units() -> None:
    measured = components(MEASURED)
    assert measured["JSW-MIN-MEDIAL-MM"]["valueQuantity"] == {
        **{"value": 4.0, "unit": "mm", "system": "http://unitsofmeasure.org", "code": "mm"}
    }
    assert measured["JSW-MIN-MEDIAL-MM-SD"]["valueQuantity"]["value"] == 0.184
    assert measured["JSW-MEAN-LATERAL"]["valueQuantity"]["code"] == "{ratio}"
    assert measured["JSW-MEAN-LATERAL"]["valueQuantity"]["value"] == pytest.approx(
        12 / 184, abs=1e-5
    )
    assert measured["JLCA"]["valueQuantity"]["unit"] == "deg"
    assert measured["MARGINS"]["valueCodeableConcept"]["text"] == "Found by the software"
    assert not any(code.startswith(("JSW", "JLCA", "MARGINS")) for code in components(None))


def test_a_joint_space_that_is_not_measured_says_why() -> None:
    space = made_joint_space(mm_per_pixel=None, untold="medial")
    record = JointSpaceRecord.of(space, WHOLE_CROP)
    absent = components(record)["JSW-MIN-MEDIAL"]
    assert "valueQuantity" not in absent
    assert absent["dataAbsentReason"]["text"] == f"Not measured: {NOT_TOLD}"
    assert "JSW-MIN-LATERAL-MM" not in components(record)
    notes = [
        note["text"]
        for note in observation(GradedRow.model_validate(ROW | {"joint_space": record}))["note"]
    ]
    assert f"Joint space: {NONE_STATED}." in notes


def test_fhir_and_dicom_speak_of_the_same_scheme() -> None:
    assert f"urn:oid:{SCHEME_UID}" == SYSTEM


@pytest.mark.parametrize(
    "change",
    [
        *({}, {"side": "L"}, {"side": ""}, {"patient": ""}, {"warnings": []}, {"grade": 0}),
        {"joint_space": MEASURED},
        {"joint_space": JointSpaceRecord.of(made_joint_space(untold="medial"), WHOLE_CROP)},
    ],
    ids=lambda change: ", ".join(change),
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


REFUSED = UngradedRow(image="refused.png", side="", grade=None, note="shows no knee")


def written(rows: list[ReadingRow], target: Path) -> list[dict[str, Any]]:
    """The observations of a file, or of a folder's files."""
    with ObservationFile.at(target) as file:
        for row in rows:
            file.add(row)
    if target.suffix:
        return [entry["resource"] for entry in json.loads(target.read_text("utf-8"))["entry"]]
    return [json.loads(path.read_text("utf-8")) for path in sorted(target.glob("*"))]


@pytest.mark.parametrize("rows", [[], [REFUSED], [REFUSED, REFUSED]], ids=len)
def test_refused_knees_make_an_empty_bundle_and_no_file(
    tmp_path: Path, rows: list[ReadingRow]
) -> None:
    assert written(rows, tmp_path / "all.JSON") == []
    assert written(rows, tmp_path / "each") == []


def test_refused_knees_among_graded_ones_are_left_out(tmp_path: Path) -> None:
    knees = [GradedRow.model_validate(ROW | {"image": name}) for name in ("a.png", "b.png")]
    made = written([REFUSED, knees[0], REFUSED, knees[1]], tmp_path / "all.json")
    assert made == [observation(knee) for knee in knees]
    assert "refused.png" not in json.dumps(made)


def test_every_knee_has_an_identifier_of_its_own_that_stays(tmp_path: Path) -> None:
    """Both knees of one film whose sides are unknown differ in their number alone."""
    row = GradedRow.model_validate(ROW | {"side": ""})
    made = written([row, row], tmp_path / "each")
    assert len({one["id"] for one in made}) == len(made) == 2
    assert written([row, row], tmp_path / "each") == made
    model = ROW["model"] | {"checksum": "1" * 64}
    for change in ({"side": "L"}, {"image": "other.png"}, {"model": model}):
        changed = GradedRow.model_validate(ROW | {"side": ""} | change)
        assert observation(changed)["id"] not in {one["id"] for one in made}


def test_no_subject_without_a_pseudonym_and_no_path_in_any_element() -> None:
    for patient in ({"patient": ""}, {}):
        content = {key: value for key, value in ROW.items() if key != "patient"} | patient
        made = observation(GradedRow.model_validate(content | {"image": "/CANARY/film.png"}))
        assert "subject" not in made
        assert "CANARY" not in json.dumps(made)


@pytest.mark.parametrize("grade", range(5))
def test_grade_and_set_are_coded(grade: int) -> None:
    names = ("none", "doubtful", "minimal", "moderate", "severe")
    held = {"lowest": 0, "highest": grade, "level": 0.9, "coverage": 0.901}
    content = {"grade": grade, "name": names[grade], "grade_set": held}
    made = observation(GradedRow.model_validate(ROW | content))
    assert made["valueCodeableConcept"]["text"].endswith(f" {grade}: {names[grade]}")
    coded = {
        part["code"]["coding"][0]["code"]: part["valueCodeableConcept"]["coding"][0]["code"]
        for part in made["component"]
        if "valueCodeableConcept" in part
    }
    of_set = {"KL-LOW": "KL0", "KL-HIGH": f"KL{grade}"}
    assert coded == {"CERTAINTY": "C-MODERATE", **of_set, "KL-MOST": f"KL{grade}"}
    numbers = {
        part["code"]["coding"][0]["code"]: part["valueQuantity"]["value"]
        for part in made["component"][5:]
        if "valueQuantity" in part
    }
    measured = {"SET-LEVEL": 0.9, "SET-COVERAGE": 0.901}
    assert numbers == {**measured, "RIGHT-SHARE": 0.6, "DISAGREEMENT": 0.02}


def test_a_grade_that_is_not_named_is_absent_with_its_reason() -> None:
    doubts = ["the 90 % set holds 3 grades"]
    made = observation(GradedRow.model_validate(ROW | {"named": False, "doubts": doubts}))
    assert "valueCodeableConcept" not in made
    assert made["dataAbsentReason"]["text"] == "Not sure enough to name a grade"
    assert "Doubt: the 90 % set holds 3 grades." in [note["text"] for note in made["note"]]
    assert made["component"][-1]["valueCodeableConcept"]["coding"][0]["code"] == "KL3"


def test_what_nobody_measured_is_left_out() -> None:
    held = ROW["grade_set"] | {"coverage": None}  # type: ignore[operator]
    unmeasured = {"grade_set": held, "right_share": None, "disagreement": None}
    made = observation(GradedRow.model_validate(ROW | unmeasured))
    codes = [part["code"]["coding"][0]["code"] for part in made["component"]]
    assert not {"SET-COVERAGE", "RIGHT-SHARE", "DISAGREEMENT"} & set(codes)
    assert not any("held-out" in note["text"] for note in made["note"])
