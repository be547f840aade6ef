from __future__ import annotations

import dataclasses
import socket
import time
import urllib.error
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model

from kellgren.architectures import ARCHITECTURES, Member, architecture, find, weights
from kellgren.errors import InvalidRecipe, WeightsUnavailable
from kellgren.training.export import export_onnx

GRADES = 5
PAPER = (
    "densenet161",
    "efficientnet_b5",
    "efficientnet_v2_s",
    "regnet_y_8gf",
    "resnet101",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "shufflenet_v2_x2_0",
)
TRUNKS = ("inception_v3_mixed7a", "resnet50_v2_stage3", "efficientnet_b4", "efficientnet_lite2")


def small_size(name: str) -> int:
    """Pixels that keep the tests quick; Inception does not pad, so it needs more of them."""
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
    for module in member.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # statistics of the step below, so that features have a scale
    batch = images(2, size)

    training_step(member, batch)
    unreached = [key for key, p in member.named_parameters() if p.grad is None]
    assert not unreached
    assert all(p.grad.isfinite().all() for p in member.parameters() if p.grad is not None)

    check_frozen_stem(member, batch)
    check_ending(member, find(name).cam_layer, batch)
    check_export(member, size, tmp_path / "member.onnx")


def check_frozen_stem(member: Member, batch: Tensor) -> None:
    member.freeze_stem()
    stem, body = copied(member.stem), copied(member.body)
    training_step(member, batch)
    assert stem
    assert member.body.training
    assert unchanged(member.frozen_stem(), stem)
    assert not unchanged(member.body, body)


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
    assert features.std() > 1e-3
    assert logits.shape == (len(batch), GRADES)
    torch.testing.assert_close(logits, member.head(features.mean((2, 3))))
    assert torch.equal(seen[0], features) or torch.equal(seen[0].relu(), features)


@torch.no_grad()
def check_export(member: Member, size: int, path: Path) -> None:
    assert export_onnx(member, size, path) <= 1e-4
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


def test_the_eight_of_the_paper_and_the_four_trunks_are_known() -> None:
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
    with pytest.raises(InvalidRecipe, match=r"Choose one of densenet161, .*, wide_resnet50_2\."):
        find("qqqq")


# --- weights -----------------------------------------------------------------------------------


def published(name: str) -> tuple[nn.Module, nn.Linear]:
    """The publisher's own network, untrained, and its last layer."""
    if name in PAPER:
        network = get_model(name, weights=None)
    else:
        import timm

        network = timm.create_model(f"tf_{name}")
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    return network.eval(), last


@pytest.mark.parametrize("name", sorted({*PAPER, "efficientnet_b4", "efficientnet_lite2"}))
def test_published_weights_give_the_published_features(name: str) -> None:
    torch.manual_seed(0)
    network, last = published(name)
    pooled: list[Tensor] = []
    last.register_forward_pre_hook(lambda _module, inputs: pooled.append(inputs[0]))
    known = find(name)
    assert isinstance(known.pretrained, weights.WeightSource)
    source = dataclasses.replace(known.pretrained, download=lambda: ("here", network.state_dict()))
    member = known.build(GRADES).eval()

    assert source(member, None) == "ImageNet weights from here"
    batch = images(1, 64)
    with torch.no_grad():
        network(batch)
        ours = member.features(batch).mean((2, 3))
    assert pooled[0].abs().max() > 0
    assert (ours - pooled[0]).abs().max() <= 1e-4 * pooled[0].abs().max()


