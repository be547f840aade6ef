"""The paper's eight networks at toy size, from a trained fold to every figure of the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import EXAMPLES, kellgren, rows
from kellgren.data.manifest import Knee, write_manifest
from kellgren.training.campaign import read_campaign
from kellgren.training.member.loop import train
from kellgren.training.member.outcome import finish
from kellgren.training.member.prepare import prepare
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
    """One step with the head alone, from random weights."""
    values = recipe.model_dump()
    values["network"]["pretrained"] = False
    values["stages"][0]["epochs"] = 1
    return Recipe.model_validate(values | {"batch": 4})


@pytest.fixture(scope="module")
def campaign(knees: list[Knee], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fold 1 of each network; what a report does not need is gone, for it takes gigabytes."""
    folder = tmp_path_factory.mktemp("paper")
    for recipe in (toy(it) for it in read_campaign("paper", [SIZE]).recipes):
        out = folder / "campaign" / "jobs" / f"{recipe.name}-{SIZE}-f1-{recipe.hash[:8]}"
        run = prepare(recipe, knees, out, folds=FOLDS, fold=1, weights_dir=None)
        assert train(run)
        finish(run, FOLDS, 1)
        for weights in out.glob("*.safetensors"):
            weights.unlink()
    write_manifest(knees, folder / "knees.csv")
    return folder


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


def test_out_of_fold_each_knee_is_mapped_by_the_network_that_held_it_out(campaign: Path) -> None:
    out = campaign / "out-of-fold"
    data = ("--data", campaign / "knees.csv", "-o", out, "--map-knees", "1")
    assert kellgren("train", "paper", campaign / "campaign", *data) == 0
    with Image.open(out / "maps.png") as grid:
        assert grid.size == (74 + 10 * 206, 46 + 206)
    content = json.loads((out / "report.json").read_text())
    assert content["knees"] == 3
