"""A campaign may know one split alone, and deal its folds by knee: with a warning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import kellgren
from kellgren.data.manifest import for_training, index
from kellgren.data.splits import load_folds, make_folds
from kellgren.errors import InvalidCampaign, InvalidManifest, TrainingError
from kellgren.training.campaign import read_campaign
from kellgren.training.campaign.plan import open_campaign
from kellgren.training.recipe import HeadThenAll

THEIRS = """
name = "theirs"
folds = { by = "knee" }
splits = ["train"]

[[members]]
recipe = "from-scratch"
"""


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """30 patients in train and 6 in val, as published; only their names are read here."""
    root = tmp_path / "kneeKL299"
    for number in range(36):
        split = "train" if number < 30 else "val"
        for place, side in enumerate("LR"):
            path = root / split / str((number + place) % 5) / f"90000{number:02}{side}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def written(folder: Path, text: str = THEIRS) -> Path:
    (folder / "theirs.toml").write_text(text)
    return folder / "theirs.toml"


def test_a_campaign_has_the_folds_and_the_knees_of_its_file(
    published: Path, tmp_path: Path
) -> None:
    campaign = read_campaign(written(tmp_path))
    knees = for_training(index(published), published, campaign.splits)
    assert {knee.split for knee in knees} == {"train"}
    assert len(knees) == 60
    folds = open_campaign(campaign, knees, tmp_path / "campaign")
    assert folds == make_folds(knees, 5, 42, "knee") == load_folds(tmp_path / "campaign/folds.json")
    assert open_campaign(campaign, knees, tmp_path / "campaign") == folds

    everything = for_training(index(published), published)
    assert len(everything) == 72
    with pytest.raises(InvalidManifest, match="knows train alone; there are knees of 'val'"):
        open_campaign(campaign, everything, tmp_path / "other")
    ours = replace(campaign, folds_by="patient")
    said = r"holds a campaign of 5 folds, seed 42, by knee; asked for are 5, seed 42\. Name"
    with pytest.raises(TrainingError, match=said):
        open_campaign(ours, knees, tmp_path / "campaign")


def test_without_these_keys_a_campaign_is_what_it_was(published: Path, tmp_path: Path) -> None:
    text = THEIRS.replace('splits = ["train"]\n', "").replace('folds = { by = "knee" }\n', "")
    campaign = read_campaign(written(tmp_path, text))
    assert (campaign.folds_by, campaign.splits) == ("patient", ())
    knees = for_training(index(published), published)
    folds = open_campaign(campaign, knees, tmp_path / "campaign")
    assert folds == make_folds(knees)
    assert "of_knee" not in json.loads((tmp_path / "campaign" / "folds.json").read_text())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('by = "knee"', 'by = "side"', "folds.by: input should be 'patient' or 'knee'"),
        ('"train"', '"test"', "splits.0: input should be 'train' or 'val'"),
    ],
)
def test_a_typo_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(InvalidCampaign, match=said):
        read_campaign(written(tmp_path, THEIRS.replace(old, new)))


def test_the_test_split_is_not_trained_on_however_it_is_asked_for(published: Path) -> None:
    with pytest.raises(InvalidManifest, match="is not trained on its split test"):
        for_training(index(published), published, ("train", "test"))
    with pytest.raises(InvalidManifest, match="holds no knee of train"):
        for_training(index(published / "val"), published, ("train",))


def test_commands_warn_of_the_leak(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = written(tmp_path)
    assert kellgren("train", "ensemble", toml, "--data", published, "--plan") == 0
    told = capsys.readouterr()
    assert "warning: folds by knee leak:" in told.err
    assert "of 30 patients have knees in several folds" in told.err
    assert told.out.splitlines()[1].split()[:3] == ["1", "48", "12"]

    deal = ("data", "folds", published, "--by", "knee", "--splits", "train")
    assert kellgren(*deal, "-o", tmp_path / "folds.json") == 0
    told = capsys.readouterr()
    assert "60 knees in 5 folds" in told.out
    assert "warning: folds by knee leak:" in told.err
    train = for_training(index(published), published, ("train",))
    assert load_folds(tmp_path / "folds.json") == make_folds(train, by="knee")

    plain = written(tmp_path, THEIRS.replace('by = "knee"', 'by = "patient"'))
    assert kellgren("train", "ensemble", plain, "--data", published, "--plan") == 0
    assert "warning" not in capsys.readouterr().err


def test_options_change_a_shipped_campaign(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "ensemble", "paper-from-scratch", "--data", published, "--plan")
    theirs = ("--folds-by", "knee", "--splits", "train")
    assert kellgren(*words, *theirs) == 0
    told = capsys.readouterr()
    assert "warning: folds by knee leak:" in told.err
    assert told.out.splitlines()[1].split()[:3] == ["1", "48", "12"]
    assert kellgren(*words, "--keep-epochs") == 2
    assert "has no patience that would tolerate epochs" in capsys.readouterr().err
    assert kellgren(*words, "--splits", "test") == 2
    assert "is not trained on its split test" in capsys.readouterr().err

    paper = read_campaign("paper").changed(keep_epochs=True)
    schedules = [recipe.schedule for recipe in paper.recipes]
    assert len(schedules) == 8
    assert all(isinstance(it, HeadThenAll) and it.keep_epochs for it in schedules)
    assert read_campaign("paper").changed() == read_campaign("paper")
    assert paper.changed("knee", ["train"]).recipes == paper.recipes


def test_the_published_train_split_never_leaves_a_batch_of_one() -> None:
    """5 778 knees in five folds by knee, batches of 16: 14 or 15 are in the last one."""
    held_out = {1155, 1156}
    assert {(5778 - knees) % 16 for knees in held_out} == {15, 14}
