"""`kellgren calibrate`: what it writes, what it refuses, and what readings say afterwards."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren, rows
from kellgren.ensemble import Ensemble
from kellgren.grades import Grade
from kellgren.grading.bundle import Bundle, open_bundle
from kellgren.reading_schema import GradedRow, ModelRecord, ReadingsDocument
from kellgren.reading_tables import json_text

KNEE = EXAMPLES / "9177337L.png"
WORDS = "Elsewhere 2026, 120 knees of 60 patients"
Study = Callable[..., tuple[Path, Path]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.setenv("KELLGREN_MODEL", str(bundle.folder))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def reading(bundle: Bundle) -> GradedRow:
    return GradedRow.of(Ensemble(bundle).read(KNEE)[0].record())


@pytest.fixture
def study(tmp_path: Path, reading: GradedRow) -> Study:
    """Readings as `grade --json` writes them, and a table of labels by a stricter reader."""

    def make(count: int = 120, labels: str = "stricter") -> tuple[Path, Path]:
        rng = np.random.default_rng(4)
        severity = rng.normal(0.0, 2.2, count)
        above = 1 / (1 + np.exp(-(severity[:, None] - [-1.0, 0.5, 2.0, 4.0])))
        shares = np.hstack([np.ones((count, 1)), above]) - np.hstack([above, np.zeros((count, 1))])
        grades = ((severity + rng.logistic(0, 1, count))[:, None] > [1.0, 2.5, 4.0, 6.0]).sum(1)
        if labels == "noise":
            grades = rng.permutation(grades)
        told = []
        for number, share in enumerate(shares):
            grade = Grade(int(share.argmax()))
            changed = {
                "image": f"p{number // 2}-{number % 2}.png",
                "grade": int(grade),
                "name": grade.label,
                "probabilities": tuple(round(float(p), 6) for p in share),
            }
            told.append(reading.model_copy(update=changed))
        document, table = tmp_path / "readings.json", tmp_path / "local.csv"
        document.write_text(json_text(told, reading.model))
        with table.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["image", "patient", "grade"])
            for number, grade in enumerate(grades):
                writer.writerow([f"p{number // 2}-{number % 2}.png", f"p{number // 2}", grade])
        return document, table

    return make


def _calibrate(document: Path, table: Path, output: Path, *more: object) -> int:
    named = ("--data-name", "Elsewhere 2026", "--credit", "E. Lsewhere", "--licence", "CC0")
    return kellgren("calibrate", document, "--labels", table, "-o", output, *named, *more)


def test_a_bundle_is_written_that_names_the_local_data(
    study: Study, tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"

    options = ("--html", page, "--plots", tmp_path / "plots", "--limits", "no grade 4")
    assert _calibrate(*study(), tmp_path / "mine", *options) == 0

    said = capsys.readouterr().out
    assert "120 of 120 labelled knees were predicted" in said
    assert "as delivered" in said
    card = open_bundle(tmp_path / "mine").card
    local = card.local_calibration
    assert local is not None
    assert local.words == WORDS
    assert (local.data.credit, local.data.licence) == ("E. Lsewhere", "CC0")
    assert local.data.limits == "no grade 4"
    assert sum(local.data.of_grade) == 120
    assert local.bundle == f"{bundle.card.name} {bundle.checksum}"
    assert local.after["accuracy"]["value"] > local.before["accuracy"]["value"]
    assert min(local.shift.shifts) > 0.5
    assert card.grade_sets is not None
    assert card.grade_sets.at(0.9).measured.knees == 120
    assert card.members == bundle.card.members
    assert "Osteoarthritis Initiative" not in card.scale
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "Elsewhere 2026" in text
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"reliability-before-and-after.png", "accuracy-by-number-of-local-knees.png"}


def test_every_reading_says_that_it_is_calibrated(
    study: Study, tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    _calibrate(*study(), tmp_path / "mine")
    monkey = ("--model", tmp_path / "mine")
    table, document = tmp_path / "g.csv", tmp_path / "g.json"

    assert kellgren("grade", KNEE, "--csv", table, "--json", document, *monkey) == 0

    assert f"Calibrated to local readers: {WORDS}" in capsys.readouterr().out
    assert rows(table)[0]["local_calibration"] == WORDS
    assert json.loads(document.read_text())["model"]["local_calibration"] == WORDS
    reading = Ensemble.open(tmp_path / "mine").read(KNEE)[0]
    card = open_bundle(tmp_path / "mine").card
    assert card.local_calibration is not None
    expected = card.local_calibration.shift.apply(np.array(reading.alone))
    assert reading.probabilities == pytest.approx(tuple(expected))
    assert reading.alone == pytest.approx(Ensemble(bundle).read(KNEE)[0].alone)
    assert WORDS in reading._repr_html_()


def test_without_a_calibration_nothing_is_said_of_one(tmp_path: Path, reading: GradedRow) -> None:
    assert kellgren("grade", KNEE, "--csv", tmp_path / "g.csv") == 0
    assert "local_calibration" not in rows(tmp_path / "g.csv")[0]
    assert "local_calibration" not in reading.model.model_dump()


def test_noise_writes_no_bundle_and_says_so(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _calibrate(*study(labels="noise"), tmp_path / "mine") == 1

    said = capsys.readouterr()
    assert "The labels do not follow the model's order" in said.out
    assert "No bundle is written" in said.err
    assert not (tmp_path / "mine").exists()


def test_too_few_knees_are_refused(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _calibrate(*study(count=18), tmp_path / "mine") == 2
    assert "18 graded knees of 9 patients can be used, too few" in capsys.readouterr().err


def test_a_calibrated_bundle_is_not_calibrated_again(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, table = study()
    _calibrate(document, table, tmp_path / "mine")

    ended = _calibrate(document, table, tmp_path / "again", "--model", tmp_path / "mine")

    assert ended == 2
    assert "is calibrated to local readers already" in capsys.readouterr().err


def test_readings_of_another_bundle_are_refused(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_bundle(tmp_path / "models" / "other", seed=7)
    assert _calibrate(*study(), tmp_path / "mine", "--model", other.folder) == 2
    assert "was graded by another bundle" in capsys.readouterr().err.replace("\n", " ")


def test_a_full_folder_is_refused_before_anything_is_graded(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, table = study()
    assert _calibrate(document, table, tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err


def test_pictures_are_matched_by_name_and_others_are_not_graded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name in ("a.png", "b.png", "unlabelled.png"):
        shutil.copy(KNEE, films / name)
    table = tmp_path / "local.csv"
    table.write_text("image,patient,grade\na.jpg,p1,1\nelsewhere/b.png,p2,2\n")

    assert _calibrate(films, table, tmp_path / "mine") == 2

    assert "2 graded knees of 2 patients can be used" in capsys.readouterr().err


def test_a_film_of_both_knees_with_one_label_is_left_out(
    study: Study, reading: GradedRow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, table = study()
    read = ReadingsDocument.model_validate_json(document.read_bytes())
    both = [reading.model_copy(update={"image": "both.png", "side": side}) for side in ("R", "L")]
    told = [GradedRow.model_construct(**dict(row), model=read.model) for row in read.readings]
    document.write_text(json_text([*told, *both], reading.model))
    with table.open("a") as stream:
        stream.write("both.png,p-both,2\n")

    assert _calibrate(document, table, tmp_path / "mine") == 0

    said = capsys.readouterr()
    assert "both.png: shows two knees and its label names no side: left out" in said.err
    assert "120 of 121 labelled knees were predicted, 1 without a row" in said.out


def test_a_table_of_grades_is_no_list_of_pictures(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "grades.csv"
    assert kellgren("grade", KNEE, "--csv", table) == 0
    capsys.readouterr()
    assert _calibrate(table, study()[1], tmp_path / "mine") == 2
    assert "grades.csv is a table of grades; name the pictures" in capsys.readouterr().err


def test_the_document_is_what_grade_writes(study: Study, reading: GradedRow) -> None:
    read = ReadingsDocument.model_validate_json(study()[0].read_bytes())
    assert read.model == ModelRecord.model_validate(reading.model.model_dump())
