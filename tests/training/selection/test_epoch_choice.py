"""What a score owes to its fold having chosen the epoch: known where the predictions are made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from command_line import kellgren
from kellgren.data.manifest import Knee, write_manifest
from kellgren.errors import TrainingError
from kellgren.grades import Grade, Side
from kellgren.training.kept_epochs import predictions_file, weights_file, write_list
from kellgren.training.member.predicting import write_predictions
from kellgren.training.recipe import read_recipe
from kellgren.training.selection.epoch_choice import EpochChoice, compare_choices
from kellgren.training.selection.out_of_fold import find_runs

PATIENTS = 60
EPOCHS = 8


def made_knees() -> list[Knee]:
    """Both knees of 60 patients, grades as they come."""
    grades = np.random.default_rng(0).integers(0, 5, 2 * PATIENTS)
    return [
        Knee(Path(f"/k/9{n // 2:06}{'LR'[n % 2]}.png"), f"9{n // 2:06}", side, Grade(g), "", "made")
        for n, g in enumerate(grades.tolist())
        for side in [(Side.LEFT, Side.RIGHT)[n % 2]]
    ]


def made_run(
    folder: Path, knees: list[Knee], fold: int, right: np.ndarray, inner: list[float] | None
) -> Path:
    """A run whose epoch e grades knee n right where ``right[e, n]``, else one off, surely."""
    held_out = knees[fold::2]
    truth = np.array([int(knee.grade or 0) for knee in held_out])
    folder.mkdir(parents=True)
    (folder / "epochs").mkdir()
    for number, row in enumerate(right, 1):
        probabilities = np.full((len(truth), 5), 0.05)
        graded = np.where(row, truth, (truth + 1) % 5)
        probabilities[np.arange(len(truth)), graded] = 0.8
        write_predictions(held_out, probabilities, fold, predictions_file(folder, number))
        weights_file(folder, number).write_bytes(b"")
    record = [{} if inner is None else {"inner_loss": loss} for loss in inner or [0.0] * EPOCHS]
    write_list(folder, record)
    facts = {
        "held_out_fold": fold,
        "recipe": read_recipe("paper-densenet161").model_dump(mode="json"),
        "recipe_hash": "r",
        "preprocess": {"size": 456},
        "folds_hash": "f",
    }
    (folder / "member.json").write_text(json.dumps(facts))
    return folder


def compared(tmp_path: Path, right: np.ndarray, inner: list[float] | None = None) -> EpochChoice:
    knees = made_knees()
    runs = [made_run(tmp_path / f"f{fold}", knees, fold, right, inner) for fold in (0, 1)]
    (choice,) = compare_choices(find_runs(runs), knees)
    return choice


def test_epochs_that_differ_by_luck_alone_flatter_the_fold_that_chose(tmp_path: Path) -> None:
    """Every epoch is right on 60 % of knees at random: the best of them is so by luck."""
    right = np.random.default_rng(95).random((EPOCHS, PATIENTS)) < 0.6
    choice = compared(tmp_path, right, inner=[1.0] * 5 + [0.5] + [1.0] * 2)
    crossed, inner = choice.cross_fitted.metrics["accuracy"], choice.inner
    assert inner is not None
    assert crossed.this == pytest.approx(right.mean(axis=1).max())
    assert inner.metrics["accuracy"].this == crossed.this
    assert inner.metrics["accuracy"].other == pytest.approx(right[5].mean())
    assert crossed.difference.value == pytest.approx(9 / PATIENTS)
    best = int(right.mean(axis=1).argmax()) + 1
    assert {itself for itself, _, _ in choice.epochs.values()} == {best}
    assert {by_inner for _, _, by_inner in choice.epochs.values()} == {6}
    assert (choice.cross_fitted.knees, choice.cross_fitted.patients) == (120, 60)


def test_each_knee_is_scored_at_the_epoch_that_the_others_choose(tmp_path: Path) -> None:
    right = np.random.default_rng(95).random((EPOCHS, PATIENTS)) < 0.6
    choice = compared(tmp_path, right)
    part = np.arange(PATIENTS) % 10  # a knee a patient, in alphabetical order
    expected = np.empty(PATIENTS, dtype=bool)
    for number in range(10):
        chosen = right[:, part != number].mean(axis=1).argmax()
        expected[part == number] = right[chosen, part == number]
    assert choice.cross_fitted.metrics["accuracy"].other == pytest.approx(expected.mean())
    assert choice.inner is None


def test_where_one_epoch_is_best_for_all_the_choice_does_not_matter(tmp_path: Path) -> None:
    right = np.zeros((EPOCHS, PATIENTS), dtype=bool)
    right[3] = True
    choice = compared(tmp_path, right)
    for key, metric in choice.cross_fitted.metrics.items():
        if key == "ece":  # its differences have no interval
            continue
        assert metric.difference.value == metric.difference.low == metric.difference.high == 0
    assert choice.epochs == {fold: (4, {4: PATIENTS}, None) for fold in (0, 1)}


def test_the_command_prints_and_writes_the_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [replace(knee, image=tmp_path / knee.image.name) for knee in made_knees()]
    write_manifest(images, tmp_path / "knees.csv")
    right = np.random.default_rng(95).random((EPOCHS, PATIENTS)) < 0.6
    runs = [
        made_run(tmp_path / f"f{fold}", images, fold, right, [1.0] * 7 + [0.5]) for fold in (0, 1)
    ]
    told, data = tmp_path / "told.json", tmp_path / "knees.csv"
    assert kellgren("train", "epochs", *runs, "--data", data, "--json", told) == 0
    printed = capsys.readouterr().out
    assert "by the inner part: 8" in printed
    assert "120 knees of 60 patients" in printed
    (member,) = json.loads(told.read_text())["members"]
    assert member["member"] == "paper-densenet161-456"
    assert member["inner"]["accuracy"]["other"] == pytest.approx(right[7].mean())

    for run in runs:
        for path in [*(run / "epochs").iterdir()]:
            path.unlink()
        (run / "epochs").rmdir()
    assert kellgren("train", "epochs", *runs, "--data", data) == 2
    assert "kept no epochs" in capsys.readouterr().err


def test_runs_without_kept_epochs_are_named(tmp_path: Path) -> None:
    knees = made_knees()
    right = np.ones((EPOCHS, PATIENTS), dtype=bool)
    run = made_run(tmp_path / "f0", knees, 0, right, None)
    (run / "epochs" / "epochs.json").unlink()
    with pytest.raises(TrainingError, match=r"lacks epochs\.json"):
        compare_choices(find_runs([run]), knees)
