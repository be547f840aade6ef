from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import io
import socket
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model

from kellgren.data.manifest import Knee
from kellgren.errors import WeightsUnavailable
from kellgren.training.architectures import Member, find, weights
from kellgren.training.architectures.packed import rounding_words
from kellgren.training.export.batch_statistics import measure
from kellgren.training.member.run import begin
from paper_architectures import GRADES, PAPER
from tiny_training import ONE_CYCLE, tiny_recipe, tiny_run

FROM_TIMM = {
    "efficientnet_b4": "EfficientNet-B4, Google; Apache-2.0",
    "efficientnet_lite2": "EfficientNet-Lite2, Google; Apache-2.0",
    "xception": "Xception, Keras Applications; MIT",
}


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

        network = timm.create_model("legacy_xception" if name == "xception" else f"tf_{name}")
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    return network.eval(), last


@pytest.mark.parametrize("name", sorted({*PAPER, *FROM_TIMM}))
def test_published_weights_give_the_published_features(name: str) -> None:
    torch.manual_seed(0)
    network, last = published(name)
    pooled: list[Tensor] = []
    last.register_forward_pre_hook(lambda _module, inputs: pooled.append(inputs[0]))
    known = find(name)
    assert isinstance(known.pretrained, weights.WeightSource)
    source = dataclasses.replace(known.pretrained, download=lambda: ("here", network.state_dict()))
    member = known.build(GRADES).eval()

    credit = f" ({FROM_TIMM[name]})" if name in FROM_TIMM else ""
    assert source(member, None) == f"ImageNet weights from here{credit}"
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


@pytest.mark.parametrize("size", [84, 518])
def test_dinov2_gives_the_published_patch_tokens(size: int) -> None:
    import timm

    torch.manual_seed(0)
    name = "vit_small_patch14_dinov2"
    network: Any = timm.create_model(name, num_classes=0, img_size=518, dynamic_img_size=True)
    network.eval()
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if "gamma" in key:  # so that attention counts
                parameter.fill_(1.0)
            elif "embed" in key or "token" in key:
                parameter.normal_(std=0.5)
    known = find("dinov2_vits14")
    assert isinstance(known.pretrained, weights.WeightSource)
    source = dataclasses.replace(known.pretrained, download=lambda: ("here", network.state_dict()))
    member = known.build(GRADES).eval()

    about = source(member, None)
    assert about == "LVD-142M weights from here (DINOv2 ViT-S/14, Meta; Apache-2.0)"
    with torch.no_grad():
        tokens = network.forward_features(an_image(size))[:, 1:]
        ours = member.features(an_image(size)).flatten(2).transpose(1, 2)
    assert ours.shape == tokens.shape
    assert (ours - tokens).abs().max() <= 1e-4 * tokens.abs().max()


def test_a_dinov2_of_another_grid_is_refused() -> None:
    known = find("dinov2_vits14")
    assert isinstance(known.pretrained, weights.WeightSource)
    member = known.build(GRADES)
    timms = {key.removeprefix("encoder."): value for key, value in member.body.state_dict().items()}
    timms |= member.stem.state_dict()
    timms["pos_embed"] = torch.zeros(1, 1 + 16 * 16, 384)
    source = dataclasses.replace(known.pretrained, download=lambda: ("here", timms))
    with pytest.raises(WeightsUnavailable, match=r"other shapes .* in patch_embed\.positions"):
        source(member, None)
    del timms["pos_embed"]
    with pytest.raises(WeightsUnavailable, match=r"lacks .*encoder\."):
        source(member, None)


