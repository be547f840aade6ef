"""Laws of choosing among subsets, and of the tables that runs leave for it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds, save_folds
from kellgren.errors import TrainingError
from kellgren.grades import Grade, Side
from kellgren.reading_tables import COLUMNS
from kellgren.training.run_folder import FACTS, OUT_OF_FOLD
from kellgren.training.selection.out_of_fold import (
    find_finals,
    find_runs,
    predicted,
    read_out_of_fold,
)
from kellgren.training.selection.prediction_table import write_readings
from kellgren.training.selection.subsets import (
    MEASURES,
    PAPER_RULES,
    SubsetComparison,
    compare_subsets,
    deal,
    subsets,
)
from simulated_votes import Floats, simulated

MEMBERS = st.integers(1, 4)
SEEDS = st.integers(0, 10**6)
KNEES = 60
PATIENTS = [f"{number // 2:03}" for number in range(KNEES)]


def compared(members: Floats, truth: np.ndarray) -> SubsetComparison:
    return compare_subsets(members, truth, deal(PATIENTS), PAPER_RULES)


@given(st.integers(0, 8), st.integers(1, 8))
def test_subsets_are_all_there_are_the_small_ones_first(count: int, smallest: int) -> None:
    listed = subsets(count, smallest)
    assert len(set(listed)) == len(listed)
    assert len(subsets(count)) == 2**count - 1
    assert set(listed) == {chosen for chosen in subsets(count) if len(chosen) >= smallest}
    assert all(len(one) <= len(other) for one, other in pairwise(listed))
    assert all(list(chosen) == sorted(chosen) for chosen in listed)


@settings(deadline=None, max_examples=25)
@given(MEMBERS, SEEDS)
def test_a_useless_member_changes_no_candidate_without_it(count: int, seed: int) -> None:
    members, truth = simulated(count, KNEES, seed)
    useless = np.full((1, KNEES, 5), 0.2)
    few, more = compared(members, truth), compared(np.concatenate([members, useless]), truth)
    for at, candidate in enumerate(few.candidates):
        there = more.candidates.index(candidate)
        np.testing.assert_array_equal(few.grades_of(at), more.grades_of(there))
        np.testing.assert_array_equal(few.whole[at], more.whole[there])
        np.testing.assert_array_equal(few.without[:, at], more.without[:, there])
    for name, measure in MEASURES.items():
        assert measure(more.whole)[more.best(name)] >= measure(few.whole)[few.best(name)]


@settings(deadline=None, max_examples=25)
@given(MEMBERS, SEEDS, st.sampled_from(sorted(MEASURES)))
def test_of_equal_candidates_the_one_with_the_fewest_members_is_chosen(
    count: int, seed: int, measure: Any
) -> None:
    members, truth = simulated(count, KNEES, seed)
    look = compared(np.concatenate([members, members]), truth)  # each member twice
    for group in (None, 0, 3):
        matrices = look.whole if group is None else look.without[group]
        scores = MEASURES[measure](matrices)  # type: ignore[index]
        at = look.best(measure, group)
        assert scores[at] == scores.max()
        equals = [c for c, s in zip(look.candidates, scores, strict=True) if s == scores.max()]
        assert len(look.candidates[at].members) == min(len(c.members) for c in equals)


@settings(deadline=None, max_examples=25)
@given(MEMBERS, SEEDS)
def test_the_parts_are_the_whole_without_a_group(count: int, seed: int) -> None:
    members, truth = simulated(count, KNEES, seed)
    group = deal(PATIENTS)
    look = compared(members, truth)
    assert look.whole.sum(axis=(1, 2)).tolist() == [KNEES] * len(look.candidates)
    for held in range(5):
        kept = group != held
        alone = compare_subsets(members[:, kept], truth[kept], np.zeros(kept.sum(), int))
        for at, candidate in enumerate(look.candidates):
            same = alone.whole[alone.candidates.index(candidate)]
            np.testing.assert_array_equal(look.without[held, at], same)
    for measure in MEASURES:
        nested = look.nested(group, measure)
        for held in range(5):
            chosen = look.grades_of(look.best(measure, held))
            np.testing.assert_array_equal(nested[group == held], chosen[group == held])


@given(st.lists(st.text(max_size=3)), st.integers(1, 6))
def test_patients_are_dealt_evenly_and_stay_together(names: list[str], groups: int) -> None:
    group = deal(names, groups)
    of_patient = {name: set(group[[n == name for n in names]].tolist()) for name in names}
    assert all(len(found) == 1 for found in of_patient.values())
    counts = np.bincount([found.pop() for found in of_patient.values()], minlength=groups)
    assert len(counts) == groups
    assert counts.max() - counts.min() <= 1


# --- tables --------------------------------------------------------------------------------------


def knees_of(folder: Path, count: int = 4) -> list[Knee]:
    return [
        Knee(
            folder / f"{9000 + n // 2}{'LR'[n % 2]}.png",
            *(f"{9000 + n // 2}", Side("LR"[n % 2])),
            *(Grade(n % 5), "train", "set"),
        )
        for n in range(count)
    ]


def test_equal_predictions_make_equal_tables_to_the_last_byte(tmp_path: Path) -> None:
    knees = knees_of(Path("anywhere/CANARY"))
    rows = np.random.default_rng(0).dirichlet(np.ones(5), 4)
    for name in ("a.csv", "a.csv.gz", "b.csv.gz"):
        write_readings(knees, rows, tmp_path / name, ["", "x.png", "", ""])
    plain = (tmp_path / "a.csv").read_bytes()
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert (tmp_path / "a.csv.gz").read_bytes()[4:8] == bytes(4)  # gzip's time of writing
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == plain
    assert b"CANARY" not in plain  # tables travel, paths do not
    table = list(csv.DictReader(io.StringIO(plain.decode())))
    assert tuple(table[0]) == COLUMNS
    assert [row["read_with"] for row in table] == ["", "x.png", "", ""]
    assert [int(row["grade"]) for row in table] == rows.argmax(axis=1).tolist()
    for name in ("a.csv", "a.csv.gz"):
        again = predicted(tmp_path / name, knees)
        for knee, row in zip(knees, rows, strict=True):
            np.testing.assert_allclose(again[str(knee.image)], row, atol=1e-6)
    with pytest.raises(ValueError, match="zip"):
        write_readings(knees, rows[:3], tmp_path / "c.csv")
    assert not (tmp_path / "c.csv").exists()


def run(folder: Path, fold: int | None, held: list[Knee], **facts: Any) -> Path:
    """A finished run: its facts, its table, and files in place of a member."""
    folder.mkdir(parents=True)
    content = {
        **{"held_out_fold": fold, "recipe": {"name": "a"}, "preprocess": {"size": 64}},
        **{"folds_hash": "f", "recipe_hash": "r"},
    }
    (folder / FACTS).write_text(json.dumps(content | facts))
    if fold is not None:
        rows = np.full((len(held), 5), 0.2)
        write_readings(held, rows, folder / OUT_OF_FOLD)
    return folder


def test_runs_are_told_apart_by_backbone_and_fold(tmp_path: Path) -> None:
    knees = knees_of(tmp_path)
    folders = [run(tmp_path / str(f), f, knees[2 * f : 2 * f + 2]) for f in (1, 0)]
    final = run(tmp_path / "final", None, [])
    runs = find_runs([*folders, final])
    assert [(one.backbone, one.fold) for one in runs] == [("a-64", 0), ("a-64", 1)]
    assert [one.folder for one in find_finals([*folders, final]).values()] == [final]
    together = read_out_of_fold(runs, knees)
    assert (together.backbones, together.members.shape) == (("a-64",), (1, 4, 5))
    assert (together.truth.tolist(), together.left_out) == ([0, 1, 2, 3], 0)
    assert together.other.tolist() == [1, 0, 3, 2]
    with pytest.raises(TrainingError, match="held no knees out"):
        find_runs([final])


def test_labels_of_other_patients_than_in_training_are_refused(tmp_path: Path) -> None:
    knees = knees_of(tmp_path)
    runs = find_runs([run(tmp_path / str(fold), fold, knees[2 * fold :][:2]) for fold in (0, 1)])
    dealt = {knee.patient: number // 2 for number, knee in enumerate(knees)}
    for one in runs:
        save_folds(Folds(dealt, 2, 0), one.folder / "folds.json")
    assert read_out_of_fold(runs, knees).folds.tolist() == [0, 0, 1, 1]
    for patient in (knees[-1].patient, "unknown"):
        others = [replace(knees[0], patient=patient), *knees[1:]]
        with pytest.raises(TrainingError, match="did not hold out the patients that the labels"):
            read_out_of_fold(runs, others)


@pytest.mark.parametrize(
    ("fold", "facts", "said"),
    [
        (0, {}, "is a-64 with fold 0 held out, and so is"),
        (1, {"folds_hash": "other"}, "has other folds than"),
        (1, {"recipe_hash": "other"}, "has another recipe than"),
    ],
)
def test_runs_that_do_not_fit_are_refused(
    tmp_path: Path, fold: int, facts: dict[str, Any], said: str
) -> None:
    knees = knees_of(tmp_path)
    folders = [run(tmp_path / "one", 0, knees), run(tmp_path / "two", fold, knees, **facts)]
    with pytest.raises(TrainingError, match=said) as caught:
        find_runs(folders)
    assert caught.value.subject == str(folders[1])


def test_a_knee_that_two_folds_held_out_is_named(tmp_path: Path) -> None:
    knees = knees_of(tmp_path)
    runs = find_runs([run(tmp_path / str(fold), fold, knees[:2]) for fold in (0, 1)])
    with pytest.raises(TrainingError, match=r"held out 9000L\.png, and so did another fold"):
        read_out_of_fold(runs, knees)
    other = replace(runs[1], backbone="b-64")
    shutil.rmtree(other.folder)
    run(other.folder, 1, knees[2:])
    with pytest.raises(TrainingError, match="shares no held-out knee"):
        read_out_of_fold([runs[0], other], knees)


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: text[:20],
        lambda text: "[]",
        lambda text: text.replace('"size"', '"sise"'),
        lambda text: text.replace("held_out_fold", "fold"),
    ],
)
def test_damaged_facts_are_named(tmp_path: Path, harm: Callable[[str], str]) -> None:
    folder = run(tmp_path / "run", 0, knees_of(tmp_path))
    facts = folder / FACTS
    facts.write_text(harm(facts.read_text()))
    with pytest.raises(TrainingError, match="is damaged") as caught:
        find_runs([folder])
    assert caught.value.subject == str(facts)
    facts.unlink()
    with pytest.raises(TrainingError, match="the run is not finished"):
        find_runs([folder])
    with pytest.raises(TrainingError, match="mistyped: does not exist"):
        find_runs([folder / "mistyped"])
