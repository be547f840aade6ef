"""A campaign as a file: what may stand in it, and which runs it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kellgren.errors import InvalidCampaign, InvalidRecipe
from kellgren.training.architectures import find
from kellgren.training.campaign import read_campaign, shipped_campaigns
from kellgren.training.recipe import Recipe, read_recipe
from paper_architectures import PAPER

WHOLE = """
name = "mine"
folds = { count = 3, seed = 7 }
finals = true

[[members]]
recipe = "lite2"
sizes = [224, 288]

[[members]]
name = "slow"
recipe = "lite2"
priority = 2
change = { batch = 8, network = { architecture = "densenet161" }, augmentation = { rotation = 3 } }
"""


def written(folder: Path, text: str) -> Path:
    (folder / "mine.toml").write_text(text)
    return folder / "mine.toml"


def test_the_paper_s_campaign_is_the_paper_s() -> None:
    campaign = read_campaign("paper")
    base = read_recipe("paper-densenet161")
    assert (campaign.folds, campaign.seed) == (5, 42)
    assert [recipe.name for recipe in campaign.recipes] == list(PAPER)
    for recipe in campaign.recipes:
        assert recipe.network.architecture == recipe.name
        assert recipe.final_size == find(recipe.name).input_size  # the authors' choice
        assert recipe.batch == 16
        same = ("schedule", "targets", "augmentation", "precision", "seed")
        assert {key: getattr(recipe, key) for key in same} == {
            key: getattr(base, key) for key in same
        }


def test_ours_has_six_backbones_of_which_four_come_first() -> None:
    campaign = read_campaign("default")
    assert (campaign.folds, campaign.finals, campaign.machine) == (5, True, "accelerator")
    actual = [(r.name, r.final_size, priority) for r, priority in campaign.by_priority()]
    first = [("inception", 384), ("dinov2", 392), ("resnet101_v2", 384), ("lite2", 320)]
    assert actual == [*((*one, 1) for one in first), ("xception", 384, 0), ("b4", 380, 0)]
    assert len({recipe.network.architecture for recipe in campaign.recipes}) == 6


def test_the_processor_s_campaign_has_two() -> None:
    campaign = read_campaign("processor")
    assert (campaign.finals, campaign.machine) == (True, "processor")
    assert [(r.name, r.final_size) for r in campaign.recipes] == [
        ("inception", 288),
        ("lite2", 256),
    ]
    inception = campaign.recipes[0]
    assert (inception.epochs, inception.batch, inception.average) == (8, 32, 0.98)


def test_every_shipped_campaign_can_be_read() -> None:
    assert set(shipped_campaigns()) == {
        *("default", "processor", "fast", "quick", "paper", "paper-from-scratch"),
    }
    for name in shipped_campaigns():
        actual = read_campaign(name)
        assert actual.finals or name == "paper"
        for recipe in actual.recipes:
            assert not recipe.network.freeze_stem
            assert recipe.average in (0.0, 0.98, 0.99)
    (student,) = read_campaign("fast").recipes
    assert (student.network.architecture, student.final_size) == ("efficientnet_lite2", 224)


def test_a_file_becomes_one_recipe_for_each_member_and_size(tmp_path: Path) -> None:
    campaign = read_campaign(written(tmp_path, WHOLE))
    assert (campaign.name, campaign.folds, campaign.seed) == ("mine", 3, 7)
    actual = [(recipe.name, recipe.final_size) for recipe in campaign.recipes]
    assert actual == [("lite2", 224), ("lite2", 288), ("slow", 256)]
    small, large, slow = campaign.recipes
    base = read_recipe("lite2")
    assert [stage.size for recipe in (small, large) for stage in recipe.stages] == [224, 288]
    assert slow.augmentation.rotation == 3
    assert slow.augmentation.scale == base.augmentation.scale  # the rest of a table stays
    assert (slow.batch, slow.network.architecture) == (8, "densenet161")
    assert slow.stages == base.stages
    assert len({recipe.hash for recipe in campaign.recipes}) == 3
    assert (campaign.finals, campaign.priorities) == (True, (0, 0, 2))
    assert [recipe.name for recipe, _ in campaign.by_priority()] == ["slow", "lite2", "lite2"]


def test_sizes_given_on_the_way_replace_all(tmp_path: Path) -> None:
    campaign = read_campaign(written(tmp_path, WHOLE), [128, 256])
    actual = [(recipe.name, recipe.final_size) for recipe in campaign.recipes]
    assert actual == [("lite2", 128), ("lite2", 256), ("slow", 128), ("slow", 256)]


def test_a_recipe_may_lie_beside_its_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[3] / "src/kellgren/recipes/lite2.toml").read_text("utf-8")
    (tmp_path / "own.toml").write_text(text.replace("batch = 32", "batch = 4"))
    path = written(tmp_path, 'name = "mine"\n[[members]]\nrecipe = "own.toml"\n')
    monkeypatch.chdir(tmp_path.parent)
    assert read_campaign(path).recipes[0].batch == 4


def test_another_schedule_replaces_the_first_whole(tmp_path: Path) -> None:
    change = 'change = { schedule = { name = "one-cycle", peak_rate = 1e-3 } }'
    member = f'[[members]]\nrecipe = "paper-densenet161"\n{change}\n'
    actual = read_campaign(written(tmp_path, f'name = "mine"\n{member}')).recipes[0]
    assert actual.schedule.name == "one-cycle"


@given(size=st.integers(32, 1024), stages=st.lists(st.integers(32, 512), min_size=1, max_size=4))
def test_the_stages_keep_their_proportion(size: int, stages: list[int]) -> None:
    base = read_recipe("lite2").model_dump()
    stages.sort()
    recipe = Recipe.model_validate(
        base | {"stages": [{"epochs": 1, "size": stage} for stage in stages]}
    )
    actual = [stage.size for stage in recipe.at_size(size).stages]
    assert actual[-1] == size
    assert actual == sorted(actual)
    if size == stages[-1]:
        assert actual == stages
    else:
        for before, after in zip(stages[:-1], actual[:-1], strict=True):
            wanted = before * size / stages[-1]
            assert after in (size, 32) or after % 16 == 0
            assert abs(after - wanted) <= 8 or after == 32
    assert recipe.at_size(size).epochs == recipe.epochs


@pytest.mark.parametrize(
    ("old", "new", "output"),
    [
        ('name = "mine"\n', "", "name is missing"),
        ('name = "mine"', 'name = "My Own"', "name: string should match"),
        ("folds = {", "fold = {", "fold is not a key of a campaign"),
        ("seed = 7", "sed = 7", "folds.sed is not a key of a campaign"),
        ("count = 3", "count = 1", "folds.count: input should be greater than or equal to 2"),
        ("sizes = [224, 288]", "size = 224", "members.0.size is not a key"),
        ("sizes = [224, 288]", "sizes = [8]", "members.0.sizes.0: input should be greater"),
        ("sizes = [224, 288]", "sizes = [224, 224]", "lite2 is there twice at 224 pixels"),
        ('name = "slow"', 'name = "lite2"\nsizes = [288]', "lite2 is there twice at 288 pixels"),
        ("batch = 8", "bach = 8", "member slow: bach is not a key of a recipe"),
        ("rotation = 3", "rotate = 3", "member slow: augmentation.rotate is not a key"),
        ("batch = 8", "batch = 1", "member slow: batch: input should be greater"),
        ('name = "slow"', 'name = "slow', "is not TOML"),
        ("finals = true", "finals = 5", "finals: input should be a valid boolean"),
        ("finals = true", 'machine = "tpu"', "machine: input should be 'accelerator'"),
        ("priority = 2", "priority = 0.5", "members.1.priority: input should be a valid integer"),
        (WHOLE[WHOLE.index("[[") :], "members = []", "members: tuple should have at least 1 item"),
    ],
)
def test_a_typo_is_an_error_that_names_the_key(
    tmp_path: Path, old: str, new: str, output: str
) -> None:
    assert old in WHOLE
    with pytest.raises(InvalidCampaign) as error:
        read_campaign(written(tmp_path, WHOLE.replace(old, new)))
    assert output in str(error.value)
    assert "mine.toml" in str(error.value)


def test_what_is_no_campaign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCampaign, match=r"nothing: does not exist.*default, fast, paper"):
        read_campaign("nothing")
    with pytest.raises(InvalidRecipe, match="lite9"):
        read_campaign(written(tmp_path, WHOLE.replace('"lite2"', '"lite9"')))