def folded_resnet(chance: torch.Generator) -> dict[str, Tensor]:
    """A file as ResNet-101 v2 is published: every normalisation a scale and a shift."""

    def conv(out: int, into: int, kernel: int) -> dict[str, Tensor]:
        spread = (2 / (into * kernel**2)) ** 0.5
        weight = torch.randn(out, into, kernel, kernel, generator=chance) * spread
        return {"weight": weight, "bias": torch.randn(out, generator=chance) * 0.1}

    def scale_and_shift(count: int) -> dict[str, Tensor]:
        scale = 0.2 + torch.rand(count, generator=chance) * 0.3
        return {"weight": scale, "bias": torch.randn(count, generator=chance) * 0.1}

    parts = {"conv1": conv(64, 3, 7), "norm": scale_and_shift(1024)}
    into = 64
    for block, (units, width) in enumerate(((3, 64), (4, 128), (23, 256))):
        for unit in range(units):
            name = f"blocks.{block}.{unit}"
            parts[f"{name}.preact"] = scale_and_shift(into)
            if unit == 0:
                parts[f"{name}.shortcut"] = conv(4 * width, into, 1)
            parts[f"{name}.conv1"] = conv(width, into, 1)
            parts[f"{name}.conv2"] = conv(width, width, 3)
            parts[f"{name}.conv3"] = conv(4 * width, width, 1)
            into = 4 * width
    return {f"{part}.{key}": value for part, keys in parts.items() for key, value in keys.items()}


def as_published(file: dict[str, Tensor], x: Tensor) -> Tensor:
    """The folded network, written down a second time, with TensorFlow's padding spelt out."""

    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = file[f"{name}.weight"], file[f"{name}.bias"]
        return nn.functional.conv2d(x, weight, bias, stride, padding)

    def active(name: str, x: Tensor) -> Tensor:
        scale, shift = (file[f"{name}.{key}"][:, None, None] for key in ("weight", "bias"))
        return (x * scale + shift).relu()

    x = conv("conv1", x, 2, 3)
    before = x.shape[-1] % 2
    x = nn.functional.pad(x, (before, 1, before, 1), value=-torch.inf)
    x = nn.functional.max_pool2d(x, 3, 2)
    for block, units in enumerate((3, 4, 23)):
        for unit in range(units):
            name, stride = f"blocks.{block}.{unit}", 2 if unit == units - 1 else 1
            seen = active(f"{name}.preact", x)
            passed = x if unit else conv(f"{name}.shortcut", seen, stride)
            inner = conv(f"{name}.conv1", seen).relu()
            inner = conv(f"{name}.conv2", inner, stride, 1).relu()
            x = nn.functional.max_pool2d(passed, 1, stride if unit else 1)
            x = x + conv(f"{name}.conv3", inner)
    return active("norm", x)


@pytest.mark.parametrize("size", [64, 70])  # after the first layer: even, odd
def test_the_folded_resnet_computes_what_it_was_published_to(size: int, tmp_path: Path) -> None:
    file = folded_resnet(torch.Generator().manual_seed(0))
    save_file(file, tmp_path / "resnet101_v2.safetensors")
    known = find("resnet101_v2_block3")
    member = known.build(GRADES).eval()
    about = known.pretrained(member, tmp_path)
    assert about.endswith("resnet101_v2.safetensors (ResNet-101 v2, TF-slim; Apache-2.0)")
    with torch.no_grad():
        expected = as_published(file, an_image(size))
        ours = member.features(an_image(size))
    assert ours.shape == expected.shape
    assert expected.abs().max() > 0
    assert (ours - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_measured_normalisations_compute_the_same_and_train_from_there(tmp_path: Path) -> None:
    """Without statistics of their own, their first batch would change every feature."""
    save_file(
        folded_resnet(torch.Generator().manual_seed(0)), tmp_path / "resnet101_v2.safetensors"
    )
    known = find("resnet101_v2_block3")
    member = known.build(GRADES).eval()
    known.pretrained(member, tmp_path)
    assert known.measured
    blank = copy.deepcopy(member)
    images = torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    layers = [layer for layer in member.modules() if isinstance(layer, nn.BatchNorm2d)]

    measure(member, images, layers)

    with torch.no_grad():
        folded, unfolded = blank.features(images), member.features(images)
        learning, astray = member.train().features(images), blank.train().features(images)
    spread = folded.std()
    assert (unfolded - folded).abs().max() <= 1e-3 * folded.abs().max()
    assert (learning - folded).std() <= 0.02 * spread
    assert (astray - folded).std() > 0.5 * spread


def test_a_run_begins_with_normalisations_measured_on_its_own_knees(
    knees: list[Knee], tmp_path: Path
) -> None:
    save_file(
        folded_resnet(torch.Generator().manual_seed(0)), tmp_path / "resnet101_v2.safetensors"
    )
    run = dataclasses.replace(
        tiny_run(
            tiny_recipe(
                ONE_CYCLE,
                network={"architecture": "resnet101_v2_block3", "pretrained": True},
                average=0.9,
            ),
            knees,
            tmp_path / "run",
        ),
        weights_dir=tmp_path,
    )
    plain = find("resnet101_v2_block3").build(GRADES).eval()
    find("resnet101_v2_block3").pretrained(plain, tmp_path)

    state = begin(run)
    assert state.average is not None
    before, after = copied(plain), copied(state.average)
    means = [key for key in after if key.endswith("running_mean")]
    assert len(means) == 3 * 30 + 1
    assert all(before[key].abs().max() == 0 < after[key].abs().max() for key in means)
    with torch.no_grad():
        expected, ours = plain.features(an_image(64)), state.average.eval().features(an_image(64))
    assert (ours - expected).abs().max() <= 1e-3 * expected.abs().max()


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
        (["resnet101_v2.pth"], "no files match"),
        (["resnet101_v2-a.safetensors", "resnet101_v2-b.safetensors"], "2 files match"),
        (["resnet101_v2.safetensors"], "cannot be read as safetensors"),
    ],
)
def test_a_folder_without_usable_weights_is_refused(
    files: list[str], problem: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"not weights at all")
    member = Member({}, body_from="", channels=1, grades=1)
    with pytest.raises(WeightsUnavailable, match=problem) as refusal:
        find("resnet101_v2_block3").pretrained(member, tmp_path)
    assert "--weights-dir" in refusal.value.remedy


