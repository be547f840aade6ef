"""The paper's eight networks go the whole way at toy size, from training to vote and map."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from command_line import rows
from kellgren.data.manifest import Knee
from kellgren.explanation.cam import activation_map
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import hard_vote, mix_vote, soft_vote, softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.training.campaign import read_campaign
from kellgren.training.member.checkpoint import read_history
from kellgren.training.member.loop import train
from kellgren.training.member.outcome import finish
from kellgren.training.member.prepare import prepare
from kellgren.training.recipe import Recipe
from tiny_training import FOLDS

SIZE = 64


pytestmark = pytest.mark.usefixtures("small_world")


def toy(recipe: Recipe) -> Recipe:
    """One step with the head alone, one with all layers, from random weights."""
    values = recipe.model_dump()
    values["network"]["pretrained"] = False
    values["stages"][0]["epochs"] = 2
    return Recipe.model_validate(values | {"batch": 4})


@pytest.fixture(scope="module")
def predictions() -> dict[str, npt.NDArray[np.float64]]:
    """What each network that went the way says of the same knee, ``(5,)``."""
    return {}


@pytest.mark.parametrize(
    "recipe", [toy(r) for r in read_campaign("paper", [SIZE]).recipes], ids=lambda r: str(r.name)
)
def test_a_network_of_the_paper_goes_the_whole_way(
    recipe: Recipe,
    knees: list[Knee],
    tmp_path: Path,
    predictions: dict[str, npt.NDArray[np.float64]],
) -> None:
    few = [*knees[:3], *[knee for knee in knees if FOLDS.of_patient[knee.patient] == 1][:2]]
    run = prepare(recipe, few, tmp_path, folds=FOLDS, fold=1, weights_dir=None)
    assert not train(run, max_minutes=0)
    assert train(run, resume=True)
    assert [record["epoch"] for record in read_history(run.checkpoint, run.identity)] == [1, 2]

    scores = finish(run, FOLDS, 1)
    assert scores is not None
    assert scores.knees == int(run.held_out.sum()) == len(rows(tmp_path / "oof.csv"))

    member = MemberRuntime(
        tmp_path / "member.onnx", tmp_path / "member.head.npz", run.preprocess(SIZE)
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
    predictions[recipe.name] = softmax(output.logits)
    shutil.rmtree(tmp_path)  # else pytest would keep gigabytes of them


def test_the_eight_vote(predictions: dict[str, npt.NDArray[np.float64]]) -> None:
    if len(predictions) < 8:
        pytest.skip("runs after the eight networks, not alone")
    members = np.stack(list(predictions.values()))
    hands = np.bincount(members.argmax(axis=1), minlength=5)
    assert hard_vote(members).argmax() == hands.argmax()
    assert soft_vote(members) == pytest.approx(members.sum(axis=0) / 8)
    tied = (hands == hands.max()).sum() > 1
    expected = members.sum(axis=0).argmax() if tied else hands.argmax()
    assert mix_vote(members).argmax() == expected
