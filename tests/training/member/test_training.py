"""Training from end to end by its command, and what the two schedules promise."""

from __future__ import annotations

import copy
import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import jensenshannon
from torch import nn

from command_line import EXAMPLES, environment, finished, kellgren, rows
from kellgren.cli.training.training_bars import epoch_words
from kellgren.data.manifest import Knee, write_manifest
from kellgren.data.splits import load_folds, save_folds
from kellgren.errors import TrainingError
from kellgren.grades import Grade
from kellgren.grading.bundle import open_bundle
from kellgren.training.architectures import ARCHITECTURES, Member, find
from kellgren.training.input.augment import draw
from kellgren.training.input.loading import load_planes
from kellgren.training.member import loop
from kellgren.training.member.average import decay_at, move_average, paired
from kellgren.training.member.batches import on_device
from kellgren.training.member.checkpoint import read_history
from kellgren.training.member.loop import Watcher, disagreement, is_finished, train
from kellgren.training.member.outcome import finish
from kellgren.training.member.run import begin, trained_network
from kellgren.training.member.soft_targets import targets_for
from kellgren.training.recipe import Recipe, read_recipe
from tiny_training import (
    FOLDS,
    HEAD_THEN_ALL,
    ONE_CYCLE,
    TINY,
    tensors,
    tiny_recipe,
    tiny_run,
)

RECIPE = """
name = "smallest"
batch = 3
precision = "fp32"
average = 0.9
stages = [{ epochs = 2, size = 64 }]
network = { architecture = "shufflenet_v2_x2_0", pretrained = false }
schedule = { name = "one-cycle", peak_rate = 1e-3 }
targets = { kind = "ordinal" }
augmentation = { mirror = 0.5, rotation = 10 }
"""
LEFT_BEHIND = {
    *("checkpoint.safetensors", "log.jsonl", "curves.png", "folds.json", "origin.json"),
    *("oof.csv", "scores.json", "member.onnx", "member.head.npz", "member.json"),
}


pytestmark = pytest.mark.usefixtures("small_world")


# --- the command ---------------------------------------------------------------------------------


def command_for(manifest: Path, out: Path, *more: str) -> list[str]:
    """`kellgren train member` as it is installed, beside this Python."""
    script = Path(sys.executable).with_name("kellgren")
    recipe, folds = manifest.with_name("recipe.toml"), manifest.with_name("folds.json")
    options = ("--data", manifest, "--folds", folds, "--fold", 1, "--out", out)
    return [str(word) for word in (script, "train", "member", recipe, *options, *more)]


