"""Which epochs are judged, and what is drawn of a run that judged some of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from PIL import Image

from kellgren.training.member.outcome import draw_curves
from kellgren.training.member.schedule import is_judged
from kellgren.training.recipe import read_recipe


def _judged(recipe: str, *, on_processor: bool) -> list[int]:
    loaded = read_recipe(recipe)
    epochs = range(loaded.epochs)
    return [at for at in epochs if is_judged(loaded, at, on_processor=on_processor)]


@pytest.mark.parametrize("recipe", ["inception", "dinov2"])
def test_an_accelerator_judges_each_third_epoch_and_the_last(recipe: str) -> None:
    judged = _judged(recipe, on_processor=False)
    assert judged[-1] == read_recipe(recipe).epochs - 1
    assert {later - earlier for earlier, later in itertools.pairwise(judged)} == {3}


def test_a_processor_and_early_stopping_judge_every_epoch() -> None:
    assert _judged("inception", on_processor=True) == list(range(read_recipe("inception").epochs))
    paper = read_recipe("paper-densenet161")
    assert _judged("paper-densenet161", on_processor=False) == list(range(paper.epochs))


def test_curves_are_drawn_of_the_epochs_that_were_judged(tmp_path: Path) -> None:
    scores = {"held_out_loss": 1.0, "accuracy": 0.6, "qwk": 0.7, "macro_f1": 0.5}
    history = [
        {"epoch": at, "loss": 1.5 / at} | (scores if at in (2, 5) else {}) for at in range(1, 7)
    ]
    draw_curves(history, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1100, 440)
