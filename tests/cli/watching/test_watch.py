"""`kellgren watch`: its verdict as an exit code, what it writes, what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import EXAMPLES, kellgren
from kellgren.grades import Grade
from kellgren.grading.bundle import Bundle, open_bundle
from kellgren.reading_schema import GradedRow, ModelRecord
from kellgren.reading_tables import csv_text, json_text

KNEE = EXAMPLES / "9177337L.png"
Months = Callable[..., Path]


@pytest.fixture(scope="module")
def opened(bundle: Path) -> Bundle:
    return open_bundle(bundle)


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    monkeypatch.setenv("KELLGREN_MODEL", str(bundle))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def reading(opened: Bundle) -> GradedRow:
    from kellgren.ensemble import Ensemble

    return GradedRow.of(Ensemble(opened).read(KNEE)[0].record())


@pytest.fixture
def month(tmp_path: Path, reading: GradedRow) -> Months:
    """Readings of a month as `grade` writes them; both knees of each patient."""

    def make(
        name: str, seed: int, patients: int = 80, brighter: float = 0.0, checksum: str = ""
    ) -> Path:
        rng = np.random.default_rng(seed)
        told = []
        for number in range(2 * patients):
            share = rng.dirichlet((4, 2, 3, 1, 0.5)).round(6)
            share[0] = max(0.0, 1 - share[1:].sum())
            grade = Grade(int(share.argmax()))
            values = {"picture": rng.normal(1.2, 0.1), "exposure": rng.normal(0.5 + brighter, 0.05)}
            checks = [
                check.model_copy(update={"value": values.get(check.name)})
                for check in reading.checks
            ]
            changed = {
                "image": f"{name}{number // 2}/{number}.png",
                "patient": f"{Path(name).stem}{number // 2}",
                "grade": int(grade),
                "name": grade.label,
                "probabilities": tuple(float(p) for p in share),
                "checks": tuple(checks),
            }
            told.append(reading.model_copy(update=changed))
        model = reading.model
        if checksum:
            model = ModelRecord.model_validate(model.model_dump() | {"checksum": checksum})
        path = tmp_path / name
        path.write_text(csv_text(told) if path.suffix == ".csv" else json_text(told, model))
        return path

    return make


def test_a_month_like_the_one_before(month: Months, capsys: pytest.CaptureFixture[str]) -> None:
    assert kellgren("watch", month("may.csv", 1), "--reference", month("april.json", 2)) == 0
    told = capsys.readouterr().out
    assert "No change noticed" in told
    assert "One knee of each of 80 patients, against 80" in told


def test_brighter_films_end_with_one(
    month: Months, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "shift.json"
    april, may = month("april.csv", 2), month("may.json", 1, brighter=0.06)
    assert kellgren("watch", may, "--reference", april, "--json", result) == 1
    assert "look at detector" in capsys.readouterr().out
    told = json.loads(result.read_text())
    changed = {it["quantity"]: it["changed"] for it in told["quantities"]}
    assert changed == {
        **{"grade": False, "certainty": False, "gate_distance": False, "exposure": True}
    }
    assert told["changed"] is True
    assert (told["patients"], told["reference_patients"]) == (80, 80)


def test_page_and_picture_show_the_distributions(month: Months, tmp_path: Path) -> None:
    page, picture = tmp_path / "shift.html", tmp_path / "shift.png"
    april, may = month("april.csv", 2), month("may.csv", 1, brighter=0.06)
    told = ("--html", page, "--picture", picture)
    assert kellgren("watch", may, "--reference", april, *told) == 1
    text = page.read_text()
    assert "mean grey value of the knee: changed" in text
    assert "<b>changed</b>" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_kept_reference_compares_as_its_table_does(
    month: Months, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, april, may = tmp_path / "ours.json", month("april.json", 2), month("may.json", 1)
    assert kellgren("watch", april, "--write-reference", kept, "--data-name", "April") == 0
    assert "one knee of each of 80 patients" in capsys.readouterr().err
    results = []
    for reference in (kept, april):
        assert kellgren("watch", may, "--reference", reference, "--json", "-") == 0
        results.append(json.loads(capsys.readouterr().out))
    for one, other in zip(*(it["quantities"] for it in results), strict=True):
        assert one["p"] == pytest.approx(other["p"], abs=0.03)  # kept with four digits


def test_few_patients_are_refused(month: Months, capsys: pytest.CaptureFixture[str]) -> None:
    may = month("may.csv", 1, patients=49)
    assert kellgren("watch", may, "--reference", month("april.csv", 2)) == 2
    assert "too few: 49 patients to compare, at least 50" in capsys.readouterr().err


def test_patients_of_both_months_are_not_compared_with_themselves(
    month: Months, capsys: pytest.CaptureFixture[str]
) -> None:
    april = month("april.csv", 2)
    assert kellgren("watch", april, "--reference", april) == 2
    assert "0 patients in the reference that are not there now" in capsys.readouterr().err


def test_other_bundles_readings_are_not_compared(
    month: Months, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    may, april = month("may.json", 1), month("april.json", 2, checksum="1" * 64)
    assert kellgren("watch", may, "--reference", april) == 2
    assert "graded by another bundle" in capsys.readouterr().err
    assert kellgren("watch", may) == 2
    assert "brings no reference" in capsys.readouterr().err
    kept = tmp_path / "kept.json"
    assert kellgren("watch", may, "--write-reference", kept) == 0
    assert kellgren("watch", april, "--reference", kept) == 2
    assert "are by another bundle" in capsys.readouterr().err
    changed = json.loads(kept.read_text()) | {"grading": "2" * 64}
    kept.write_text(json.dumps(changed))
    assert kellgren("watch", may, "--reference", kept) == 2
    assert "made by another bundle" in capsys.readouterr().err


def test_pictures_are_graded_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.json"
    assert kellgren("watch", KNEE, "--write-reference", kept, "--workers", "1") == 0
    told = json.loads(kept.read_text())
    assert told["patients"] == len(told["gate_distance"]) == len(told["exposure"]) == 1


def test_what_is_read_is_never_written_over(month: Months) -> None:
    may = month("may.json", 1)
    before = may.read_bytes()
    assert kellgren("watch", may, "--write-reference", may) == 2
    assert may.read_bytes() == before


def test_nameless_knees_are_warned_of(
    tmp_path: Path, month: Months, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nameless.csv"
    rows = list(csv.reader(month("may.csv", 1).read_text().splitlines()))
    patient = rows[0].index("patient")
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(row[:patient] + row[patient + 1 :] for row in rows)
    assert kellgren("watch", path, "--reference", month("april.csv", 2)) == 0
    assert "nothing names the patient of 160 of 160 knees now" in capsys.readouterr().err