@pytest.fixture(scope="session")
def trained(knees: list[Knee], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run of the cheapest registered network, trained by a command of its own."""
    home = tmp_path_factory.mktemp("home")
    manifest, out = home / "knees.csv", home / "run"
    write_manifest(knees, manifest)
    save_folds(FOLDS, home / "folds.json")
    (home / "recipe.toml").write_text(RECIPE)
    env = environment(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    done = finished(command_for(manifest, out), env)
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(out=out, manifest=manifest, home=home, output=done)


def test_a_run_leaves_all_that_it_promises(trained: SimpleNamespace) -> None:
    assert {path.name for path in trained.out.iterdir()} == LEFT_BEHIND
    log = [json.loads(line) for line in (trained.out / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in log] == [1, 2]
    assert {"loss", "held_out_loss", "accuracy", "macro_f1", "qwk", "mae", "minutes"} <= set(log[0])
    assert load_folds(trained.out / "folds.json") == FOLDS
    with Image.open(trained.out / "curves.png") as curves:
        assert curves.format == "PNG"
        assert curves.width > 300
    assert "9 knees to learn from, 3 held out; cpu, fp32" in trained.output.stderr
    assert "95" in trained.output.stdout  # the scores, with their intervals


def test_the_facts_are_those_of_the_run(trained: SimpleNamespace) -> None:
    facts = json.loads((trained.out / "member.json").read_text())
    assert facts["started_from"] == "random weights"
    assert (facts["held_out_fold"], facts["folds"], facts["folds_hash"]) == (1, 2, FOLDS.hash)
    assert (facts["knees"], facts["patients"]) == (9, 9)
    assert facts["preprocess"]["size"] == 64
    assert facts["export_difference"] < 0.05
    assert str(trained.home.parent) not in json.dumps(facts)  # a card tells of no machine


def test_exactly_the_held_out_knees_are_predicted(
    trained: SimpleNamespace, knees: list[Knee]
) -> None:
    actual = rows(trained.out / "oof.csv")
    held_out = [knee for knee in knees if FOLDS.of_patient[knee.patient] == 1]
    assert [os.path.realpath(row["image"]) for row in actual] == [
        os.path.realpath(knee.image) for knee in held_out
    ]
    assert [row["side"] for row in actual] == [knee.side.value for knee in held_out]
    for row in actual:
        probabilities = [float(row[f"p{grade}"]) for grade in range(5)]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert int(row["grade"]) == int(np.argmax(probabilities))
        assert row["fold"] == "1"
    assert [row["label"] for row in actual] == [f"{knee.grade:d}" for knee in held_out]


def test_a_run_becomes_a_bundle_that_grades(
    trained: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, scores, model = trained.manifest, tmp_path / "scores.json", tmp_path / "model"
    oof, table = trained.out / "oof.csv", tmp_path / "grades.csv"
    few = ("--resamples", "200")
    assert kellgren("evaluate", oof, "--labels", labels, "--json", scores, *few) == 0
    assert json.loads(scores.read_text())["coverage"]["scored"] == 3

    assert kellgren("bundle", "build", trained.out, "--labels", labels, "-o", model) == 0
    card = open_bundle(model).card
    assert card.name == "model"  # of its folder: "default" is the one of the package
    assert card.data.credit == "not stated"  # drawn knees, not the published ones
    assert card.members[0].trained_folds == (0,)
    assert card.out_of_fold["held_out_folds"] == [1]

    assert kellgren("grade", EXAMPLES, "--model", model, "--csv", table) == 0
    assert {row["grade"] for row in rows(table)} <= set("01234")
    assert len(rows(table)) == len(list(EXAMPLES.glob("*.png")))

    capsys.readouterr()
    assert kellgren("bundle", "build", trained.out, "--labels", labels, "-o", model) == 3
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("bundle", "build"), ("train", "publish"), ("train", "choose")])
def test_a_run_is_not_scored_by_other_grades_than_it_was_trained_on(
    words: tuple[str, str],
    trained: SimpleNamespace,
    knees: list[Knee],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    held_out = next(knee for knee in knees if FOLDS.of_patient[knee.patient] == 1)
    was = int(held_out.grade or 0)
    graded_anew = [
        replace(knee, grade=Grade((was + 1) % 5)) if knee is held_out else knee for knee in knees
    ]
    labels = tmp_path / "corrected.csv"
    write_manifest(graded_anew, labels)
    out = {"build": ("-o", tmp_path / "model"), "publish": ("--out", tmp_path / "model")}
    assert kellgren(*words, trained.out, "--labels", labels, *out.get(words[1], ())) == 2
    said = capsys.readouterr().err
    assert f"{held_out.image.name}, {was} then and {(was + 1) % 5} now" in said
    assert not (tmp_path / "model").exists()


def test_a_second_run_in_the_folder_changes_nothing(
    trained: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in trained.out.iterdir()}
    words = command_for(trained.manifest, trained.out)[2:]
    other_fold = [*words[: words.index("--fold")], "--fold", "0", "--out", str(trained.out)]
    dealt_anew = [word for word in other_fold if "folds" not in word]
    for attempt in (words, other_fold, dealt_anew, [*other_fold, "--resume"]):
        assert kellgren("train", *attempt) == 2
    assert "another run (different: data)" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in trained.out.iterdir()} == before


# --- schedules -----------------------------------------------------------------------------------


PATIENT = HEAD_THEN_ALL | {"patience": 2, "delta": 0.1}


@pytest.mark.parametrize(
    ("losses", "finished"),
    [
        ([], False),
        ([1.0], False),
        ([1.0, 1.2], False),
        ([1.0, 1.2, 1.1], True),
        ([1.0, 0.95, 0.92], True),  # it fell, but by less than delta
        ([1.0, 0.95, 0.85], False),  # by little at a time, but by more than delta in all
        ([1.0, 1.2, 0.8, 0.9], False),  # patience begins anew with each best
        ([1.0, 1.2, 0.8, 0.9, 0.75], True),
        ([1.0, 1.2, 0.8, 0.9, 0.65], False),
        ([float("nan"), 1.0], False),
        ([1.0, float("nan"), float("nan")], True),
        ([1.0, 0.8, 0.6, 0.4, 0.2, 0.0], True),  # the recipe has six epochs
    ],
)
def test_early_stopping(losses: list[float], finished: bool) -> None:
    history = [{"held_out_loss": loss} for loss in losses]
    assert is_finished(tiny_recipe(PATIENT, epochs=(6,)), history) is finished
    # the one-cycle schedule, and a run that holds nothing out, end with the last epoch alone
    whole = len(losses) == 6
    assert is_finished(tiny_recipe(ONE_CYCLE, epochs=(4, 2)), history) is whole
    unseen: list[dict[str, float]] = [{} for _ in losses]
    assert is_finished(tiny_recipe(PATIENT, epochs=(6,)), unseen) is whole


THEIRS = PATIENT | {"stopping": "rise"}


@pytest.mark.parametrize(
    ("losses", "ours", "theirs"),
    [
        ([1.0, 0.95, 0.92], True, False),  # it falls, if by little
        ([1.0, 1.05, 1.1], True, False),  # it does not fall, and rises by delta at most
        ([1.0, 1.2, 1.15], True, True),
        ([1.0, 1.2, 1.05, 1.2], True, False),  # any other epoch sets the count back
        ([1.0, 0.5, 0.58, 0.65], True, False),
        ([1.0, 0.5, 0.61, 0.65], True, True),  # by the lowest so far, not by the last
        ([1.0, 0.96, 1.08, 1.07], True, True),  # the lowest counts, though it fell by less
        ([float("nan"), float("nan")], True, True),
        ([1.0, 0.8, 0.6, 0.4, 0.3, 0.2], True, True),  # the recipe has six epochs
    ],
)
def test_the_authors_rule_and_ours(losses: list[float], ours: bool, theirs: bool) -> None:
    history = [{"held_out_loss": loss} for loss in losses]
    assert is_finished(tiny_recipe(PATIENT, epochs=(6,)), history) is ours
    assert is_finished(tiny_recipe(THEIRS, epochs=(6,)), history) is theirs


def test_a_loss_that_falls_and_then_wavers_trains_to_the_last_epoch_by_the_authors_rule() -> None:
    """The shape that runs of the paper's networks have; ours ends it early."""
    curve = [1.3, 1.1, 1.02, 0.95, 0.93, 0.94, 0.91, 0.95, 0.97, 0.93, 0.98, 0.94, 0.96, 1.0]
    losses = curve + [0.97] * 16
    paper = read_recipe("paper-densenet161")
    values = paper.model_dump()
    values["schedule"]["stopping"] = "stall"
    ends = {}
    for recipe in (paper, Recipe.model_validate(values)):
        history = [{"held_out_loss": loss} for loss in losses]
        ends[recipe.schedule.stopping] = next(
            n for n in range(31) if is_finished(recipe, history[:n])
        )
    assert ends == {"rise": 30, "stall": 11}
    risen = [{"held_out_loss": loss} for loss in [*curve[:7], *[1.02] * 7]]
    assert [is_finished(paper, risen[:n]) for n in (13, 14)] == [False, True]


def test_a_last_batch_that_is_kept_is_learnt_from(knees: list[Knee], tmp_path: Path) -> None:
    learnt: dict[str, list[int]] = {"keep": [], "drop": []}

    for last_batch, sizes in learnt.items():
        recipe = tiny_recipe(ONE_CYCLE, epochs=(1,), batch=7, last_batch=last_batch)
        run = tiny_run(recipe, knees, tmp_path / last_batch)
        with pytest.MonkeyPatch.context() as patch:
            inner = loop.learn

            def noted(*args: Any, sizes: list[int] = sizes, inner: Any = inner) -> torch.Tensor:
                sizes.append(len(args[3]))
                result: torch.Tensor = inner(*args)
                return result

            patch.setattr(loop, "learn", noted)
            assert train(run)
    assert learnt == {"keep": [7, 2], "drop": [7]}  # nine knees to learn from
    weights = [tensors(tmp_path / name / "checkpoint.safetensors") for name in learnt]
    assert not torch.equal(weights[0]["network/head.weight"], weights[1]["network/head.weight"])


def test_the_first_epoch_of_the_papers_schedule_changes_the_head_alone(
    knees: list[Knee], tmp_path: Path
) -> None:
    run = tiny_run(tiny_recipe(HEAD_THEN_ALL, epochs=(3,)), knees, tmp_path)
    torch.manual_seed(run.recipe.seed)
    before = find("tiny").build(5).state_dict()
    learnt = [name for name in before if name.endswith(("weight", "bias"))]

    def changed() -> set[str]:
        now = tensors(run.checkpoint)
        return {name for name in learnt if not torch.equal(before[name], now[f"network/{name}"])}

    train(run, max_minutes=0)
    assert changed() == {"head.weight", "head.bias"}
    train(run, resume=True, max_minutes=0)
    assert changed() == set(learnt)


def test_the_best_epoch_is_kept_and_is_what_is_exported(knees: list[Knee], tmp_path: Path) -> None:
    ruinous = HEAD_THEN_ALL | {"rate": 1.0, "step_factor": 1.0}
    run = tiny_run(tiny_recipe(ruinous, epochs=(5,)), knees, tmp_path)
    assert train(run)

    losses = [r["held_out_loss"] for r in read_history(run.checkpoint, run.identity)]
    best = [r["held_out_loss"] for r in read_history(run.best, run.identity)]
    assert best == losses[: int(np.argmin(losses)) + 1]
    assert len(best) < len(losses)  # or this test tells nothing
    kept, network = tensors(run.best), trained_network(run)
    assert all(torch.equal(kept[f"network/{n}"], v) for n, v in network.state_dict().items())
    assert not network.training


def test_without_held_out_knees_the_last_epoch_is_the_best(
    knees: list[Knee], tmp_path: Path
) -> None:
    run = tiny_run(tiny_recipe(PATIENT, epochs=(3,)), knees, tmp_path, fold=None)
    assert train(run)
    assert len(read_history(run.best, run.identity)) == 3


def test_an_epoch_counts_only_once_its_best_is_safe(knees: list[Knee], tmp_path: Path) -> None:
    run = tiny_run(tiny_recipe(HEAD_THEN_ALL, epochs=(2,)), knees, tmp_path)
    run.best.mkdir(parents=True)  # where no file can be put
    with pytest.raises(TrainingError, match=r"best\.safetensors: the checkpoint cannot be written"):
        train(run)
    assert not run.checkpoint.exists()


def test_a_run_ends_in_its_average(knees: list[Knee], tmp_path: Path) -> None:
    run = tiny_run(tiny_recipe(ONE_CYCLE, epochs=(1,)), knees, tmp_path)
    assert train(run)
    saved, network = tensors(run.checkpoint), trained_network(run).state_dict()
    assert all(torch.equal(saved[f"average/{n}"], v) for n, v in network.items())
    assert not torch.equal(saved["network/head.weight"], network["head.weight"])


def test_a_finished_run_can_be_refined_on_the_same_fold_alone(
    knees: list[Knee], tmp_path: Path
) -> None:
    recipe, out = tiny_recipe(ONE_CYCLE, epochs=(1,)), tmp_path / "first"
    assert train(tiny_run(recipe, knees, out))
    learnt = tensors(out / "checkpoint.safetensors")

    refined = replace(tiny_run(recipe, knees, tmp_path / "second"), start_from=out)
    for name, value in begin(refined).network.state_dict().items():
        assert torch.equal(value, learnt[f"average/{name}"])
    leaking = replace(tiny_run(recipe, knees, tmp_path / "third", fold=0), start_from=out)
    with pytest.raises(TrainingError, match="another run"):
        train(leaking)
    with pytest.raises(TrainingError, match="holds no run to start from"):
        begin(replace(refined, start_from=tmp_path))


def test_a_run_whose_checkpoint_was_deleted_is_refined_from_its_member(
    knees: list[Knee], tmp_path: Path
) -> None:
    recipe, out = tiny_recipe(ONE_CYCLE, epochs=(2,)), tmp_path / "first"
    first = tiny_run(recipe, knees, out, fold=0)
    assert train(first)
    finish(first, FOLDS, 0)
    learnt = trained_network(first)
    first.checkpoint.unlink()

    second = replace(tiny_run(recipe, knees, tmp_path / "second", fold=0), start_from=out)
    state = begin(second)
    begun = state.network.eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        np.testing.assert_allclose(begun(images), learnt(images), atol=1e-2)  # stored by halves
    assert state.origin == "a whole run of tiny, which started from random weights"
    leaking = replace(tiny_run(recipe, knees, tmp_path / "third", fold=1), start_from=out)
    with pytest.raises(TrainingError, match="learnt from other knees or another fold"):
        train(leaking)
    (out / "member.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"member\.json: is not readable \(KeyError\)"):
        begin(second)


# --- two views that must agree -------------------------------------------------------------------


def test_disagreement_is_jensen_and_shannon_s_divergence() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)) * 2
    one, other = logits.softmax(1).double().view(2, 3, 5).numpy()
    expected = np.mean([jensenshannon(a, b) ** 2 for a, b in zip(one, other, strict=True)])
    assert float(disagreement(logits, 2)) == pytest.approx(expected, rel=1e-4)
    assert float(disagreement(logits[:3].repeat(2, 1), 2)) == pytest.approx(0, abs=1e-6)
    surely = torch.eye(5)[[0, 1, 4, 4, 0, 1]] * 200
    assert float(disagreement(surely, 2)) == pytest.approx(math.log(2), rel=1e-4)


