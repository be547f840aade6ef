"""Folds of manifests of any make-up: patients of one knee or of many."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds, load_folds, make_folds, save_folds
from kellgren.errors import InvalidManifest
from kellgren.grades import Grade, Side

GRADES = st.lists(st.integers(0, 4), min_size=1, max_size=5)


def knees_of(patients: list[list[int]]) -> list[Knee]:
    """Patients with one knee, or with several films of both, of these grades."""
    return [
        Knee(
            Path(f"{number}/{film}.png"),
            f"p{number}",
            (Side.LEFT, Side.RIGHT, Side.UNKNOWN)[film % 3],
            Grade(grade),
            "",
            "mine",
        )
        for number, grades in enumerate(patients)
        for film, grade in enumerate(grades)
    ]


@settings(deadline=None, max_examples=15)
@given(st.lists(GRADES, min_size=5, max_size=12), st.integers(2, 5), st.integers(0, 99))
def test_every_patient_is_held_out_by_one_fold(
    patients: list[list[int]], count: int, seed: int
) -> None:
    knees = knees_of(patients)
    assume(max(Counter(knee.grade for knee in knees).values()) >= count)
    folds = make_folds(knees, count, seed)
    assert folds.of_patient.keys() == {knee.patient for knee in knees}
    held_out = np.stack([folds.held_out(knees, fold) for fold in range(count)])
    assert (held_out.sum(axis=0) == 1).all()
    assert held_out.any(axis=1).all()
    for fold in range(count):
        out = {knee.patient for knee, held in zip(knees, held_out[fold], strict=True) if held}
        learnt = {
            knee.patient for knee, held in zip(knees, held_out[fold], strict=True) if not held
        }
        assert not out & learnt
    with tempfile.TemporaryDirectory() as folder:
        save_folds(folds, Path(folder) / "folds.json")
        assert load_folds(Path(folder) / "folds.json") == folds


@pytest.mark.parametrize(
    ("patients", "count", "problem"),
    [
        ([[0]] * 9, 1, "1 folds leave nothing to learn from"),
        ([[0]] * 9, 0, "0 folds leave nothing to learn from"),
        ([[0, 0, 0]] * 2, 3, "2 patients cannot fill 3 folds"),
        ([[0], [0], [1], [2], [3]], 3, "no grade has 3 knees, one for each fold"),
    ],
)
def test_what_cannot_be_split_says_why(patients: list[list[int]], count: int, problem: str) -> None:
    with pytest.raises(InvalidManifest) as refusal:
        make_folds(knees_of(patients), count)
    assert (refusal.value.subject, refusal.value.problem) == ("folds", problem)


@pytest.mark.parametrize("fold", [-1, 2])
def test_a_fold_that_does_not_exist_names_those_that_do(fold: int) -> None:
    folds = Folds({"p0": 0, "p1": 1}, 2, 42)
    with pytest.raises(
        InvalidManifest, match=f"fold {fold}: does not exist. Folds run from 0 to 1"
    ):
        folds.held_out(knees_of([[0], [1]]), fold)
    with pytest.raises(InvalidManifest, match="1 patients have no fold"):
        folds.held_out(knees_of([[0], [1], [2]]), 0)
    assert folds.held_out([], 0).shape == (0,)


@pytest.mark.parametrize(
    "change",
    [
        {"count": 3},
        {"count": 1},
        {"hash": "0" * 64},
        {"of_patient": {"p0": 1, "p1": 0}},
        {"of_patient": {"p0": 0, "p1": 1, "p2": 1}},
        {"of_patient": {"p0": 0}},
        {"of_patient": []},
        {"of_patient": {"p0": [0], "p1": 1}},
        {"count": "2"},
        {"count": None},
    ],
)
def test_folds_that_were_changed_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "folds.json"
    save_folds(Folds({"p0": 0, "p1": 1}, 2, 42), path)
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content), "utf-8")
    assert load_folds(path).of_patient == {"p0": 0, "p1": 1}
    path.write_text(json.dumps(content | change), "utf-8")
    with pytest.raises(InvalidManifest) as refusal:
        load_folds(path)
    assert refusal.value.subject == str(path)
