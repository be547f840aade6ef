from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from kellgren.errors import TrainingError
from kellgren.training.architectures import Member, find
from kellgren.training.export.onnx_export import export
from kellgren.training.export.onnx_import import load_exported

SIZE = 32


@pytest.fixture(autouse=True)
def same_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def small_member(last: nn.Module | None = None) -> Member:
    stages = {
        "conv0": nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        "norm0": nn.BatchNorm2d(16),
        "conv1": nn.Conv2d(16, 64, 3, stride=2, padding=1),
        "last": last or nn.ReLU(),
    }
    return Member(stages, body_from="conv1", channels=64, grades=5, dropout=0.5)


def run(path: Path, batch: Tensor) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits, features = session.run(["logits", "features"], {"image": batch.numpy()})
    return logits, features


def stored(path: Path) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}


def test_a_member_is_one_file_with_the_promised_inputs_and_outputs(tmp_path: Path) -> None:
    path = tmp_path / "member.onnx"
    export(small_member(), SIZE, path)
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [file.name for file in tmp_path.iterdir()] == ["member.onnx"]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [
        ("image", ["N", 3, SIZE, SIZE], "tensor(float)")
    ]
    assert [(o.name, o.shape[0]) for o in session.get_outputs()] == [
        ("logits", "N"),
        ("features", "N"),
    ]


def test_a_batch_gives_what_its_images_give_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "member.onnx"
    export(small_member(), SIZE, path)
    batch = torch.randn(4, 3, SIZE, SIZE)
    logits, features = run(path, batch)
    for k, image in enumerate(batch):
        alone = run(path, image[None])
        np.testing.assert_allclose(alone[0][0], logits[k], atol=1e-5)
        np.testing.assert_allclose(alone[1][0], features[k], atol=1e-5)


def test_batch_norms_are_folded(tmp_path: Path) -> None:
    path = tmp_path / "member.onnx"
    export(small_member(), SIZE, path)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("frozen", [False, True])
def test_the_network_in_training_stays_in_training(frozen: bool, tmp_path: Path) -> None:
    member = small_member().to(memory_format=torch.channels_last)
    if frozen:
        member.freeze_stem()
    member.train()
    before = {key: value.clone() for key, value in member.state_dict().items()}
    modes = [module.training for module in member.modules()]
    export(member, SIZE, tmp_path / "member.onnx")
    assert [module.training for module in member.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in member.state_dict().items())


def test_half_storage_halves_the_file_and_keeps_the_head_exact(tmp_path: Path) -> None:
    member = small_member(nn.Sequential(nn.ReLU(), nn.Conv2d(64, 64, 5, padding=2), nn.ReLU()))
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    exact = export(member, SIZE, whole).difference
    rounded = export(member, SIZE, half, half_storage=True).difference

    assert exact <= 1e-4
    assert exact < rounded < 5e-2
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    weights = stored(half)
    for key, value in member.head.state_dict().items():
        np.testing.assert_array_equal(numpy_helper.to_array(weights[f"head.{key}"]), value.numpy())
    assert {tensor.data_type for tensor in weights.values()} >= {TensorProto.FLOAT16}
    onnx.checker.check_model(onnx.load(half), full_check=True)


def test_the_returned_difference_is_the_one_that_half_storage_makes(tmp_path: Path) -> None:
    member = small_member()
    coarse = export(member, SIZE, tmp_path / "half.onnx", half_storage=True).difference
    with torch.no_grad():  # rounded beforehand, half storage has nothing left to round
        member.stem.norm0 = nn.Identity()
        for parameter in member.parameters():
            parameter.copy_(parameter.half())
    assert export(member, SIZE, tmp_path / "half.onnx", half_storage=True).difference < coarse


def test_weights_beyond_half_precision_stay_whole(tmp_path: Path) -> None:
    member = small_member()
    with torch.no_grad():
        member.body.conv1.weight[0, 0, 0, 0] = 1e5
    path = tmp_path / "member.onnx"
    difference = export(member, SIZE, path, half_storage=True).difference
    assert difference <= 1e-4
    assert stored(path)["body.conv1.weight"].data_type == TensorProto.FLOAT


class Restless(nn.Module):
    """Counts its calls into the result: no export can agree with it."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.relu() + 100 * self.calls


class Overflowing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.abs() + 1) / 0


@pytest.mark.parametrize("last", [Restless(), Overflowing()])
def test_an_export_that_differs_is_refused_and_the_old_file_kept(
    last: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "member.onnx"
    path.write_bytes(b"the member of yesterday")
    with pytest.raises(TrainingError, match=r"member\.onnx: .*logits differ"):
        export(small_member(last), SIZE, path)
    assert path.read_bytes() == b"the member of yesterday"
    assert [file.name for file in tmp_path.iterdir()] == ["member.onnx"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TrainingError, match="cannot be written"):
        export(small_member(), SIZE, tmp_path / "file" / "member.onnx")


# --- and back ------------------------------------------------------------------------------------


def learnt_statistics(member: Member, images: Tensor) -> Member:
    """Batch normalisations as after some training: none is the identity."""
    with torch.no_grad():
        for module in member.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 2.0)
                nn.init.normal_(module.bias, std=0.3)
                module.momentum = None  # the statistics of these images, whole
        member.train()(images)
    return member.eval()


@pytest.mark.parametrize("name", [None, "resnet50_v2_stage3", "efficientnet_lite2"])
def test_an_exported_member_computes_and_learns_as_before(name: str | None, tmp_path: Path) -> None:
    def new() -> Member:
        return small_member() if name is None else find(name).build(5)

    size = SIZE if name is None else 64
    images = torch.randn(8, 3, size, size)
    member = learnt_statistics(new(), images)
    export(member, size, tmp_path / "member.onnx")
    again = new()
    load_exported(again, tmp_path / "member.onnx", images)
    again.dropout.p = 0.0
    with torch.no_grad():
        expected = member(images)
        np.testing.assert_allclose(again(images), expected, rtol=1e-3, atol=1e-3)
        # learning, it normalises by the batch: what was measured on the images must fit that
        np.testing.assert_allclose(again.train()(images), expected, atol=5e-2)


def test_a_member_of_another_architecture_is_not_taken_for_it(tmp_path: Path) -> None:
    export(small_member(), SIZE, tmp_path / "member.onnx")
    with pytest.raises(TrainingError, match=r"member\.onnx: cannot be brought back"):
        load_exported(
            find("resnet50_v2_stage3").build(5), tmp_path / "member.onnx", torch.randn(2, 3, 64, 64)
        )


@pytest.mark.parametrize("content", [b"", b"no network", None])
def test_a_damaged_file_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "member.onnx").write_bytes(content)
    with pytest.raises(TrainingError, match=r"member\.onnx: cannot be brought back"):
        load_exported(small_member(), tmp_path / "member.onnx", torch.randn(2, 3, SIZE, SIZE))


def test_weights_that_compute_something_else_are_refused(tmp_path: Path) -> None:
    """Layers of the right shapes in another order would fit without a word."""
    path = tmp_path / "member.onnx"
    export(small_member(nn.Sigmoid()), SIZE, path)
    with pytest.raises(TrainingError, match="brought back, its logits differ"):
        load_exported(small_member(nn.ReLU()), path, torch.randn(2, 3, SIZE, SIZE))
