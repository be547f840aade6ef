"""int8 weights: smaller files that compute in float32 and grade as before, or are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from bundle_factory import SIZE, write_network
from command_line import EXAMPLES, kellgren
from kellgren.data.manifest import Knee, write_manifest
from kellgren.file_names import patient_and_side
from kellgren.grades import Grade
from kellgren.grading.bundle import open_bundle
from kellgren.grading.engines.engine_settings import Engine, EngineSettings
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.runtime import MemberRuntime
from kellgren.training.architectures import Member
from kellgren.training.export.int8_storage import round_compensated, store_int8
from kellgren.training.export.onnx_export import export
from kellgren.training.selection.eight_bits import int8_bundle

CPU = ["CPUExecutionProvider"]


def plain(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(weight / scale[:, None]))


def steps(weight: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(weight).max(axis=1) / 127, dtype=np.float32)


def test_errors_are_made_up_for_where_inputs_are_alike() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (20, 300)).astype(np.float32)
    seen = rng.normal(0, 1, (4000, 12)) @ rng.normal(0, 1, (12, 300)) + 1
    seen = (seen + rng.normal(0, 0.3, seen.shape)).astype(np.float32)
    scale = steps(weight)
    rounded = round_compensated(weight, scale, (seen.T @ seen).astype(np.float32))
    assert rounded.dtype == np.int8
    assert np.abs(rounded.astype(int)).max() <= 127

    def error(whole: np.ndarray) -> float:
        return float(((seen @ (whole * scale[:, None] - weight).T) ** 2).mean())

    assert error(rounded) < 0.2 * error(plain(weight, scale))


def test_inputs_that_were_never_there_leave_rounding_as_it_is() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (3, 200)).astype(np.float32)
    rounded = round_compensated(weight, steps(weight), np.zeros((200, 200), np.float32))
    np.testing.assert_array_equal(rounded, plain(weight, steps(weight)))


class Tokens(nn.Module):
    """A linear layer over the channels, as transformers have."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(128, 512)

    def forward(self, features: Tensor) -> Tensor:
        moved: Tensor = self.linear(features.permute(0, 2, 3, 1))
        return moved.permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """An exported network with every kind of layer, and pictures to look at."""
    torch.manual_seed(0)
    stages = {
        "conv0": nn.Conv2d(3, 128, 7, stride=4, padding=3),
        "relu0": nn.ReLU(),
        "grouped": nn.Conv2d(128, 128, 3, padding=1, groups=2),
        "relu1": nn.ReLU(),
        "wide": nn.Conv2d(128, 128, 3, padding=2, dilation=2, stride=2),
        "relu2": nn.ReLU(),
        "linear": Tokens(),
        "relu3": nn.ReLU(),
    }
    network = Member(stages, body_from="wide", channels=512, grades=5, dropout=0.2)
    path = tmp_path_factory.mktemp("member") / "member.onnx"
    export(network, 64, path, half_storage=True)
    images = np.random.default_rng(0).normal(0, 1, (24, 1, 64, 64)).cumsum(axis=3) / 6
    return path, np.repeat(images.astype(np.float32), 3, axis=1)


def test_large_layers_are_int8_by_channel_and_the_rest_is_as_it_was(
    member: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, images = member
    model = onnx.load(path)
    before = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    assert store_int8(model, images[:16]) == 2
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "int8.onnx")
    after = {one.name: one for one in model.graph.initializer}
    small = [name for name, one in after.items() if one.data_type == TensorProto.INT8]
    assert sorted(numpy_helper.to_array(after[name]).shape for name in small) == [
        (128, 128, 3, 3),
        (128, 512),
    ]
    for name in small:
        shape = numpy_helper.to_array(after[name]).shape
        scale = numpy_helper.to_array(after[name.replace(".int8", ".scale")])
        assert scale.shape == ((1, 512) if len(shape) == 2 else (128, 1, 1, 1))
    for name in ("head.weight", "head.bias"):
        np.testing.assert_array_equal(numpy_helper.to_array(after[name]), before[name])
    grouped = [one for one in model.graph.initializer if list(one.dims) == [128, 64, 3, 3]]
    assert [one.data_type for one in grouped] == [TensorProto.FLOAT16]
    assert (tmp_path / "int8.onnx").stat().st_size < 0.8 * path.stat().st_size

    one, two = (
        onnxruntime.InferenceSession(file, providers=CPU).run(None, {"image": images[16:]})
        for file in (path, tmp_path / "int8.onnx")
    )
    assert np.abs(one[0] - two[0]).max() < 0.02 * np.abs(one[0]).max()
    assert np.abs(one[0] - two[0]).max() > 0


def test_the_runtime_folds_the_storage_away(
    member: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, images = member
    model = onnx.load(path)
    store_int8(model, images[:4])
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=CPU)
    loaded = onnx.load(tmp_path / "loaded.onnx")
    assert not {"Cast", "Mul", "DequantizeLinear"} & {node.op_type for node in loaded.graph.node}
    assert TensorProto.INT8 not in {one.data_type for one in loaded.graph.initializer}


# --- in a bundle ---------------------------------------------------------------------------------


