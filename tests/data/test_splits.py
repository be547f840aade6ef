from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds, leak_warning, load_folds, make_folds, save_folds
from kellgren.errors import InvalidManifest
from kellgren.grades import Grade, Side


def knee(patient: str, side: Side, grade: int | None) -> Knee:
    image = Path(f"{patient}{side.value}.png")
    return Knee(image, patient, side, None if grade is None else Grade(grade), "train", "mine")


def pairs(grades: list[tuple[int, int]]) -> list[Knee]:
    """Patients with a left and a right knee of these grades."""
    return [
        knee(str(9000000 + number), side, grade)
        for number, both in enumerate(grades)
        for side, grade in zip((Side.LEFT, Side.RIGHT), both, strict=True)
    ]


def like_published(patients: int, seed: int = 0) -> list[Knee]:
    """As frequent as the published grades; a patient's knees differ by one grade at most."""
    rng = np.random.default_rng(seed)
    left = rng.choice(5, patients, p=[0.40, 0.18, 0.26, 0.13, 0.03])
    right = np.clip(left + rng.integers(-1, 2, patients), 0, 4)
    return pairs(list(zip(left.tolist(), right.tolist(), strict=True)))


grade = st.integers(0, 4)
groups = st.lists(st.tuples(grade, grade), min_size=30, max_size=60)


@settings(deadline=None, max_examples=25)
@given(groups, st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_no_patient_is_in_two_folds(grades: list[tuple[int, int]], count: int, seed: int) -> None:
    knees = pairs(grades)
    folds = make_folds(knees, count, seed)
    held_out = np.array([folds.held_out(knees, fold) for fold in range(count)])
    assert (held_out.sum(axis=0) == 1).all(), "each knee is held out exactly once"
    assert held_out.any(axis=1).all(), "no fold is empty"
    for patient in folds.of_patient:
        of_patient = [k.patient == patient for k in knees]
        assert len({tuple(column) for column in held_out[:, of_patient].T}) == 1


@settings(deadline=None, max_examples=10)
@given(st.randoms(use_true_random=False), groups)
def test_the_order_of_the_knees_does_not_matter(random: Any, grades: list[tuple[int, int]]) -> None:
    knees = pairs(grades)
    shuffled = random.sample(knees, len(knees))
    assert make_folds(knees) == make_folds(shuffled)
    assert make_folds(knees).hash == make_folds(shuffled).hash


def test_each_fold_has_its_share_of_every_grade() -> None:
    knees = like_published(1000)
    folds = make_folds(knees)
    whole = Counter(int(k.grade or 0) for k in knees)
    for fold in range(5):
        held_out = folds.held_out(knees, fold)
        share = Counter(int(k.grade or 0) for k, out in zip(knees, held_out, strict=True) if out)
        for graded, number in whole.items():
            assert share[graded] == pytest.approx(number / 5, rel=0.05, abs=2)


def test_the_seed_decides() -> None:
    knees = like_published(100)
    assert make_folds(knees) == make_folds(knees, count=5, seed=42)
    assert make_folds(knees, seed=1).of_patient != make_folds(knees, seed=2).of_patient


def test_a_rare_grade_is_no_obstacle() -> None:
    knees = pairs([(0, 0)] * 20 + [(4, 4)])
    folds = make_folds(knees)
    assert sorted(Counter(folds.of_patient.values())) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("knees", "count", "problem"),
    [
        (pairs([(0, 0)] * 4), 5, "4 patients cannot fill 5 folds"),
        ([], 5, "0 patients cannot fill 5 folds"),
        ([*pairs([(0, 0)] * 9), knee("x", Side.LEFT, None)], 5, "1 knees have no grade"),
        ([knee(str(g), Side.LEFT, g) for g in range(5)], 5, "no grade has 5 knees"),
        (pairs([(0, 0)] * 9), 1, "1 folds leave nothing to learn from"),
    ],
)
def test_what_cannot_be_dealt_is_refused(knees: list[Knee], count: int, problem: str) -> None:
    with pytest.raises(InvalidManifest, match=problem):
        make_folds(knees, count)


# --- a set of folds --------------------------------------------------------------------------


def test_the_hash_is_of_the_assignment_alone() -> None:
    folds = Folds({"a": 0, "b": 1}, count=2, seed=42)
    assert folds.hash == Folds({"b": 1, "a": 0}, count=2, seed=7).hash
    assert folds.hash != Folds({"a": 1, "b": 0}, count=2, seed=42).hash
    # Runs keep this hash to know their folds again: another way to compute it would disown them.
    assert folds.hash == "4b4543fe55612726c09bcbcfd6352bead02474b483280e5173f9cc51d2ac937d"


