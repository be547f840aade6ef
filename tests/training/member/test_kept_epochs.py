"""Epochs that patience tolerates are kept; a run may be stopped by knees it is not scored on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import rows
from kellgren.data.manifest import Knee
from kellgren.errors import InvalidManifest, TrainingError
from kellgren.grades import Grade
from kellgren.training.input.cache import memory_store
from kellgren.training.kept_epochs import kept_epochs, numbers_kept, weights_file
from kellgren.training.member.checkpoint import read_history
from kellgren.training.member.epochs import load_epoch
from kellgren.training.member.loop import Watcher, is_finished, train
from kellgren.training.member.outcome import finish
from kellgren.training.member.predicting import predict
from kellgren.training.member.run import MemberRun, trained_network
from kellgren.training.member.schedule import stopping_losses, tolerated
from kellgren.training.recipe import HeadThenAll, Recipe
from tiny_training import FOLDS, HEAD_THEN_ALL, assert_same_weights, tensors, tiny_recipe, tiny_run

pytestmark = pytest.mark.usefixtures("small_world")
KEEPING = HEAD_THEN_ALL | {"keep_epochs": True, "stopping": "rise", "delta": 0.0, "rate": 0.05}
RECIPE = tiny_recipe(KEEPING, epochs=(6,))
INNER = {"stop_on": "inner", "inner_parts": 3}


class Interrupted(Watcher):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch_ends(self, record: dict[str, Any]) -> None:
        if record["epoch"] == self.epochs:
            raise KeyboardInterrupt


def expected_numbers(run: MemberRun) -> list[int]:
    """The epochs of a run's log that patience tolerates."""
    schedule = run.recipe.schedule
    assert isinstance(schedule, HeadThenAll)
    history = read_history(run.checkpoint, run.identity)
    kept = tolerated(schedule, stopping_losses(schedule, history))
    return [number for number, stays in enumerate(kept, 1) if stays]


@pytest.fixture(scope="module")
def whole(
    knees: list[Knee], tmp_path_factory: pytest.TempPathFactory, small_world: None
) -> MemberRun:
    run = tiny_run(RECIPE, knees, tmp_path_factory.mktemp("whole") / "run")
    assert train(run)
    assert finish(run, FOLDS, 1) is not None
    return run


# --- kept epochs ---------------------------------------------------------------------------------


def test_the_epochs_that_patience_tolerates_are_kept(whole: MemberRun) -> None:
    kept = kept_epochs(whole.out)
    assert [epoch.number for epoch in kept] == expected_numbers(whole)
    assert 1 < len(kept) < RECIPE.epochs  # or this test tells nothing
    history = read_history(whole.checkpoint, whole.identity)
    assert [epoch.record for epoch in kept] == [history[epoch.number - 1] for epoch in kept]
    files = {path.name for path in (whole.out / "epochs").iterdir()}
    names = [f"epoch-0{epoch.number}" for epoch in kept]
    assert files == {"epochs.json"} | {n + end for n in names for end in (".csv", ".safetensors")}


def test_a_kept_epoch_is_the_network_of_that_epoch_by_halves(whole: MemberRun) -> None:
    losses = [r["held_out_loss"] for r in read_history(whole.checkpoint, whole.identity)]
    best = {epoch.number: epoch for epoch in kept_epochs(whole.out)}[int(np.argmin(losses)) + 1]
    stored, whole_precision = tensors(best.weights), tensors(whole.best)
    assert stored.keys() == whole_precision.keys()
    for name, value in whole_precision.items():
        is_half = value.is_floating_point() and value.ndim > 1
        assert stored[name].dtype == (torch.float16 if is_half else value.dtype)
        assert torch.equal(stored[name], value.half() if is_half else value)

    network, seen = load_epoch(best)
    assert not network.training
    assert seen == whole.preprocess(48)
    images = torch.randn(4, 3, 48, 48)
    with torch.no_grad():
        expected = trained_network(whole)(images)
        assert torch.allclose(network(images), expected, atol=1e-2)


def test_the_tables_are_what_the_kept_networks_predict(whole: MemberRun, knees: list[Knee]) -> None:
    held_out = np.flatnonzero(whole.held_out)
    tables = {}
    for epoch in kept_epochs(whole.out):
        network, seen = load_epoch(epoch)
        store = memory_store(knees, seen)
        logits = predict(network, store, held_out, seen, "cpu").mean(axis=1)
        expected = torch.from_numpy(logits).softmax(dim=1).numpy()
        table = rows(epoch.predictions)
        assert list(table[0]) == list(rows(whole.out / "oof.csv")[0])
        assert [row["image"] for row in table] == [str(knees[n].image) for n in held_out]
        actual = [[float(row[f"p{grade}"]) for grade in range(5)] for row in table]
        np.testing.assert_allclose(actual, expected, atol=1e-5)
        tables[epoch.number] = expected
    first, *_, last = tables.values()
    assert np.abs(first - last).max() > 1e-3