def make_fragile(run: Path) -> None:
    """Channels alike but for a ten-thousandth, and a head that looks at their differences."""
    model = onnx.load(run / "member.onnx")
    stored = {one.name: one for one in model.graph.initializer}
    kernel, weight, bias = (numpy_helper.to_array(stored[n]) for n in ("kernel", "weight", "bias"))
    alike = kernel[:1] + 0.0001 * kernel
    looks = 1000 * (weight - weight.mean(axis=1, keepdims=True))
    stored["kernel"].CopyFrom(numpy_helper.from_array(alike, "kernel"))
    stored["weight"].CopyFrom(numpy_helper.from_array(looks, "weight"))
    onnx.save(model, run / "member.onnx")
    np.savez(run / "member.head.npz", weight=looks, bias=bias)


def lay(folder: Path, *, fragile: bool = False, channels: int = 512) -> Path:
    """A run with fold 0 held out of 80 knees, copies of the examples; where their table is."""
    run = folder / "run"
    run.mkdir()
    write_network(run, "member", 3, channels=channels)
    if fragile:
        make_fragile(run)
    preprocess = Preprocess(size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    facts = {
        **{"architecture": "tiny", "preprocess": preprocess.model_dump(), "recipe_hash": "1"},
        **{"recipe": {"name": "tiny"}, "started_from": "random weights", "held_out_fold": 0},
        **{"knees": 40, "patients": 40, "sources": ["x"], "versions": {"kellgren": "0"}},
        **{"folds": 2, "folds_hash": "2"},
    }
    (run / "member.json").write_text(json.dumps(facts))
    sources = sorted(EXAMPLES.glob("*.png"))
    lines, knees = ["image,side,grade,p0,p1,p2,p3,p4,fold"], []
    for number in range(80):
        source = sources[number % len(sources)]
        image = folder / f"{9000000 + number}{source.stem[-1]}.png"
        image.symlink_to(source)
        patient, side = patient_and_side(image)
        knees.append(Knee(image, patient, side, Grade(number % 5), "", "x"))
        if number < 40:
            lines.append(f"{image},{side.value},{number % 5},.6,.1,.1,.1,.1,0")
    (run / "oof.csv").write_text("\n".join(lines))
    write_manifest(knees, folder / "knees.csv")
    return folder / "knees.csv"


def test_a_bundle_with_int8_weights_says_what_they_changed(tmp_path: Path) -> None:
    labels = lay(tmp_path)
    words = ("bundle", "build", tmp_path / "run", "--labels", labels)
    assert kellgren(*words, "-o", tmp_path / "half") == 0
    assert kellgren(*words, "-o", tmp_path / "small", "--weights", "int8") == 0
    half, small = (open_bundle(tmp_path / name) for name in ("half", "small"))
    assert half.card.storage is None
    check = small.card.storage
    assert check is not None
    assert (check.knees, check.out_of_fold) == (40, True)
    assert check.agreement >= 0.998
    assert 0 < check.largest_shift < 0.05
    assert [member.weights for member in small.card.members] == ["int8"]
    (one,), (other,) = half.card.members, small.card.members
    assert half.card.files[one.head] == small.card.files[other.head]
    assert half.card.files[one.model] != small.card.files[other.model]
    assert kellgren("grade", EXAMPLES, "--model", tmp_path / "small") == 0


def test_int8_that_changes_grades_is_refused_with_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = lay(tmp_path, fragile=True)
    words = ("bundle", "build", tmp_path / "run", "--labels", labels, "-o", tmp_path / "small")
    assert kellgren(*words, "--weights", "int8") != 0
    output = " ".join(capsys.readouterr().err.split())
    assert "of 40 knees otherwise" in output
    assert "--weights fp16" in output
    assert not (tmp_path / "small").exists()


def test_networks_too_small_for_int8_are_not_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = lay(tmp_path, channels=8)
    words = ("bundle", "build", tmp_path / "run", "--labels", labels, "-o", tmp_path / "small")
    assert kellgren(*words, "--weights", "int8") != 0
    assert "no layer large enough" in " ".join(capsys.readouterr().err.split())


def test_a_final_is_checked_on_knees_that_did_not_show_the_layers_their_input() -> None:
    knees = [Knee(Path(f"{n}.png"), str(n), None, Grade(0), "", "") for n in range(700)]  # type: ignore[arg-type]
    observed, compared = int8_bundle._dealt(knees, [])
    assert (len(observed), len(compared)) == (32, 500)
    assert not {knee.image for knee in observed} & {knee.image for knee in compared}
    observed, compared = int8_bundle._dealt(knees, knees[:100])
    assert {knee.patient for knee in compared} == {str(n) for n in range(100)}
    assert not {knee.image for knee in observed} & {knee.image for knee in compared}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_every_engine_reads_int8_members(
    engine: Engine, member: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    path, images = member
    model = onnx.load(path)
    store_int8(model, images[:8])
    onnx.save(model, tmp_path / "member.onnx")
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    np.savez(tmp_path / "head.npz", weight=weights["head.weight"], bias=weights["head.bias"])
    sees = Preprocess(size=64, mean=(0.5,) * 3, std=(0.5,) * 3)
    runtime = MemberRuntime(
        tmp_path / "member.onnx", tmp_path / "head.npz", sees, EngineSettings(engine=engine)
    )
    logits, features, _ = runtime._infer(images[:2])
    by_head = features.mean((2, 3)) @ weights["head.weight"].T + weights["head.bias"]
    np.testing.assert_allclose(logits, by_head, atol=1e-4)
    (expected,) = onnxruntime.InferenceSession(path, providers=CPU).run(
        ["logits"], {"image": images[:2]}
    )
    assert np.abs(logits - expected).max() < 0.03 * np.abs(expected).max()