def test_two_looks_of_a_batch_are_changed_in_two_ways_and_pulled_together(
    knees: list[Knee], tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []

    class Counting(Watcher):
        def epoch_begins(self, epoch: int, epochs: int, size: int, steps: int) -> None:
            told.append((epoch, steps))

    apart = {}
    for name, weight in (("free", 1e-6), ("bound", 50.0)):
        recipe = tiny_recipe(ONE_CYCLE, epochs=(6,), batch=4, consistency=weight)
        run = tiny_run(recipe, knees, tmp_path / name)
        assert train(run, watcher=Counting())
        network, chance = trained_network(run).eval(), torch.Generator().manual_seed(0)
        stage = on_device(run, load_planes(knees, run.preprocess(32)), targets_for(run))
        change = draw(recipe.augmentation, 1, 2 * len(knees), chance).of_step(0)
        images = stage.augmented(torch.arange(len(knees)), change, chance)
        with torch.no_grad():
            apart[name] = float(disagreement(network(images), 2))
    assert {steps for _, steps in told} == {9 // 2}  # nine knees to learn from, two a step
    assert apart["bound"] < apart["free"] / 2


def test_planes_of_a_file_are_used_where_they_lie(knees: list[Knee], tmp_path: Path) -> None:
    """A cache is mapped into memory, copied on write: torch neither copies it nor warns of it."""
    run = tiny_run(tiny_recipe(ONE_CYCLE), knees, tmp_path)
    planes = load_planes(knees, run.preprocess(32))
    planes.tofile(tmp_path / "planes")
    mapped = np.memmap(tmp_path / "planes", np.uint8, mode="c", shape=planes.shape)
    stage = on_device(run, mapped, targets_for(run))
    assert stage.planes.data_ptr() == mapped.ctypes.data
    some = torch.tensor([2, 0])
    expected = run.preprocess(32).normalise(planes[some] / np.float32(255))
    np.testing.assert_allclose(stage.as_they_are(some), expected, atol=1e-6)


def test_a_frozen_stem_stays_what_it_was(knees: list[Knee], tmp_path: Path) -> None:
    frozen = {"architecture": "tiny", "pretrained": False, "freeze_stem": True}
    for name, schedule in (("ours", ONE_CYCLE), ("paper", HEAD_THEN_ALL)):
        recipe = tiny_recipe(schedule, epochs=(2,), network=frozen)
        run = tiny_run(recipe, knees, tmp_path / name)
        assert train(run)
        torch.manual_seed(run.recipe.seed)
        before, end = find("tiny").build(5), trained_network(run)
        for key, value in before.stem.state_dict().items():
            assert torch.equal(end.stem.state_dict()[key], value)
        assert not torch.equal(end.body.conv1.weight, before.body.conv1.weight)


def test_a_loss_that_is_no_number_ends_the_run_in_words(
    knees: list[Knee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(grades: int) -> Member:
        member = TINY.build(grades)
        nn.init.constant_(member.head.bias, float("nan"))
        return member

    monkeypatch.setitem(ARCHITECTURES, "tiny", replace(TINY, build=poisoned))
    run = tiny_run(tiny_recipe(ONE_CYCLE, epochs=(2,)), knees, tmp_path)
    with pytest.raises(TrainingError, match=r"the loss became nan.*--resume"):
        train(run)
    assert not run.checkpoint.exists()


def test_the_average_forgets_the_weights_that_training_began_with() -> None:
    """What a recipe shipped before averaged over three epochs and lagged behind its network."""
    steps, recipe = 165, 0.998
    kept = 1.0
    for step in range(2 * steps):
        decay = decay_at(step, recipe, steps)
        assert 1 / (1 - decay) <= steps / 2 + 1e-9
        kept *= decay
    assert decay_at(0, recipe, steps) == pytest.approx(0.1)
    assert kept < 0.02
    assert decay_at(10_000, 0.9, steps) == 0.9


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_average_of_a_tiny_epoch_is_the_network_or_near_it(steps: int) -> None:
    assert 0 <= decay_at(5, 0.99, steps) <= 0.4


def test_the_average_moves_as_its_definition_says() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    average = copy.deepcopy(network)
    before = {name: value.clone() for name, value in average.state_dict().items()}
    network(torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(1)) * 3)
    with torch.no_grad():
        network[0].weight.add_(1.0)
    move_average(paired(average, network), 0.75)
    for name, value in average.state_dict().items():
        new = network.state_dict()[name]
        moves = value.is_floating_point()
        expected = before[name] * 0.75 + new * 0.25 if moves else new
        assert torch.allclose(value, expected), name


def test_an_epoch_is_told_with_its_time_in_a_fitting_unit() -> None:
    record = {"epoch": 2, "loss": 1.25, "minutes": 0.07, "accuracy": 0.5, "qwk": 0.25}
    assert epoch_words(record) == "epoch 2: loss 1.250, held out: accuracy 0.500, QWK 0.250 (4 s)"
    assert epoch_words({"epoch": 1, "loss": 1.0, "minutes": 61.26}).endswith("(61.3 min)")
