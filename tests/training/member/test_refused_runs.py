"""What a training refuses before its first epoch, it refuses in whole, and leaves no file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kellgren.data.manifest import Knee
from kellgren.data.splits import load_folds
from kellgren.errors import KellgrenError, UnreadableRadiograph, WeightsUnavailable
from kellgren.training.member.loop import train
from kellgren.training.member.prepare import prepare
from kellgren.training.member.run import MemberRun
from kellgren.training.recipe import Recipe
from tiny_training import FOLDS, ONE_CYCLE, tiny_recipe

pytestmark = pytest.mark.usefixtures("small_world")

RECIPE = tiny_recipe(ONE_CYCLE, epochs=(1,))
UNKNOWN = {"network": {"architecture": "tiny", "pretrained": True}}


def prepared(recipe: Recipe, knees: list[Knee], out: Path, start_from: Path | None) -> MemberRun:
    return prepare(recipe, knees, out, folds=FOLDS, fold=1, weights_dir=None, start_from=start_from)


@pytest.mark.parametrize("why", ["weights", "start", "picture"])
def test_a_refused_run_leaves_nothing(why: str, knees: list[Knee], tmp_path: Path) -> None:
    recipe = tiny_recipe(ONE_CYCLE, epochs=(1,), **UNKNOWN) if why == "weights" else RECIPE
    missing = replace(knees[3], image=tmp_path / "gone.png")
    of = [*knees[:3], missing, *knees[4:]] if why == "picture" else knees
    run = prepared(recipe, of, tmp_path / "run", tmp_path / "no run" if why == "start" else None)
    with pytest.raises(KellgrenError) as refused:
        train(run)
    expected = {"weights": WeightsUnavailable, "picture": UnreadableRadiograph}
    assert isinstance(refused.value, expected.get(why, KellgrenError))
    assert not run.out.exists()


def test_a_run_that_begins_keeps_its_folds(knees: list[Knee], tmp_path: Path) -> None:
    run = prepared(RECIPE, knees, tmp_path / "run", None)
    assert train(run)
    assert load_folds(run.out / "folds.json") == FOLDS
    assert (run.out / "origin.json").is_file()