def test_held_out_asks_for_a_fold_and_patients_that_exist() -> None:
    folds = Folds({"a": 0, "b": 1}, count=2, seed=42)
    knees = [knee("b", Side.LEFT, 1), knee("a", Side.LEFT, 1), knee("b", Side.RIGHT, 1)]
    np.testing.assert_array_equal(folds.held_out(knees, 1), [True, False, True])
    assert folds.held_out([], 0).dtype == np.bool_
    for fold in (-1, 2):
        with pytest.raises(InvalidManifest, match="Folds run from 0 to 1"):
            folds.held_out(knees, fold)
    with pytest.raises(InvalidManifest, match="1 patients have no fold"):
        folds.held_out([knee("c", Side.LEFT, 1)], 0)


def test_folds_are_saved_and_read_again(tmp_path: Path) -> None:
    folds = make_folds(like_published(40), count=3, seed=7)
    save_folds(folds, tmp_path / "folds.json")
    again = load_folds(tmp_path / "folds.json")
    assert again == folds
    assert again.hash == folds.hash == json.loads((tmp_path / "folds.json").read_text())["hash"]


@pytest.mark.parametrize(
    "changes",
    [
        {"hash": "0" * 64},
        {"of_patient": {"9000000": 0, "9000001": 1, "9000002": 2}},
        {"count": 2},
        {"count": 4},
    ],
)
def test_a_tampered_file_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "folds.json"
    save_folds(make_folds(like_published(40), count=3), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InvalidManifest, match="does not fit the folds"):
        load_folds(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "no JSON", '{"of_patient": [1], "count": 1, "seed": 0, "hash": ""}', "\0"],
)
def test_another_file_is_no_file_of_folds(tmp_path: Path, text: str) -> None:
    (tmp_path / "folds.json").write_text(text)
    with pytest.raises(InvalidManifest, match="is not a file of folds"):
        load_folds(tmp_path / "folds.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="No such file or directory"):
        load_folds(tmp_path / "folds.json")


# --- by knee, as others deal them ----------------------------------------------------------------


def test_folds_by_knee_are_scikit_learns() -> None:
    """Over the published folders in their order: by grade, then by file name."""
    knees = like_published(120)
    folds = make_folds(list(reversed(knees)), by="knee")
    listed = sorted(knees, key=lambda knee: (int(knee.grade or 0), knee.image.name))
    grades = np.array([int(knee.grade or 0) for knee in listed])
    splits = StratifiedKFold(5, shuffle=True, random_state=42).split(grades, grades)
    for fold, (_, held_out) in enumerate(splits):
        np.testing.assert_array_equal(np.flatnonzero(folds.held_out(listed, fold)), held_out)
    assert folds.by == "knee"
    assert folds.of_patient == {}


def test_folds_by_knee_part_the_knees_of_a_patient_and_say_so() -> None:
    knees = like_published(120)
    by_patient, by_knee = make_folds(knees), make_folds(knees, by="knee")
    assert by_patient.by == "patient"
    assert by_patient.straddling(knees) == 0
    assert leak_warning(by_patient, knees) == ""
    held_out = np.array([by_knee.held_out(knees, fold) for fold in range(5)]).argmax(axis=0)
    pairs_of_folds = held_out.reshape(-1, 2)
    parted = int((pairs_of_folds[:, 0] != pairs_of_folds[:, 1]).sum())
    assert by_knee.straddling(knees) == parted > 60
    assert f"{parted} of 120 patients have knees in several folds" in leak_warning(by_knee, knees)


def test_folds_by_knee_are_saved_and_read_again(tmp_path: Path) -> None:
    knees = like_published(40)
    folds, path = make_folds(knees, 3, by="knee"), tmp_path / "folds.json"
    save_folds(folds, path)
    assert load_folds(path) == folds
    assert load_folds(path).hash == folds.hash != make_folds(knees, 3).hash
    content = json.loads(path.read_text())
    name = next(iter(content["of_knee"]))
    content["of_knee"][name] = (content["of_knee"][name] + 1) % 3
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidManifest, match="does not fit the folds"):
        load_folds(path)


def test_folds_by_patient_are_known_by_the_hash_that_they_had() -> None:
    folds = Folds({"a": 0, "b": 1}, count=2, seed=42)
    expected = hashlib.sha256(b'[["a", 0], ["b", 1]]').hexdigest()
    assert folds.hash == expected


def test_knees_that_cannot_be_told_apart_are_not_dealt() -> None:
    knees = like_published(40)
    with pytest.raises(InvalidManifest, match="1 knees have the file name and side of another"):
        make_folds([*knees, knees[0]], by="knee")
    folds = make_folds(knees, by="knee")
    with pytest.raises(InvalidManifest, match="2 knees have no fold"):
        folds.held_out(pairs([(1, 1)] * 41)[-2:], 0)
