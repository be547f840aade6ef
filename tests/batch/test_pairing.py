"""Both knees of a patient: found by name, read together in any order, alone where they must."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren, rows
from kellgren.batch.batch import grade_files
from kellgren.batch.journal import Journal
from kellgren.ensemble import Ensemble
from kellgren.grades import Side
from kellgren.grading.contralateral import BothKnees
from kellgren.reading_schema import ModelRecord, ReadingRow
from made.batches import grade_batch, in_pairs

BOTH = BothKnees(sharpness=1.1, agreement=3.0, bias=(0.1, 0.0, -0.1, 0.0, 0.0))
KNEES = sorted(EXAMPLES.glob("*.png"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "both", both_knees=BOTH).folder


@pytest.fixture(scope="module")
def ensemble(model: Path) -> Ensemble:
    return Ensemble.open(model, threads=1)


@pytest.fixture
def study(tmp_path: Path) -> list[str]:
    """Three patients with both knees, in folders by chance, and two knees that are alone."""
    names = ("9000001L", "9000001R", "9000002R", "9000002L", "9000003L", "9000003R", "9000004L")
    images = []
    for number, name in enumerate((*names, "someone")):
        image = tmp_path / "study" / str(number % 2) / f"{name}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(KNEES[number], image)
        images.append(str(image))
    return images


def test_a_manifest_tells_whose_knees_files_with_other_names_are(
    tmp_path: Path, model: Path
) -> None:
    for number, source in enumerate(KNEES[:4]):
        shutil.copy(source, tmp_path / f"film {number}.png")
    table = tmp_path / "knees.csv"
    table.write_text(
        "image,patient,side\nfilm 0.png,A,L\nfilm 1.png,B,R\nfilm 2.png,A,right\nfilm 3.png,B,\n"
    )
    assert kellgren("grade", table, "--model", model, "--csv", tmp_path / "g.csv") == 0
    found = {Path(row["image"]).name: row for row in rows(tmp_path / "g.csv")}
    fellow = {name: Path(row["read_with"]).name for name, row in found.items()}
    assert fellow == {
        **{"film 0.png": "film 2.png", "film 2.png": "film 0.png"},
        **{"film 1.png": "", "film 3.png": ""},  # a side is missing: they stay alone
    }
    assert [found[f"film {n}.png"]["side"] for n in range(4)] == ["L", "R", "R", ""]


def test_a_table_that_is_no_manifest_is_refused_by_name(tmp_path: Path, capsys) -> None:
    table = tmp_path / "notes.csv"
    table.write_text("file,comment\na.png,good\n")
    assert kellgren("grade", table, "--csv", tmp_path / "g.csv") == 2
    assert "notes.csv" in (said := capsys.readouterr().err)
    assert "no column image" in said
    assert not (tmp_path / "g.csv").exists()


def test_files_pair_by_name() -> None:
    assert in_pairs(["a/9001L.png", "x.png", "b/9001R.png", "9002L.png"]) == [
        ("a/9001L.png", "b/9001R.png"),
        ("x.png",),
        ("9002L.png",),
    ]
    visits = ["1/9001L.png", "2/9001L.png", "2/9001R.png", "1/9001R.png", "3/9001L.png"]
    assert in_pairs(visits) == [
        ("1/9001L.png", "1/9001R.png"),
        ("2/9001L.png", "2/9001R.png"),
        ("3/9001L.png",),
    ]
    twice = ["9001L.png", "9001L.jpg", "9001R.png"]
    assert in_pairs(twice) == [(image,) for image in twice]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("12"), st.integers(9001, 9004), st.sampled_from("LRx")),
        unique=True,
    )
)
def test_every_file_is_in_one_unit_and_the_order_does_not_matter(
    drawn: list[tuple[str, int, str]],
) -> None:
    images = [f"{folder}/{patient}{side}.png" for folder, patient, side in drawn]
    units = in_pairs(images)
    assert sorted(image for unit in units for image in unit) == sorted(images)
    turned = in_pairs(images[::-1])
    assert {frozenset(unit) for unit in turned} == {frozenset(unit) for unit in units}
    firsts = [images.index(unit[0]) for unit in units]
    assert firsts == sorted(firsts)


def test_a_pair_is_read_as_the_model_says(ensemble: Ensemble, study: list[str]) -> None:
    left, right = (ensemble.read(image)[0] for image in study[:2])
    assert left.read_with is None
    assert left.probabilities == left.alone
    together = ensemble.together(left, right)
    for own, other, found in ((left, right, together[0]), (right, left, together[1])):
        expected = BOTH.combine(np.array(own.alone), np.array(other.alone))
        np.testing.assert_allclose(found.probabilities, expected)
        assert found.grade == int(expected.argmax())
        assert found.read_with == found.to_dict()["read_with"] == other.image
        assert found.alone == own.alone
        np.testing.assert_array_equal(found.activation, found.maps[found.grade])
    assert ensemble.together(*together) == together or together[0].read_with is not None
    again = ensemble.together(*together)
    assert again[0].probabilities == together[0].probabilities  # not the other's say twice
    assert ensemble.together(right, left)[1].probabilities == together[0].probabilities


def test_what_is_no_pair_stays_alone(ensemble: Ensemble, model: Path, study: list[str]) -> None:
    left, other_left = ensemble.read(study[0])[0], ensemble.read(study[4])[0]
    assert ensemble.together(left, other_left) == (left, other_left)
    nameless = ensemble.read(study[7])[0]
    assert ensemble.together(left, nameless) == (left, nameless)
    single = Ensemble.open(model, threads=1, pair=False)
    pair = tuple(single.read(image)[0] for image in study[:2])
    assert single.together(*pair) == pair


def graded(ensemble: Ensemble, images: list[str], workers: int = 1) -> dict[str, ReadingRow]:
    found = grade_files(ensemble, images, workers=workers)
    return {row.image: row for outcome in found for row in outcome.rows()}


def test_neither_order_nor_workers_change_a_pair(ensemble: Ensemble, study: list[str]) -> None:
    found = graded(ensemble, study)
    assert found == graded(ensemble, study[::-1], workers=3)
    partners = {image: row.read_with for image, row in found.items()}
    for at in (0, 2, 4):
        assert partners[study[at]] == study[at + 1]
        assert partners[study[at + 1]] == study[at]
    assert partners[study[6]] is None
    assert partners[study[7]] is None
    told = {row.side for o in grade_files(ensemble, study, side=Side.LEFT) for row in o.rows()}
    assert "L" in told


def test_a_knee_whose_fellow_is_damaged_is_read_alone(ensemble: Ensemble, study: list[str]) -> None:
    Path(study[1]).write_bytes(b"")
    found = graded(ensemble, study)
    assert found[study[0]].read_with is None
    assert found[study[1]].grade is None


def test_a_batch_that_stops_anywhere_ends_in_the_same_rows(
    ensemble: Ensemble, study: list[str], tmp_path: Path
) -> None:
    journal = tmp_path / "journal"

    def run(images: list[str], *, resume: bool) -> list[ReadingRow]:
        if not resume:
            journal.unlink(missing_ok=True)
        held = Journal(journal, resume=resume, model=ModelRecord.model_validate(ensemble.model))
        return grade_batch(ensemble, images, held)

    whole = run(study, resume=False)
    kept = journal.read_text().splitlines(keepends=True)
    for lines in (0, 1, 2, 3, len(kept) - 1, len(kept)):  # within a pair, and between two
        journal.write_text("".join(kept[:lines]) + "{cut")
        assert run(study, resume=True) == whole, lines
        resumed = journal.read_text().splitlines()
        assert sorted(resumed) == sorted(line.rstrip() for line in kept), lines

    alone = [study[0], study[3], study[6]]
    one_by_one = run(alone, resume=True)  # the fellows are not asked for any more
    assert [row.read_with for row in one_by_one] == [None] * 3
    assert one_by_one == run(alone, resume=False)
    assert run(study, resume=True) == whole  # and now they are again


def test_single_switches_it_off(
    model: Path, study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("grade", *study, "--model", model, "--workers", "1")
    assert kellgren(*words, "--csv", tmp_path / "both.csv", "--json", tmp_path / "both.json") == 0
    assert kellgren(*words, "--csv", tmp_path / "single.csv", "--single") == 0
    both, single = rows(tmp_path / "both.csv"), rows(tmp_path / "single.csv")
    assert [row["read_with"] for row in both[:2]] == [study[1], study[0]]
    assert {row["read_with"] for row in single} == {""}
    assert both[0]["p0"] != single[0]["p0"]
    assert both[7] == single[7]
    told = json.loads((tmp_path / "both.json").read_text())
    assert told["model"]["other_knee"] == "used"
    assert told["readings"][0]["read_with"] == study[1]


def test_a_model_that_knows_no_pairs_makes_none(tmp_path: Path, study: list[str]) -> None:
    plain = Ensemble.open(make_bundle(tmp_path / "plain").folder, threads=1)
    assert plain.model["other_knee"] == "off"
    assert {row.read_with for row in graded(plain, study).values()} == {None}
