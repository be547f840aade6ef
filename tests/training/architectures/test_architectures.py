from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from kellgren.errors import InvalidRecipe
from kellgren.explanation.cam import activation_map
from kellgren.grades import Side
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.runtime import MemberRuntime
from kellgren.knee import KneeCrop
from kellgren.training.architectures import ARCHITECTURES, Member, architecture, find, weights
from kellgren.training.export.onnx_export import export
from kellgren.training.recipe import PATCHES
from paper_architectures import GRADES, PAPER

Floats = npt.NDArray[np.float32]
TRUNKS = (
    "inception_v3_mixed7a",
    "resnet50_v2_stage3",
    "resnet101_v2_block3",
    "efficientnet_b4",
    "efficientnet_lite2",
    "xception",
    "dinov2_vits14",
)
MAPPED = ("densenet161", "efficientnet_b4")  # DenseNet's file has one output more
# Exported and held to torch where their maps are, or in reproduction/test_paper_networks.py.
EXPORTED_THERE = frozenset((*PAPER, *MAPPED))


def small_size(name: str) -> int:
    """Pixels that keep the tests quick; Inception does not pad, so it needs more of them."""
    if name in PATCHES:
        return 4 * PATCHES[name]
    return 128 if name.startswith("inception") else 64


def images(count: int, size: int) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))