def test_kept_epochs_survive_a_kill(whole: MemberRun, knees: list[Knee], tmp_path: Path) -> None:
    run = tiny_run(RECIPE, knees, tmp_path / "run")
    for epochs in (2, 4, 5):
        with pytest.raises(KeyboardInterrupt):
            train(run, resume=True, watcher=Interrupted(epochs))
        with pytest.raises(TrainingError, match=r"lacks epochs\.json: the run is not finished"):
            kept_epochs(run.out)
    assert train(run, resume=True)
    assert finish(run, FOLDS, 1) is not None
    ours, theirs = kept_epochs(run.out), kept_epochs(whole.out)
    assert [epoch.number for epoch in ours] == [epoch.number for epoch in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert_same_weights(one.weights, other.weights)
        assert one.predictions.read_bytes() == other.predictions.read_bytes()


def test_what_lies_beyond_the_checkpoint_is_done_again(
    whole: MemberRun, knees: list[Knee], tmp_path: Path
) -> None:
    """On an accelerator a kill costs epochs whose weights are kept already."""
    run = tiny_run(RECIPE, knees, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train(run, watcher=Interrupted(2))
    weights_file(run.out, 5).write_bytes(b"of an epoch that is done again, and is not kept then")
    last = weights_file(run.out, 99)
    last.write_bytes(b"")
    with pytest.raises(KeyboardInterrupt):
        train(run, resume=True, watcher=Interrupted(3))
    assert max(numbers_kept(run.out)) <= 3
    assert train(run, resume=True)
    assert numbers_kept(run.out) == expected_numbers(whole)


def test_an_older_run_s_epochs_are_not_a_new_one_s(knees: list[Knee], tmp_path: Path) -> None:
    run = tiny_run(RECIPE, knees, tmp_path)
    (tmp_path / "epochs").mkdir()
    weights_file(run.out, 6).write_bytes(b"")
    assert not train(run, max_minutes=0)
    assert numbers_kept(run.out) == [1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda epoch: epoch.predictions.write_text("changed"),
            r"\.csv: does not fit its checksum",
        ),
        (lambda epoch: epoch.predictions.unlink(), r"lacks epoch-\d\d\.csv"),
        (lambda epoch: epoch.weights.unlink(), r"lacks epoch-\d\d\.safetensors"),
    ],
)
def test_damage_is_named(
    whole: MemberRun, knees: list[Knee], tmp_path: Path, damage: Any, said: str
) -> None:
    copy = copied(whole, tmp_path)
    damage(kept_epochs(copy)[0])
    with pytest.raises(TrainingError, match=said):
        kept_epochs(copy)


def test_a_flipped_bit_in_the_weights_is_found(whole: MemberRun, tmp_path: Path) -> None:
    epoch = kept_epochs(copied(whole, tmp_path))[0]
    content = bytearray(epoch.weights.read_bytes())
    content[-5] ^= 1
    epoch.weights.write_bytes(content)
    with pytest.raises(TrainingError, match="is not a whole checkpoint"):
        load_epoch(epoch)


def test_another_run_s_epoch_is_refused(whole: MemberRun, tmp_path: Path) -> None:
    epoch = kept_epochs(copied(whole, tmp_path))[0]
    facts = tmp_path / "run" / "member.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"data": "other"}))
    with pytest.raises(TrainingError, match="belongs to another run"):
        load_epoch(epoch)


def copied(run: MemberRun, folder: Path) -> Path:
    return Path(shutil.copytree(run.out, folder / "run"))


def test_no_epochs_are_kept_unless_asked_for_or_without_a_fold(
    knees: list[Knee], tmp_path: Path
) -> None:
    plain = tiny_run(tiny_recipe(HEAD_THEN_ALL, epochs=(1,)), knees, tmp_path / "plain")
    final = tiny_run(tiny_recipe(KEEPING, epochs=(1,)), knees, tmp_path / "final", fold=None)
    for run in (plain, final):
        assert train(run)
        assert not (run.out / "epochs").exists()
        assert kept_epochs(run.out) == ()


# --- an inner part -------------------------------------------------------------------------------


def inner_recipe(**changes: Any) -> Recipe:
    return tiny_recipe(HEAD_THEN_ALL | INNER | changes, epochs=(5,))


