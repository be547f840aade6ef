from __future__ import annotations

import dataclasses
import functools
import socket
import time
import urllib.error
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model

from kellgren.architectures import Member, find, weights
from kellgren.architectures.packed import rounding_words
from kellgren.errors import WeightsUnavailable
from test_architectures import GRADES, PAPER


def an_image(size: int) -> Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def unchanged(module: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(before[key], value) for key, value in module.state_dict().items())


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
    batch = an_image(64)
    with torch.no_grad():
        network(batch)
        ours = member.features(batch).mean((2, 3))
    assert pooled[0].abs().max() > 0
    assert (ours - pooled[0]).abs().max() <= 1e-4 * pooled[0].abs().max()


def test_inception_is_torchvisions_but_for_the_padding_in_its_means(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    network = get_model("inception_v3", weights=None, aux_logits=False, init_weights=False).eval()
    known = find("inception_v3_mixed7a")
    assert isinstance(known.pretrained, weights.WeightSource)
    source = dataclasses.replace(known.pretrained, download=lambda: ("here", network.state_dict()))
    member = known.build(GRADES).eval()
    source(member, None)
    seen: list[Tensor] = []
    network.Mixed_7a.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    batch = an_image(160)
    with torch.no_grad():
        ours = member.features(batch)
        network(batch)
        unpadded = functools.partial(nn.functional.avg_pool2d, count_include_pad=False)
        monkeypatch.setattr(nn.functional, "avg_pool2d", unpadded)
        network(batch)
    padded_result, unpadded_result = seen
    assert torch.equal(ours, unpadded_result)
    assert (ours - padded_result).abs().max() > 1e-3 * ours.abs().max()


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


def test_weights_that_were_rounded_to_8_bits_say_so() -> None:
    torch.manual_seed(0)
    whole = {"small.weight": torch.randn(8, 16), "large.weight": torch.randn(32, 64, 3, 3)}
    halved = {name: value.half() for name, value in whole.items()}
    assert rounding_words(whole) == rounding_words(halved) == rounding_words({}) == ""
    large = whole["large.weight"]
    scale = large.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    packed = {"large.weight": (torch.round(large / scale) * scale).half()}
    assert rounding_words(packed) == ", rounded to 8 bits with one scale a channel"
