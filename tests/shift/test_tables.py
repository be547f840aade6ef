"""The knees that are watched, from tables, documents and rows; references kept as files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bundle_factory import make_bundle
from kellgren.errors import InvalidOption, InvalidPredictions
from kellgren.grading.bundle import default_bundle, open_bundle
from kellgren.grading.card_parts.one_look import Difference, OneLook
from kellgren.shift.reference import (
    grading_checksum,
    is_reference,
    packaged_reference,
    read_reference,
    reference_of,
    write_reference,
)
from kellgren.shift.sample import WatchedKnees, one_per_patient
from kellgren.shift.tables import read_watched

HEAD = "image,side,grade,p0,p1,p2,p3,p4,gate_distance,exposure,note,patient\n"
SHARES = "0.1,0.2,0.6,0.1,0.0"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "readings.csv"
    path.write_text(
        HEAD
        + f"9000001L.jpg,L,2,{SHARES},1.2,0.61,,\n"
        + f"9000001R.jpg,R,2,{SHARES},1.3,0.62,,\n"
        + f"film.dcm,L,2,{SHARES},,,,abc\n"
        + f"IMG_1.png,,,{SHARES},1.4,0.5,not sure enough to name a grade,\n"
        + "other.png,,,,,,,,,,no knee,\n"
    )
    return path


def test_patients_are_those_stated_or_those_of_the_names(table: Path) -> None:
    knees, model = read_watched(table)
    assert model is None
    assert knees.patients == ("9000001", "9000001", "abc")
    assert (knees.refused, knees.nameless) == (2, 0)
    assert knees.values["certainty"] == pytest.approx([0.6] * 3)
    assert knees.values["gate_distance"][:2] == pytest.approx([1.2, 1.3])
    assert math.isnan(knees.values["exposure"][2])


def test_a_grade_that_is_not_named_is_watched_too(table: Path) -> None:
    text = table.read_text().replace(",patient\n", ",patient,most_probable\n")
    lines = [line + ("," if place != 4 else ",2") for place, line in enumerate(text.split("\n"))]
    table.write_text("\n".join([text.split("\n")[0], *lines[1:-1]]) + "\n")
    knees, _ = read_watched(table)
    assert knees.patients == ("9000001", "9000001", "abc", "IMG_1.png")
    assert (knees.refused, knees.nameless) == (1, 1)


def test_tables_before_the_two_columns_have_grades_and_certainty(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text(f"image,grade,p0,p1,p2,p3,p4\na.png,2,{SHARES}\n")
    knees, _ = read_watched(path)
    sample = one_per_patient(knees)
    assert sample.values["grade"].tolist() == [2.0]
    assert len(sample.values["exposure"]) == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HEAD + f"a.png,L,2,{SHARES},near,0.6,,\n", "row 2: gate_distance is 'near'"),
        (HEAD + f"a.png,L,2,{SHARES},1.2,inf,,\n", "row 2: exposure is 'inf'"),
        ("image,grade\na.png,2\n", "has no probabilities"),
    ],
)
def test_tables_that_cannot_be_watched_say_why(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InvalidPredictions, match=found):
        read_watched(path)


def test_no_document_of_readings(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text("{}")
    with pytest.raises(InvalidPredictions, match="no document of kellgren grade --json"):
        read_watched(path)


def test_one_knee_of_each_patient_whichever(table: Path) -> None:
    knees, _ = read_watched(table)
    drawn = {tuple(one_per_patient(knees, seed=it).values["gate_distance"]) for it in range(20)}
    assert drawn == {(1.2,), (1.3,)}
    assert one_per_patient(knees).patients == 2
    assert one_per_patient(knees, most=1).patients == 1
    assert one_per_patient(knees.without(["abc"])).patients == 1


def test_a_reference_keeps_the_sample_and_no_name(tmp_path: Path, bundle: Path) -> None:
    card = open_bundle(bundle).card
    rng = np.random.default_rng(0)
    columns = (rng.integers(0, 5, 90).astype(float), *rng.random((3, 90)))
    keys = ("grade", "certainty", "gate_distance", "exposure")
    names = tuple(f"Doe{number // 2}" for number in range(90))
    knees = WatchedKnees(names, dict(zip(keys, columns, strict=True)))
    path = tmp_path / "reference.json"
    write_reference(reference_of(knees, card, "ours"), path)
    assert is_reference(path)
    kept, sample = read_reference(path), one_per_patient(knees)
    assert "Doe" not in path.read_text()
    assert (kept.knees, kept.patients, kept.grading) == ("ours", 45, grading_checksum(card))
    for key in keys:
        assert kept.sample.values[key] == pytest.approx(sample.values[key], abs=6e-5)


def test_a_damaged_reference_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    path.write_text(json.dumps({"grading": "0" * 64, "patients": 3}))
    with pytest.raises(InvalidOption, match="no reference of shifts"):
        read_reference(path)


def test_the_package_s_reference_is_of_the_default_bundle_alone(bundle: Path) -> None:
    found = packaged_reference(open_bundle(default_bundle()).card)
    assert found is not None, "the default bundle changed: make models/shift_reference.json anew"
    assert found.patients == len(found.sample.values["exposure"]) >= 300
    assert packaged_reference(open_bundle(bundle).card) is None


def test_what_decides_grades_decides_the_checksum(bundle: Path, tmp_path: Path) -> None:
    card = open_bundle(bundle).card
    assert grading_checksum(card.model_copy(update={"intended_use": "-"})) == grading_checksum(card)
    other = card.combiner.model_copy(update={"temperature": card.combiner.temperature + 0.1})
    assert grading_checksum(card.model_copy(update={"combiner": other})) != grading_checksum(card)
    assert grading_checksum(make_bundle(tmp_path / "b", seed=5).card) != grading_checksum(card)
    none = Difference(value=0.0, low=-0.004, high=0.004)
    found = OneLook(knees=9, patients=9, accuracy=none, qwk=none, log_loss=none)
    once = card.model_copy(update={"one_look": found})
    assert grading_checksum(once) != grading_checksum(card)