def test_the_inner_part_is_of_patients_outside_the_fold_and_not_learnt_from(
    knees: list[Knee], tmp_path: Path
) -> None:
    twins = [replace(knee, patient=f"p{number // 2}") for number, knee in enumerate(knees)]
    run = tiny_run(inner_recipe(), knees, tmp_path)
    assert int(run.inner.sum()) == 3
    assert not (run.inner & run.held_out).any()
    assert len(run.learnt) == 6
    paired = replace(run, knees=twins, held_out=np.arange(12) < 4)
    assert int(paired.inner.sum()) in (2, 4)
    inside = {knee.patient for knee, inner in zip(twins, paired.inner, strict=True) if inner}
    assert not inside & {knee.patient for knee in paired.learnt}
    assert not tiny_run(RECIPE, knees, tmp_path).inner.any()


def test_a_run_is_stopped_by_its_inner_part(knees: list[Knee], tmp_path: Path) -> None:
    recipe = inner_recipe(patience=2, delta=0.1)
    rising = {"held_out_loss": 1.0}
    history = [rising | {"inner_loss": loss} for loss in (1.0, 0.8, 0.6)]
    assert not is_finished(recipe, history)
    held_out = tiny_recipe(HEAD_THEN_ALL | {"patience": 2, "delta": 0.1}, epochs=(5,))
    assert is_finished(held_out, history)

    run = tiny_run(inner_recipe(rate=1.0, step_factor=1.0), knees, tmp_path)
    assert train(run)
    records = read_history(run.checkpoint, run.identity)
    inner = [record["inner_loss"] for record in records]
    best = len(read_history(run.best, run.identity))
    assert best == len(inner) - int(np.argmin(inner[::-1]))
    assert all(np.isfinite(record["held_out_loss"]) for record in records)


def test_the_fold_that_scores_has_no_say_in_what_is_kept(knees: list[Knee], tmp_path: Path) -> None:
    """With other labels in the fold, its loss is lowest elsewhere; the run ends in the same."""
    recipe = inner_recipe(rate=0.1, step_factor=1.0)
    runs, lowest = [], set()
    for grade in Grade:
        turned = [
            replace(knee, grade=grade) if FOLDS.of_patient[knee.patient] == 1 else knee
            for knee in knees
        ]
        run = tiny_run(recipe, turned, tmp_path / str(int(grade)))
        assert train(run)
        assert_same_weights(run.best, runs[0].best if runs else run.best)
        history = read_history(run.checkpoint, run.identity)
        lowest.add(int(np.argmin([record["held_out_loss"] for record in history])))
        runs.append(run)
    assert len(lowest) > 1  # or this test tells nothing


def test_the_inner_part_is_not_learnt_from(knees: list[Knee], tmp_path: Path) -> None:
    """With other labels there, every epoch's weights are the same, and the inner loss is not."""
    recipe = inner_recipe(rate=0.1, step_factor=1.0)
    run = tiny_run(recipe, knees, tmp_path / "one")
    turned = [
        replace(knee, grade=Grade((int(knee.grade or 0) + 2) % 5)) if inner else knee
        for knee, inner in zip(knees, run.inner, strict=True)
    ]
    other = tiny_run(recipe, turned, tmp_path / "other")
    vars(other)["inner"] = run.inner  # dealt by grade, it would be another one
    for it in (run, other):
        assert train(it)
    assert_same_weights(run.checkpoint, other.checkpoint)
    losses = [
        [record["inner_loss"] for record in read_history(it.checkpoint, it.identity)]
        for it in (run, other)
    ]
    assert losses[0] != losses[1]


def test_a_final_is_stopped_by_its_inner_part(knees: list[Knee], tmp_path: Path) -> None:
    run = tiny_run(inner_recipe(rate=1.0, step_factor=1.0), knees, tmp_path, fold=None)
    assert train(run)
    inner = [record["inner_loss"] for record in read_history(run.checkpoint, run.identity)]
    assert len(read_history(run.best, run.identity)) == len(inner) - int(np.argmin(inner[::-1]))
    assert finish(run, FOLDS) is None
    facts = json.loads((run.out / "member.json").read_text())
    assert (facts["knees"], facts["inner_knees"]) == (8, 4)


def test_too_few_patients_for_an_inner_part_are_named(knees: list[Knee], tmp_path: Path) -> None:
    run = tiny_run(inner_recipe(inner_parts=40), knees, tmp_path)
    with pytest.raises(InvalidManifest, match="9 patients cannot fill 40 folds"):
        train(run)
