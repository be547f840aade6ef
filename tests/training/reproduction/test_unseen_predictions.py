"""Runs predict knees that none learnt from, and nothing is lost, repeated or leaked on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import EXAMPLES, kellgren, rows
from kellgren.data.manifest import Knee, index, write_manifest
from kellgren.errors import TrainingError
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.training.campaign import Campaign
from kellgren.training.kept_epochs import write_list
from kellgren.training.member.checkpoint import Weights, save_weights
from kellgren.training.reproduction.learnt import check_unseen, learnt_by
from kellgren.training.reproduction.trained import trained_networks
from kellgren.training.runners.runner import run_campaign
from kellgren.training.selection.out_of_fold import find_runs
from kellgren.training.selection.unseen import read_unseen
from tiny_training import HEAD_THEN_ALL, ONE_CYCLE, tensors, tiny_recipe

CAMPAIGN = Campaign(
    *("tiny", 2, 0),
    (
        tiny_recipe(ONE_CYCLE, epochs=(1, 1), name="a"),
        tiny_recipe(HEAD_THEN_ALL, epochs=(2,), name="b"),
    ),
)

pytestmark = pytest.mark.usefixtures("small_world")


@pytest.fixture(scope="module")
def trained(knees: list[Knee], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert len(run_campaign(CAMPAIGN, knees, folder).finished) == 4
    return folder


@pytest.fixture
def campaign(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "campaign"))


@pytest.fixture
def unseen(tmp_path: Path) -> Path:
    """Six knees of three patients nobody learnt from: a folder for each grade, grade 4 has none."""
    folder = tmp_path / "unseen"
    for number, source in enumerate(sorted(EXAMPLES.glob("*.png"))[:6]):
        grade = folder / str(number % 4)
        grade.mkdir(parents=True, exist_ok=True)
        picture = Image.open(source).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        picture.save(grade / f"91000{number // 2:02}{'LR'[number % 2]}.png")
    return folder


def predict(campaign: Path, data: Path, *more: Path | str) -> int:
    return kellgren("train", "predict", campaign, "--data", data, *more)


def test_a_table_a_run_as_its_file_grades(
    campaign: Path, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(campaign, unseen) == 0
    out = campaign / "predictions"
    assert f"4 tables written, 0 were there -> {out}" in " ".join(capsys.readouterr().out.split())
    runs = find_runs([campaign])
    assert sorted(path.stem for path in out.glob("?-*.csv")) == sorted(r.folder.name for r in runs)
    knees = index(unseen)
    for run in runs:
        table = rows(out / f"{run.folder.name}.csv")
        assert [row["image"] for row in table] == [str(knee.image) for knee in knees]
        assert {row["fold"] for row in table} == {str(run.fold)}
        preprocess = Preprocess.model_validate(run.facts["preprocess"])
        member = MemberRuntime(
            run.folder / "member.onnx", run.folder / "member.head.npz", preprocess
        )
        expected = np.array(
            [
                softmax(member.examine(whole_knee(read_radiograph(k.image), k.side)).logits)
                for k in knees
            ]
        )
        actual = np.array([[float(row[f"p{grade}"]) for grade in range(5)] for row in table])
        np.testing.assert_allclose(actual, expected, atol=2e-6)
        assert [int(row["grade"]) for row in table] == expected.argmax(axis=1).tolist()
        (network,) = trained_networks(run)
        by_torch = network.probabilities(knees, "cpu")
        np.testing.assert_allclose(by_torch, expected, atol=1e-3)
        assert not np.array_equal(by_torch, network.probabilities(knees, None))


def test_what_is_done_is_kept_and_what_is_missing_or_changed_is_done(
    campaign: Path, unseen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict(campaign, unseen, "-o", out) == 0
    tables = sorted(out.glob("?-*.csv"))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tables}
    tables[1].unlink()
    other = next(campaign.glob(f"jobs/{tables[2].stem}/member.onnx"))
    twin = next(campaign.glob(f"jobs/{tables[3].stem}/member.onnx"))
    for name in ("member.onnx", "member.head.npz"):  # the same network at the same size
        shutil.copyfile(twin.parent / name, other.parent / name)
    capsys.readouterr()
    assert predict(campaign, unseen, "-o", out) == 0
    assert "2 tables written, 2 were there" in capsys.readouterr().out
    assert tables[1].read_bytes() == before[tables[1]][1]
    assert tables[2].read_bytes() != before[tables[2]][1]
    for path in (tables[0], tables[3]):
        assert path.stat().st_mtime_ns == before[path][0]


def test_a_bad_picture_is_named_and_stops_nothing(
    campaign: Path,
    unseen: Path,
    tmp_path: Path,
    knees: list[Knee],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = sorted(unseen.rglob("*.png"))[2]
    whole = bad.read_bytes()
    bad.write_bytes(whole[:200])
    out = tmp_path / "out"
    assert predict(campaign, unseen, "-o", out) == 1
    assert f"not predicted: {bad}: " in capsys.readouterr().err
    for path in out.glob("?-*.csv"):
        (refused,) = [row for row in rows(path) if not row["grade"]]
        assert refused["image"] == str(bad)
        assert refused["note"]
        assert len(rows(path)) == 6
    runs = find_runs([campaign])
    test = read_unseen(runs, out, index(unseen), knees)
    assert (len(test.knees), test.left_out) == (5, (bad.name,))
    assert "1 test knees are left out, for not every network predicted them" in test.warnings[0]
    labels = tmp_path / "knees.csv"
    write_manifest(knees, labels)
    chosen = ("train", "choose", campaign, "--labels", labels, "--by", "paper")
    written = tmp_path / "choice.json"
    tested = ("--test", out, "--test-labels", unseen, "--json", written)
    assert kellgren(*chosen, *tested) == 0
    said = capsys.readouterr()
    assert "5 test knees, paper: chosen on them" in said.out
    assert f"1 test knees are left out, for not every network predicted them: {bad.name}" in (
        " ".join(said.err.split())
    )
    assert json.loads(written.read_text())["protocols"]["left_out"] == [bad.name]

    bad.write_bytes(whole)
    assert predict(campaign, unseen, "-o", out) == 0
    assert "4 tables written" in capsys.readouterr().out
    assert read_unseen(runs, out, index(unseen), knees).left_out == ()


def test_a_damaged_network_is_named_and_the_others_predict(
    campaign: Path, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = sorted(campaign.glob("jobs/*/member.onnx"))[0]
    broken.write_bytes(b"none")
    assert predict(campaign, unseen) == 1
    said = capsys.readouterr()
    assert f"failed: {broken.parent.name}.csv: {broken}" in said.err
    assert "3 tables written" in said.out
    with pytest.raises(TrainingError, match=f"has no table {broken.parent.name}.csv"):
        read_unseen(find_runs([campaign]), campaign / "predictions", index(unseen), [])


def test_knees_that_a_run_learnt_from_are_refused(
    campaign: Path,
    unseen: Path,
    tmp_path: Path,
    knees: list[Knee],
    capsys: pytest.CaptureFixture[str],
) -> None:
    held_out = tmp_path / "held_out"  # by one fold, so that the other learnt from it
    (held_out / "1").mkdir(parents=True)
    image = held_out / "1" / f"{knees[3].patient}{'LR'[knees[3].side.value == 'L']}.png"
    shutil.copyfile(sorted(unseen.rglob("*.png"))[0], image)
    assert predict(campaign, held_out) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "1 of 1 knees are of patients that runs learnt from" in said
    assert image.name in said
    copied = unseen / "2" / "9200000L.png"
    shutil.copyfile(knees[0].image, copied)
    assert predict(campaign, unseen) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        f"1 of 7 pictures are copies of some that runs learnt from, such as {copied.name}" in said
    )
    assert not (campaign / "predictions").exists()

    for file in campaign.rglob("folds.json"):
        file.unlink()
    with pytest.raises(TrainingError, match="whom it learnt from is not known"):
        learnt_by(find_runs([campaign]))


def test_other_folds_than_the_runs_were_trained_with_are_no_proof(campaign: Path) -> None:
    runs = find_runs([campaign])
    path = runs[0].folder / "folds.json"
    content = json.loads(path.read_text())
    content["of_patient"] = {f"other{n}": fold for n, fold in enumerate((0, 1))}
    from kellgren.data.splits import Folds, save_folds

    save_folds(Folds(content["of_patient"], 2, 0), path)
    with pytest.raises(TrainingError, match="holds other folds than"):
        learnt_by(runs)


def test_whoever_a_table_names_was_learnt_from(campaign: Path) -> None:
    """Also where the folds would not deal patients."""
    table = next(campaign.glob("jobs/*/oof.csv"))
    named = rows(table)[0]["image"]
    table.write_text(table.read_text().replace(Path(named).name, "9777777L.png"))
    learnt = learnt_by(find_runs([campaign])).patients
    assert "9777777" in learnt
    assert len(learnt) == 13


def test_pictures_that_moved_away_are_counted(
    campaign: Path, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for table in campaign.glob("jobs/*/oof.csv"):
        table.write_text(table.read_text().replace(".png", ".gone.png"))
    learnt = learnt_by(find_runs([campaign]))
    assert (learnt.pictures, learnt.gone) == ((), 12)
    check_unseen(index(unseen), learnt, unseen)
    assert predict(campaign, unseen) == 0
    assert "note: 12 pictures that the runs learnt from are not where they were" in (
        " ".join(capsys.readouterr().err.split())
    )


def test_a_folder_of_predictions_is_of_one_set_of_knees(
    campaign: Path, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(campaign, unseen) == 0
    next(unseen.rglob("*.png")).unlink()
    assert predict(campaign, unseen) == 2
    assert "holds predictions of other knees" in " ".join(capsys.readouterr().err.split())
    (campaign / "predictions" / "predictions.json").write_text("[]")
    assert predict(campaign, unseen) == 2
    assert "is damaged" in capsys.readouterr().err


def test_knees_without_grades_are_predicted_too(
    campaign: Path, unseen: Path, tmp_path: Path, knees: list[Knee]
) -> None:
    table = tmp_path / "images.csv"
    images = sorted(unseen.rglob("*.png"))
    lines = [f"{image},{'' if n else 3}" for n, image in enumerate(images)]
    table.write_text("\n".join(["image,grade", *lines]) + "\n")
    assert predict(campaign, table, "-o", tmp_path / "out") == 0
    from kellgren.data.manifest import read_manifest

    test = read_unseen(find_runs([campaign]), tmp_path / "out", read_manifest(table), knees)
    assert (len(test.knees), test.ungraded, test.unlabelled) == (1, 5, 5)
    assert test.warnings[0] == "5 test knees have no grade and are not scored"


def test_kept_epochs_predict_and_are_read_beside_their_run(
    campaign: Path, unseen: Path, knees: list[Knee]
) -> None:
    run = next(run for run in find_runs([campaign]) if run.backbone == "b-48")
    kept = tensors(run.folder / "best.safetensors")
    bias = kept["network/head.bias"]
    bias += torch.tensor([0.0, 0.0, 50.0, 0.0, 0.0])  # an epoch that gives grade 2 alone
    halves = {name: it.half() if it.ndim > 1 else it for name, it in kept.items()}
    identity = {"recipe": run.facts["recipe_hash"], "data": run.facts["data"]}
    epochs = run.folder / "epochs"
    epochs.mkdir()
    save_weights(Weights(halves, [{}]), identity, epochs / "epoch-01.safetensors")
    shutil.copyfile(run.folder / "oof.csv", epochs / "epoch-01.csv")
    write_list(run.folder, [{}])
    assert predict(campaign, unseen) == 0
    table = rows(campaign / "predictions" / f"{run.folder.name}.epoch-01.csv")
    assert [row["grade"] for row in table] == ["2"] * 6
    test = read_unseen(find_runs([campaign]), campaign / "predictions", index(unseen), knees)
    named = [network.words for network in test.networks["b-48"]]
    assert named == ["fold 0", "fold 0, epoch 1", "fold 1"]
    assert len(test.networks["a-64"]) == 2


def test_finals_predict_too_and_have_no_fold(
    knees: list[Knee], unseen: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "with-final"
    recipe = tiny_recipe(ONE_CYCLE, epochs=(1,), name="a")
    assert len(run_campaign(Campaign("tiny", 2, 0, (recipe,), finals=True), knees, folder).finished)
    assert predict(folder, unseen) == 0
    tables = sorted((folder / "predictions").glob("a-*.csv"))
    assert [path.stem.split("-")[2] for path in tables] == ["f0", "f1", "final"]
    assert {row["fold"] for row in rows(tables[2])} == {""}
    test = read_unseen(find_runs([folder]), folder / "predictions", index(unseen), knees)
    assert len(test.networks["a-48"]) == 2  # a final held nothing out to be picked by
