"""The paper's eight networks at toy size, from a trained fold to every figure of the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from command_line import EXAMPLES, kellgren, rows
from kellgren.data.manifest import Knee, write_manifest
from kellgren.evaluation import Scores
from kellgren.explanation.cam import activation_map
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import hard_vote, mix_vote, soft_vote
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.training.campaign import read_campaign
from kellgren.training.member.checkpoint import read_history
from kellgren.training.member.loop import train
from kellgren.training.member.outcome import finish
from kellgren.training.member.prepare import prepare
from kellgren.training.member.run import MemberRun
from kellgren.training.recipe import Recipe
from paper_architectures import PAPER
from tiny_training import FOLDS

SIZE = 64
FIGURES = {
    *("candidates", "protocols", "maps", "confusion-paper", "roc-paper", "pr-paper"),
    *("confusion-honest", "roc-honest", "pr-honest"),
}

pytestmark = pytest.mark.usefixtures("small_world")


def toy(recipe: Recipe) -> Recipe:
    """One step with the head alone, one with all layers, from random weights."""
    values = recipe.model_dump()
    values["network"]["pretrained"] = False
    values["stages"][0]["epochs"] = 2
    return Recipe.model_validate(values | {"batch": 4})


RECIPES = [toy(recipe) for recipe in read_campaign("paper", [SIZE]).recipes]


class Trained(NamedTuple):
    """A network that went the way."""

    run: MemberRun
    done: bool
    epochs: list[int]
    scores: Scores | None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paper")


@pytest.fixture(scope="module")
def few(knees: list[Knee], folder: Path) -> list[Knee]:
    """Three knees to learn from, and the three of fold 1."""
    held_out = [knee for knee in knees if FOLDS.of_patient[knee.patient] == 1]
    chosen = [*knees[:3], *held_out]
    write_manifest(chosen, folder / "knees.csv")
    return chosen


@pytest.fixture(scope="module")
def trained(few: list[Knee], folder: Path) -> Callable[[int], Trained]:
    """Train one of the eight on fold 1, once; what a report does not need is gone: gigabytes."""

    @cache
    def go(number: int) -> Trained:
        recipe = RECIPES[number]
        out = folder / "campaign" / "jobs" / f"{recipe.name}-{SIZE}-f1-{recipe.hash[:8]}"
        run = prepare(recipe, few, out, folds=FOLDS, fold=1, weights_dir=None)
        done = train(run)
        epochs = [record["epoch"] for record in read_history(run.checkpoint, run.identity)]
        scores = finish(run, FOLDS, 1)
        for weights in out.glob("*.safetensors"):
            weights.unlink()
        return Trained(run, done, epochs, scores)

    return go


@pytest.fixture(scope="module")
def campaign(trained: Callable[[int], Trained], folder: Path) -> Path:
    """Fold 1 of each network, and the manifest beside it."""
    for number in range(len(RECIPES)):
        assert trained(number).done
    return folder


@pytest.mark.parametrize("number", range(len(RECIPES)), ids=[recipe.name for recipe in RECIPES])
def test_a_network_of_the_paper_goes_the_whole_way(
    number: int, trained: Callable[[int], Trained], few: list[Knee]
) -> None:
    went = trained(number)
    assert went.done
    assert went.epochs == [1, 2]
    assert went.scores is not None
    out = went.run.out
    facts = json.loads((out / "member.json").read_text())
    assert facts["export_difference"] <= 0.05  # of weights as float16; sums are held to 1e-4
    assert facts["export_check"]["knees"] == 3  # another number than the export was traced with
    assert went.scores.knees == int(went.run.held_out.sum()) == len(rows(out / "oof.csv"))

    member = MemberRuntime(
        out / "member.onnx",
        out / "member.head.npz",
        went.run.preprocess(SIZE),
        EngineSettings(threads=1),
    )
    knee = few[-1]
    output = member.examine(whole_knee(read_radiograph(knee.image), knee.side), mirror=False)
    for grade in range(5):
        actual = activation_map(output, grade)
        assert actual.shape == output.features.shape[1:]
        assert actual.sum() + output.bias[grade] == pytest.approx(
            output.logits[grade], rel=1e-3, abs=1e-4
        )
    assert np.abs(activation_map(output, 0)).max() > 0


def test_the_eight_vote(campaign: Path) -> None:
    jobs = sorted((campaign / "campaign" / "jobs").iterdir())
    told = [rows(job / "oof.csv")[-1] for job in jobs]  # of the same knee
    members = np.array([[float(row[f"p{grade}"]) for grade in range(5)] for row in told])
    assert members.shape == (8, 5)
    hands = np.bincount(members.argmax(axis=1), minlength=5)
    assert hard_vote(members).argmax() == hands.argmax()
    assert soft_vote(members) == pytest.approx(members.sum(axis=0) / 8)
    tied = (hands == hands.max()).sum() > 1
    expected = members.sum(axis=0).argmax() if tied else hands.argmax()
    assert mix_vote(members).argmax() == expected


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six knees turned upside down, of three patients that nobody learnt from."""
    folder = tmp_path_factory.mktemp("unseen")
    for number, source in enumerate(sorted(EXAMPLES.glob("*.png"))[:6]):
        grade = folder / str(number % 5)
        grade.mkdir(exist_ok=True)
        with Image.open(source) as picture:
            turned = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        turned.save(grade / f"91000{number // 2:02}{'LR'[number % 2]}.png")
    return folder


def test_the_eight_go_from_a_fold_to_every_figure(
    campaign: Path, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, tables, out = (campaign / name for name in ("campaign", "tables", "report"))
    assert kellgren("train", "predict", trained, "--data", unseen, "-o", tables) == 0
    assert len(list(tables.glob("*-f1-*.csv"))) == len(PAPER)
    data = ("--data", campaign / "knees.csv", "-o", out, "--map-knees", "2")
    assert kellgren("train", "paper", trained, *data, "--test", tables) == 0
    text = capsys.readouterr().out
    assert "8 single networks at their own size, mean over folds" in text
    assert "all 8, mix voting" in text
    assert len(rows(out / "subsets.csv")) == 247 * 3
    content = json.loads((out / "report.json").read_text())
    assert {row["backbone"] for row in content["networks"]} == {f"{it}-{SIZE}" for it in PAPER}
    assert {path.stem for path in out.glob("*.png")} == FIGURES
    for name in FIGURES:
        picture = np.asarray(Image.open(out / f"{name}.png").convert("L"))
        assert picture.std() > 5, name
    grid = np.asarray(Image.open(out / "maps.png"), dtype=int)
    tiles = [grid[46:246, 74 + 206 * at : 274 + 206 * at] for at in range(10)]
    colour = [np.abs(tile[..., 0] - tile[..., 2])[40:].max() for tile in tiles]
    assert colour[0] == 0  # the knee itself is grey
    assert sum(it > 40 for it in colour[1:]) >= 5  # a map without evidence for the grade is grey
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 8
    assert page.count("data:image/png;base64,") == 1


@pytest.mark.usefixtures("unrendered")
def test_out_of_fold_each_knee_is_mapped_by_the_network_that_held_it_out(campaign: Path) -> None:
    out = campaign / "out-of-fold"
    data = ("--data", campaign / "knees.csv", "-o", out, "--map-knees", "1")
    assert kellgren("train", "paper", campaign / "campaign", *data) == 0
    with Image.open(out / "maps.png") as grid:
        assert grid.size == (74 + 10 * 206, 46 + 206)
    content = json.loads((out / "report.json").read_text())
    assert content["knees"] == 3
