"""What a finished run leaves: predictions by torch that are those of the exported file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from command_line import kellgren, rows
from kellgren.data.manifest import Knee, write_manifest
from kellgren.errors import TrainingError
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.training.architectures import Member, find
from kellgren.training.export.folding import folded
from kellgren.training.export.onnx_export import Exported, export
from kellgren.training.input.cache import memory_store
from kellgren.training.member import outcome
from kellgren.training.member.loop import train
from kellgren.training.member.outcome import finish
from kellgren.training.member.predicting import predict
from kellgren.training.member.run import MemberRun, trained_network
from kellgren.training.member.verify import agreement, check_file
from tiny_training import FOLDS, ONE_CYCLE, tiny_recipe, tiny_run

pytestmark = pytest.mark.usefixtures("small_world")


@pytest.fixture(scope="module")
def done(
    knees: list[Knee], tmp_path_factory: pytest.TempPathFactory, small_world: None
) -> MemberRun:
    run = tiny_run(
        tiny_recipe(ONE_CYCLE, epochs=(2,)), knees, tmp_path_factory.mktemp("done") / "run"
    )
    assert train(run)
    assert finish(run, FOLDS, 1) is not None
    return run


@pytest.fixture
def copied(done: MemberRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done.out, tmp_path / "run"))


def by_file(run: MemberRun, knees: list[Knee]) -> np.ndarray:
    """What grading says of knees, ``(N, 5)``."""
    member = MemberRuntime(
        run.out / "member.onnx", run.out / "member.head.npz", run.preprocess(run.recipe.final_size)
    )
    crops = [whole_knee(read_radiograph(knee.image), knee.side) for knee in knees]
    return np.array([softmax(member.examine(crop).logits) for crop in crops])


def test_held_out_knees_are_predicted_as_the_file_grades_them(
    done: MemberRun, knees: list[Knee]
) -> None:
    held_out = [knee for knee, out in zip(knees, done.held_out, strict=True) if out]
    left = [[float(row[f"p{k}"]) for k in range(5)] for row in rows(done.out / "oof.csv")]
    assert np.abs(by_file(done, held_out) - left).max() < 1e-4
    told = json.loads((done.out / "member.json").read_text())["export_check"]
    assert (told["knees"], told["other_grades"]) == (3, 0)
    assert 0 <= told["difference"] < 1e-4


@pytest.mark.parametrize("name", ["efficientnet_lite2", "resnet50_v2_stage3", "densenet161"])
def test_torch_predicts_what_the_file_of_any_network_grades(
    name: str, knees: list[Knee], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = find(name).build(5)
    with torch.no_grad():
        network.head.weight.mul_(20)  # so that probabilities are not all alike
        network.train()(torch.randn(4, 3, 64, 64))
    seen = tiny_run(tiny_recipe(ONE_CYCLE), knees, tmp_path).preprocess(64)
    written = export(network, 64, tmp_path / "member.onnx", half_storage=True)
    np.savez(
        tmp_path / "member.head.npz",
        weight=network.head.weight.detach().numpy(),
        bias=network.head.bias.detach().numpy(),
    )
    store = memory_store(knees[:4], seen)
    actual = predict(written.network, store, np.arange(4), seen, "cpu")
    check = check_file(tmp_path, seen, store.exact(slice(None)), actual[:, 0])
    assert check["knees"] == 4
    assert check["difference"] < 1e-4
    member = MemberRuntime(tmp_path / "member.onnx", tmp_path / "member.head.npz", seen)
    for knee, logits in zip(knees, actual, strict=False):
        graded = softmax(member.examine(whole_knee(read_radiograph(knee.image), knee.side)).logits)
        np.testing.assert_allclose(softmax(logits.mean(axis=0)), graded, atol=1e-3)
    large = [i for i in onnx.load(tmp_path / "member.onnx").graph.initializer if _size(i) > 4096]
    assert len(large) > 20
    assert {i.data_type for i in large} == {onnx.TensorProto.FLOAT16}


def _size(initializer: onnx.TensorProto) -> int:
    return 0 if initializer.name.startswith("head.") else numpy_helper.to_array(initializer).size


def test_a_convolution_that_is_used_twice_is_not_folded() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
    stages = {"first": nn.Conv2d(3, 8, 1), "a": conv, "n": norm, "b": conv, "m": nn.BatchNorm2d(8)}
    member = Member(stages, body_from="a", channels=8, grades=5)
    images = torch.randn(2, 3, 16, 16)
    member.train()(images)
    member.eval()
    with torch.no_grad():
        np.testing.assert_allclose(folded(member, images[:1])(images), member(images), atol=1e-5)
    assert torch.equal(folded(member, images[:1]).state_dict()["body.a.weight"], conv.weight)


def test_a_file_of_another_network_is_refused_and_the_run_is_not_finished(
    knees: list[Knee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tiny_recipe(ONE_CYCLE, epochs=(1,)), knees, tmp_path / "run")
    assert train(run)

    def spoilt(member: Member, size: int, path: Path, *, half_storage: bool) -> Exported:
        written = export(member, size, path, half_storage=half_storage)
        model = onnx.load(path)
        (bias,) = (i for i in model.graph.initializer if i.name == "head.bias")
        values = numpy_helper.to_array(bias) + np.array([0, 0.1, 0, 0, 0], np.float32)
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        onnx.save_model(model, path)
        return written

    monkeypatch.setattr(outcome, "export", spoilt)
    with pytest.raises(TrainingError, match=r"member\.onnx: grades .* otherwise"):
        finish(run, FOLDS, 1)
    assert not {"member.json", "oof.csv"} & {path.name for path in run.out.iterdir()}


def test_a_final_member_learns_from_all_and_has_nothing_to_be_scored_on(
    knees: list[Knee], tmp_path: Path
) -> None:
    run = tiny_run(tiny_recipe(ONE_CYCLE, epochs=(1,)), knees, tmp_path / "run", fold=None)
    assert train(run)
    assert finish(run, FOLDS) is None
    left = {path.name for path in run.out.iterdir()}
    assert {"member.onnx", "member.head.npz", "member.json"} <= left
    assert not {"oof.csv", "scores.json"} & left
    facts = json.loads((run.out / "member.json").read_text())
    assert (facts["held_out_fold"], facts["folds"], facts["folds_hash"]) == (None, 2, FOLDS.hash)
    assert facts["knees"] == facts["export_check"]["knees"] == 12


def test_what_is_trained_is_read_without_the_optimiser(done: MemberRun) -> None:
    network = trained_network(done)
    assert not network.training
    assert isinstance(network, Member)


def test_near_ties_may_fall_either_way_and_other_grades_may_not() -> None:
    one = np.array([[0.4, 0.4 + 5e-5, 0.2 - 5e-5, 0, 0]])
    other = one[:, [1, 0, 2, 3, 4]]
    assert agreement(one, other).holds
    far = np.array([[0.41, 0.39, 0.2, 0, 0]])
    actual = agreement(far[:, [1, 0, 2, 3, 4]], far)
    assert (actual.knees, actual.other_grades) == (1, 1)
    assert not actual.holds
    assert not agreement(np.full((1, 5), np.nan), far).holds


# --- verified at leisure -------------------------------------------------------------------------


def test_verify_has_the_file_grade_all_that_was_held_out(
    copied: Path, knees: list[Knee], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(knees, tmp_path / "knees.csv")
    campaign = tmp_path / "campaign"
    shutil.move(copied, campaign / "jobs" / "tiny-48-f1")
    for folder in (campaign, campaign / "jobs" / "tiny-48-f1"):
        assert kellgren("train", "verify", folder, "--data", tmp_path / "knees.csv") == 0
        assert "tiny-48-f1: 3 knees, probabilities differ by at most" in capsys.readouterr().out
    left = json.loads((folder / "scores_onnx.json").read_text())
    torchs = json.loads((folder / "scores.json").read_text())
    assert left["agreement"]["knees"] == left["knees"] == 3
    assert left["confusion"] == torchs["confusion"]


def test_verify_tells_of_predictions_that_are_not_the_files(
    copied: Path, knees: list[Knee], tmp_path: Path
) -> None:
    write_manifest(knees, tmp_path / "knees.csv")
    table = (copied / "oof.csv").read_text().splitlines()
    words = table[1].split(",")
    low, *_, high = sorted(range(3, 8), key=lambda at: float(words[at]))
    words[low], words[high] = words[high], words[low]
    (copied / "oof.csv").write_text("\n".join([table[0], ",".join(words), *table[2:]]) + "\n")
    assert kellgren("train", "verify", copied, "--data", tmp_path / "knees.csv") == 1


def test_verify_names_what_it_cannot_find(
    copied: Path, knees: list[Knee], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "knees.csv"
    write_manifest(knees[:2], labels)
    assert kellgren("train", "verify", copied, "--data", labels) == 2
    assert "of its knees are not in the data, such as 90000" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert kellgren("train", "verify", tmp_path / "empty", "--data", labels) == 2
    assert "holds no finished run" in capsys.readouterr().err
    (copied / "member.json").write_text("{}")
    assert kellgren("train", "verify", copied, "--data", labels) == 2
    assert "is not a finished run (KeyError)" in capsys.readouterr().err