def training_step(member: Member, batch: Tensor) -> None:
    member.train()
    trained = [parameter for parameter in member.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=1e-3)
    loss = nn.functional.cross_entropy(member(batch), torch.arange(len(batch)))
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def unchanged(module: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(before[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_architecture_keeps_its_promises(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    size = small_size(name)
    member = find(name).build(GRADES)
    batch = images(2, size)

    training_step(member, batch)
    unreached = [key for key, p in member.named_parameters() if p.grad is None]
    assert not unreached
    assert all(p.grad.isfinite().all() for p in member.parameters() if p.grad is not None)

    check_frozen_stem(member, batch)
    let_logits_speak(member, batch)
    check_ending(member, find(name).cam_layer, batch)
    if name not in EXPORTED_THERE:
        check_export(member, size, tmp_path / "member.onnx")
        (tmp_path / "member.onnx").unlink()  # pytest would keep a gigabyte of them


def check_frozen_stem(member: Member, batch: Tensor) -> None:
    member.freeze_stem()
    stem, body = copied(member.stem), copied(member.body)
    training_step(member, batch)
    assert stem
    assert member.body.training
    assert unchanged(member.stem, stem)
    assert not unchanged(member.body, body)


@torch.no_grad()
def let_logits_speak(member: Member, batch: Tensor) -> None:
    """Make logits depend on the features, which are tiny in a deep network never trained."""
    scale = member.eval().features(batch).std()
    assert scale > 0
    member.head.weight /= scale


@torch.no_grad()
def check_ending(member: Member, cam_layer: str, batch: Tensor) -> None:
    """Logits are the head of the mean features, and the CAM layer returns those features."""
    member.eval()
    seen: list[Tensor] = []
    hook = member.get_submodule(cam_layer).register_forward_hook(
        lambda _module, _inputs, output: seen.append(output.clone())
    )
    features = member.features(batch)
    hook.remove()
    logits = member(batch)

    assert features.shape[:2] == (len(batch), member.head.in_features)
    assert logits.shape == (len(batch), GRADES)
    torch.testing.assert_close(logits, member.head(features.mean((2, 3))))
    assert torch.equal(seen[0], features) or torch.equal(seen[0].relu(), features)


@torch.no_grad()
def check_export(member: Member, size: int, path: Path) -> None:
    assert export(member, size, path).difference <= 1e-4
    batch = images(3, size)  # another number of images than the export was traced with
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits, features = session.run(["logits", "features"], {"image": batch.numpy()})

    expected = member(batch).numpy()
    scale = np.maximum(1, np.abs(expected))
    assert np.max(np.abs(logits - expected) / scale) <= 1e-4
    expected_features = member.features(batch).numpy()
    assert np.abs(features - expected_features).max() <= 1e-4 * np.abs(expected_features).max()
    stored = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    for key, value in member.head.state_dict().items():
        np.testing.assert_array_equal(numpy_helper.to_array(stored[f"head.{key}"]), value.numpy())


@pytest.mark.parametrize("name", ["xception", "resnet101_v2_block3", "dinov2_vits14"])
@torch.no_grad()
def test_one_network_takes_pictures_of_several_sizes(name: str) -> None:
    member = find(name).build(GRADES).eval()
    step = PATCHES.get(name, 32)
    for size in (4 * step, 5 * step, 6 * step):
        assert member.features(images(1, size)).shape[2:] == (size // step, size // step)


def test_the_eight_of_the_paper_and_the_seven_trunks_are_known() -> None:
    assert set(ARCHITECTURES) == {*PAPER, *TRUNKS}


def test_every_weight_source_is_of_its_own_network() -> None:
    for name, known in ARCHITECTURES.items():
        assert isinstance(known.pretrained, weights.WeightSource)
        assert known.pretrained.network == known.name == name


def test_a_twin_is_refused() -> None:
    source = weights.WeightSource("resnet101", "resnet101*.safetensors")
    before = find("resnet101")

    def resnet101(grades: int) -> Member:
        raise AssertionError("never built")

    with pytest.raises(ValueError, match="already an architecture named resnet101"):
        architecture(input_size=64, cam_layer="body", pretrained=source)(resnet101)
    assert find("resnet101") is before


def test_a_typo_meets_its_neighbours() -> None:
    with pytest.raises(InvalidRecipe, match="Did you mean densenet161"):
        find("densnet161")


def test_an_alien_meets_the_whole_list() -> None:
    with pytest.raises(InvalidRecipe, match=r"Choose one of densenet161, .*, xception\."):
        find("qqqq")


# --- Grad-CAM ------------------------------------------------------------------------------------


def package_grad_cam(network: Member, layer: str, image: Tensor, grade: int) -> Floats:
    """What the grad-cam package computes for a layer, before it is cut at 0 and stretched."""

    class Unscaled(GradCAM):  # type: ignore[misc]
        def get_cam_image(self, *arguments: Any, **options: Any) -> Floats:
            self.unscaled = super().get_cam_image(*arguments, **options)
            return self.unscaled

    with Unscaled(network, [network.get_submodule(layer)]) as cam:
        cam(image, [ClassifierOutputTarget(grade)])
        found: Floats = cam.unscaled[0]
    return found


@pytest.mark.parametrize("name", MAPPED)
def test_the_map_of_an_exported_member_is_grad_cam_of_its_layer(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    entry, seen = find(name), Preprocess(size=96, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    network = entry.build(GRADES)
    training_step(network, images(4, 96))
    let_logits_speak(network, images(2, 96))
    check_export(network, 96, tmp_path / "member.onnx")
    np.savez(
        tmp_path / "head.npz", weight=network.head.weight.detach(), bias=network.head.bias.detach()
    )
    member = MemberRuntime(
        tmp_path / "member.onnx", tmp_path / "head.npz", seen, EngineSettings(threads=1)
    )
    crop = KneeCrop(np.random.default_rng(0).random((96, 96)).astype(np.float32), Side.RIGHT)
    image = torch.from_numpy(seen.normalise(seen.plane(crop)[None]))

    output = member.examine(crop, mirror=False)
    for grade in (0, 3):
        exact = activation_map(output, grade)
        assert exact.sum() + output.bias[grade] == pytest.approx(output.logits[grade], abs=1e-3)
        shown = activation_map(output, grade, grad_cam=True)
        theirs = package_grad_cam(network, entry.cam_layer, image, grade)
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(shown / scale, theirs / scale, atol=1e-3)
        is_exact = bool(np.abs(shown - exact).max() < 1e-3 * scale)
        assert is_exact == (name != "densenet161")
    in_both = member.examine(crop, mirror=True)
    mirrored = member.examine(KneeCrop(crop.pixels[:, ::-1].copy(), Side.RIGHT), mirror=False)
    expected = activation_map(output, 1, grad_cam=True)
    expected = (expected + activation_map(mirrored, 1, grad_cam=True)[:, ::-1]) / 2
    np.testing.assert_allclose(
        activation_map(in_both, 1, grad_cam=True), expected, atol=1e-4 * scale
    )