def trunk_file(folder: Path, *, without: str = "", metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file as trunks are published: half precision, no counters, no head."""
    member = find("efficientnet_lite2").build(GRADES)
    state = {**member.stem.state_dict(), **member.body.state_dict()}
    named = {f"blocks.{key}" if key[0].isdigit() else key: value for key, value in state.items()}
    kept = {
        key: value.half().contiguous()
        for key, value in named.items()
        if key != without and not key.endswith("num_batches_tracked")
    }
    file = folder / "tf_efficientnet_lite2.small.safetensors"
    save_file(kept, file, metadata)
    return file


def test_a_local_trunk_is_loaded_and_credited(tmp_path: Path) -> None:
    file = trunk_file(tmp_path, metadata={"source": "a release", "licence": "Apache-2.0"})
    member = find("efficientnet_lite2").build(GRADES)
    other = find("efficientnet_lite2").build(GRADES)
    head = copied(member.head)

    about = find("efficientnet_lite2").pretrained(member, tmp_path)
    find("efficientnet_lite2").pretrained(other, tmp_path)

    assert about == f"ImageNet weights from {file.name} (a release; Apache-2.0)"
    assert unchanged(member.stem, other.stem.state_dict())
    assert unchanged(member.body, other.body.state_dict())
    assert unchanged(member.head, head)
    assert {parameter.dtype for parameter in member.parameters()} == {torch.float32}


def test_a_missing_key_is_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    trunk_file(tmp_path, without="blocks.3.0.conv_pw.weight")
    member = find("efficientnet_lite2").build(GRADES)
    before = copied(member)
    with pytest.raises(WeightsUnavailable, match=r"lacks 3\.0\.conv_pw\.weight of efficientnet"):
        find("efficientnet_lite2").pretrained(member, tmp_path)
    assert unchanged(member, before)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    member = find("shufflenet_v2_x2_0").build(GRADES)
    narrow = get_model("shufflenet_v2_x1_0", weights=None).state_dict()
    save_file(narrow, tmp_path / "shufflenet_v2_x2_0.safetensors")
    with pytest.raises(WeightsUnavailable, match="other shapes than shufflenet_v2_x2_0"):
        find("shufflenet_v2_x2_0").pretrained(member, tmp_path)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ([], "no files match"),
        (["resnet101.pth"], "no files match"),
        (["resnet101-a.safetensors", "resnet101-b.safetensors"], "2 files match"),
        (["resnet101.safetensors"], "cannot be read as safetensors"),
    ],
)
def test_a_folder_without_usable_weights_is_refused(
    files: list[str], problem: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(WeightsUnavailable, match=problem) as refusal:
        find("resnet101").pretrained(Member({}, body_from="", channels=1, grades=1), tmp_path)
    assert "--weights-dir" in refusal.value.remedy


def test_weights_that_nobody_publishes_are_asked_for() -> None:
    member = Member({}, body_from="", channels=1, grades=1)
    with pytest.raises(WeightsUnavailable, match="resnet50_v2_stage3: has no weights that can be"):
        find("resnet50_v2_stage3").pretrained(member, None)


@pytest.mark.parametrize("name", ["resnet101", "inception_v3_mixed7a", "efficientnet_lite2"])
def test_without_a_network_the_remedy_is_a_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_request: object, **_options: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    member = Member({}, body_from="", channels=1, grades=1)
    with pytest.raises(WeightsUnavailable, match=rf"{name}: .*no route to host.*--weights-dir"):
        find(name).pretrained(member, None)


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "_NETWORK_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/silent-00000000.pth"
        source = weights.WeightSource(
            "silent", "silent*.safetensors", lambda: ("it", weights._downloaded(url))
        )
        start = time.monotonic()
        with pytest.raises(WeightsUnavailable, match="timed out"):
            source(Member({}, body_from="", channels=1, grades=1), None)
    assert time.monotonic() - start < 10
    assert socket.getdefaulttimeout() is None


def cached_download(home: Path, name: str, content: object) -> None:
    (home / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(content, home / "hub" / "checkpoints" / name)


def test_densenets_old_key_names_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = get_model("densenet161", weights=None)
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for key, value in network.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    cached_download(tmp_path, "densenet161-8d451a50.pth", old)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    member = find("densenet161").build(GRADES)
    about = find("densenet161").pretrained(member, None)
    assert about == "ImageNet weights from torchvision DenseNet161_Weights.IMAGENET1K_V1"
    theirs = network.state_dict()["features.denseblock4.denselayer24.conv2.weight"]
    assert torch.equal(member.body.state_dict()["denseblock4.denselayer24.conv2.weight"], theirs)


def test_a_download_that_is_more_than_tensors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_download(tmp_path, "shufflenetv2_x2_0-8be3c8ee.pth", nn.Linear(1, 1))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    member = find("shufflenet_v2_x2_0").build(GRADES)
    with pytest.raises(WeightsUnavailable, match="could not be downloaded"):
        find("shufflenet_v2_x2_0").pretrained(member, None)
