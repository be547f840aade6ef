"""A bundle whose checksums fit can still be forged: what would grade is looked through and tried.

Each forgery here has a card that fits its files; it is refused with exit code 3 and one line.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bundle_factory import CHANNELS, SIZE, make_bundle
from command_line import EXAMPLES, kellgren
from kellgren.artefacts import file_checksum
from kellgren.ensemble import Ensemble
from kellgren.errors import BundleError
from kellgren.grading.bundle import CARD, Bundle, default_bundle, open_bundle
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.panel import Panel
from kellgren.grading.runtime import MemberRuntime

MODEL, HEAD = "member.onnx", "member.head.npz"
Forge = Callable[[Path], object]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "intact")


@pytest.fixture
def copy(intact: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact.folder, tmp_path / "copy"))


def signed(folder: Path, **preprocess: object) -> None:
    """Let the card fit what lies in the folder now; it is read as one written by hand."""
    card: dict[str, Any] = json.loads((folder / CARD).read_text("utf-8"))
    card["files"] = {name: file_checksum(folder / name) for name in card["files"]}
    card["members"][0]["preprocess"] |= preprocess
    (folder / CARD).write_text(json.dumps(card | {"seal": ""}), "utf-8")


def head(folder: Path, **arrays: np.ndarray) -> None:
    with (folder / HEAD).open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    signed(folder)


def heads(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / HEAD) as stored:
        return dict(stored)


def network(folder: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    model = onnx.load(folder / MODEL)
    change(model)
    onnx.save(model, folder / MODEL)
    signed(folder)


def weights(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(one for one in model.graph.initializer if one.name == name)


def npz_bomb(folder: Path) -> None:
    head(folder, weight=np.zeros((5, 2**20), dtype=np.float32), bias=np.zeros(5))


def odd_method(folder: Path) -> None:
    with zipfile.ZipFile(folder / HEAD, "w", zipfile.ZIP_LZMA) as archive:
        for name in ("weight", "bias"):
            stream = io.BytesIO()
            np.save(stream, np.zeros((5, CHANNELS)))
            archive.writestr(f"{name}.npy", stream.getvalue())
    signed(folder)


def encrypted(folder: Path) -> None:
    changed = bytearray((folder / HEAD).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[changed.index(signature) + offset] |= 1
    (folder / HEAD).write_bytes(changed)
    signed(folder)


def bad_deflate(folder: Path) -> None:
    head(folder, **{name: np.tile(a, 3) for name, a in heads(folder).items()})
    changed = bytearray((folder / HEAD).read_bytes())
    at = changed.index(b"weight.npy") + 30
    changed[at : at + 16] = b"\xff" * 16
    (folder / HEAD).write_bytes(changed)
    signed(folder)


def outside(folder: Path) -> None:
    model = onnx.load(folder / MODEL)
    onnx.save(
        model,
        folder / MODEL,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    signed(folder)


def huge_constant(model: onnx.ModelProto) -> None:
    shape = numpy_helper.from_array(np.array([2**17, 2**17], dtype=np.int64), "huge")
    model.graph.initializer.append(shape)
    model.graph.node.extend(
        [
            helper.make_node("ConstantOfShape", ["huge"], ["constant"]),
            helper.make_node("ReduceMean", ["constant"], ["zero"], keepdims=0),
            helper.make_node("Add", ["features", "zero"], ["unactivated"]),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("unactivated", TensorProto.FLOAT, None))


def endless_loop(model: onnx.ModelProto) -> None:
    true = numpy_helper.from_array(np.array(True), "true")
    kept = helper.make_node("Identity", ["goes_on"], ["goes_on_still"])
    flags = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("goes_on",)]
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    still = helper.make_tensor_value_info("goes_on_still", TensorProto.BOOL, [])
    body = helper.make_graph([kept], "body", [count, *flags], [still])
    model.graph.initializer.append(true)
    model.graph.node.append(helper.make_node("Loop", ["", "true"], [], body=body))


def seven_channels(model: onnx.ModelProto) -> None:
    kernel = numpy_helper.to_array(weights(model, "kernel"))
    wide = np.concatenate([kernel, kernel, kernel[:, :1]], axis=1)
    weights(model, "kernel").CopyFrom(numpy_helper.from_array(wide, "kernel"))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7


def seven_channels_unsaid(model: onnx.ModelProto) -> None:
    seven_channels(model)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "C"


def six_grades(model: onnx.ModelProto) -> None:
    for name in ("weight", "bias"):
        array = numpy_helper.to_array(weights(model, name))
        longer = np.concatenate([array, array[:1]])
        weights(model, name).CopyFrom(numpy_helper.from_array(longer, name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 6


def not_finite(model: onnx.ModelProto) -> None:
    kernel = np.full(weights(model, "kernel").dims, np.nan, dtype=np.float32)
    weights(model, "kernel").CopyFrom(numpy_helper.from_array(kernel, "kernel"))


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N"]))


def grades_in_another_order(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text("utf-8"))
    card["grades"].reverse()
    (folder / CARD).write_text(json.dumps(card | {"seal": ""}), "utf-8")


def pipe(folder: Path) -> None:
    (folder / CARD).unlink()
    os.mkfifo(folder / CARD)


def endless_card(folder: Path) -> None:
    (folder / CARD).unlink()
    (folder / CARD).symlink_to("/dev/zero")


def card_bomb(folder: Path) -> None:
    (folder / CARD).write_text('{"format": 4, "x": [' + "[]," * 2_000_000 + "[]]}")


FORGERIES: dict[str, tuple[Forge, str]] = {
    "npz bomb": (npz_bomb, rf"{HEAD}: is not a member's head \(its arrays take 20971"),
    "bad deflate": (bad_deflate, rf"{HEAD}: is not a member's head \(no whole NPZ file"),
    "odd zip method": (odd_method, rf"{HEAD}: .*is packed by method 14"),
    "encrypted zip": (encrypted, rf"{HEAD}: .*is encrypted"),
    "head of another width": (
        lambda folder: head(folder, weight=np.ones((5, 7)), bias=np.zeros(5)),
        rf"{MODEL}: .*features have the shape \(1, {CHANNELS}, 8, 8\), not \(1, 7, ...\)",
    ),
    "head of four grades": (
        lambda folder: head(folder, weight=np.ones((4, CHANNELS)), bias=np.zeros(4)),
        rf"{HEAD}: .*shapes \(4, {CHANNELS}\) and \(4,\)",
    ),
    "head of another network": (
        lambda folder: head(folder, weight=np.ones((5, CHANNELS)), bias=np.zeros(5)),
        rf"{MODEL}: .*its logits are not those that its head gives of its features",
    ),
    "head that is no number": (
        lambda folder: head(folder, weight=np.full((5, CHANNELS), np.nan), bias=np.zeros(5)),
        rf"{HEAD}: .*not finite",
    ),
    "weights outside": (outside, rf"{MODEL}: .*keeps its values in another file"),
    "huge constant": (
        lambda folder: network(folder, huge_constant),
        rf"{MODEL}: .*it needs over 4 GiB of memory",
    ),
    "endless loop": (
        lambda folder: network(folder, endless_loop),
        rf"{MODEL}: .*(operator 'Loop'|a graph inside a graph)",
    ),
    "seven channels": (
        lambda folder: network(folder, seven_channels),
        rf"{MODEL}: .*its input has the shape \(N, 7, 64, 64\), not \(N, 3, 64, 64\)",
    ),
    "seven channels, unsaid": (
        lambda folder: network(folder, seven_channels_unsaid),
        rf"{MODEL}: is not a network this version can run",
    ),
    "six grades": (
        lambda folder: network(folder, six_grades),
        rf"{MODEL}: .*its logits have the shape \(1, 6\), not \(1, 5\)",
    ),
    "outputs that are no numbers": (
        lambda folder: network(folder, not_finite),
        rf"{MODEL}: .*not finite",
    ),
    "two inputs": (lambda folder: network(folder, two_inputs), rf"{MODEL}: .*it has 2 inputs"),
    "another size": (
        lambda folder: signed(folder, size=96),
        rf"{MODEL}: .*\(N, 3, 64, 64\), not \(N, 3, 96, 96\)",
    ),
    "std 0": (lambda folder: signed(folder, std=[0.5, 0, 0.5]), r"preprocess\.std\.1"),
    "std no number": (
        lambda folder: signed(folder, std=[0.5, float("nan"), 0.5]),
        r"preprocess\.std\.1",
    ),
    "std negative": (lambda folder: signed(folder, std=[0.5, 0.5, -0.5]), r"preprocess\.std\.2"),
    "mean no number": (
        lambda folder: signed(folder, mean=[float("nan"), 0.5, 0.5]),
        r"preprocess\.mean\.0",
    ),
    "mean infinite": (
        lambda folder: signed(folder, mean=[float("inf"), 0.5, 0.5]),
        r"preprocess\.mean\.0",
    ),
    "grades in another order": (grades_in_another_order, "damaged at grades: .*in this order"),
    "pipe as card": (pipe, f"is no bundle: it has no {CARD}"),
    "endless card": (endless_card, f"is no bundle: it has no {CARD}"),
    "card bomb": (card_bomb, rf"{CARD}: is damaged: it has \d+ bytes"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_bundle_is_refused_in_one_line_with_exit_code_3(
    copy: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forge, words = FORGERIES[name]
    signed(copy)
    Panel(open_bundle(copy))  # a card written by hand is no reason
    forge(copy)
    with pytest.raises(BundleError, match=words) as refusal:
        Panel(open_bundle(copy))
    assert refusal.value.remedy.startswith("Restore the bundle")

    assert kellgren("grade", EXAMPLES, "--model", copy) == 3
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"error: {refusal.value}\n")


@pytest.mark.parametrize("name", ["huge constant", "endless loop", "seven channels", "six grades"])
def test_so_does_the_other_engine(copy: Path, name: str) -> None:
    pytest.importorskip("openvino")
    FORGERIES[name][0](copy)
    with pytest.raises(BundleError, match=FORGERIES[name][1]):
        Panel(open_bundle(copy), EngineSettings(engine="openvino"))


def test_a_format_that_only_the_runtime_knows_is_not_opened(copy: Path) -> None:
    """ONNX Runtime has one of its own, found by four letters: such bytes are no ONNX graph."""
    whole = (copy / MODEL).read_bytes()
    (copy / MODEL).write_bytes(b"\x12\x04abORTM"[:4] + b"ORTM" + whole)
    signed(copy)
    with pytest.raises(BundleError, match="is not a network this version can run"):
        Panel(open_bundle(copy))


def test_the_bytes_that_were_hashed_are_the_bytes_that_run(
    intact: Bundle, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each path is opened once between its hash and its use, and never by the runtime."""
    bundle = open_bundle(copy)
    other = make_bundle(tmp_path / "other", seed=7)
    opened: list[str] = []
    read = bundle.read

    def swapped_after(name: str) -> bytes:
        content = read(name)
        opened.append(name)
        shutil.copyfile(other.path(name), copy / name)
        return content

    monkeypatch.setattr(bundle, "read", swapped_after)
    panel = Panel(bundle)
    assert sorted(opened) == sorted([MODEL, HEAD])
    planes = np.random.default_rng(0).random((2, SIZE, SIZE), dtype=np.float32)
    expected = Panel(intact)._members[0].logits(planes)
    np.testing.assert_array_equal(panel._members[0].logits(planes), expected)


def test_the_card_that_was_read_names_the_bundle(copy: Path) -> None:
    bundle = open_bundle(copy)
    name = bundle.checksum
    assert name == file_checksum(copy / CARD)
    (copy / CARD).write_text("another")
    assert bundle.checksum == name


def test_the_packages_own_networks_pass_the_trial_that_opening_them_leaves_out() -> None:
    bundle = open_bundle(default_bundle())
    for member in bundle.card.members:
        MemberRuntime(bundle.path(member.model), bundle.path(member.head), member.preprocess)
    assert Ensemble(bundle).model["checksum"] == bundle.checksum