def test_a_folder_without_the_file_leaves_the_download_and_states_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One network whose weights nobody publishes does not ask for files of all others."""
    published = get_model("shufflenet_v2_x2_0", weights=None).state_dict()
    cached_download(tmp_path / "cache", "shufflenetv2_x2_0-8be3c8ee.pth", published)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "resnet101_v2.safetensors").write_bytes(b"of another network")
    network = find("shufflenet_v2_x2_0")
    assert isinstance(network.pretrained, weights.WeightSource)
    member = network.build(GRADES)

    reason = ", because weights has no shufflenet_v2_x2_0*.safetensors"
    planned = network.pretrained.available(folder)
    assert planned == f"download: torchvision shufflenet_v2_x2_0{reason}"
    assert network.pretrained(member, folder).endswith(f"IMAGENET1K_V1{reason}")
    assert torch.equal(member.stem.state_dict()["conv1.0.weight"], published["conv1.0.weight"])

    save_file({"a": torch.ones(1)}, folder / "shufflenet_v2_x2_0.safetensors")
    assert network.pretrained.available(folder) == "shufflenet_v2_x2_0.safetensors"
    with pytest.raises(WeightsUnavailable, match=r"shufflenet_v2_x2_0\.safetensors: lacks"):
        network.pretrained(member, folder)  # a file that is there is never passed over
    with pytest.raises(WeightsUnavailable, match="mistyped: is no folder"):
        network.pretrained.available(tmp_path / "mistyped")


def test_weights_that_nobody_publishes_are_asked_for() -> None:
    member = Member({}, body_from="", channels=1, grades=1)
    for name, file in (
        ("resnet50_v2_stage3", "resnet50_v2*.safetensors"),
        ("resnet101_v2_block3", "resnet101_v2*.safetensors"),
    ):
        with pytest.raises(WeightsUnavailable, match=f"{name}: has no weights that can be") as no:
            find(name).pretrained(member, None)
        assert file in no.value.remedy


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


def test_a_download_is_checked_by_the_hash_that_its_name_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    torch.save({"weight": torch.ones(1)}, content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    (tmp_path / "plain.pth").write_bytes(content.getvalue())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    url = (tmp_path / "plain.pth").as_uri()

    with pytest.raises(RuntimeError, match="invalid hash value"):
        weights._downloaded(url, "0" * 64)
    assert torch.equal(weights._downloaded(url, digest)["weight"], torch.ones(1))


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
