"""Members in int8: accepted where knees keep their grades, left alone where they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from bundle_factory import SIZE, make_bundle
from command_line import kellgren
from kellgren.data.manifest import Knee, write_manifest
from kellgren.data.splits import Folds, make_folds, save_folds
from kellgren.errors import BundleError, TrainingError
from kellgren.grades import Grade, Side
from kellgren.grading.bundle import Bundle, open_bundle, write_bundle
from kellgren.grading.runtime import MemberRuntime
from kellgren.model_files.onnx_graph import check_graph
from kellgren.model_files.onnx_session import onnx_session
from kellgren.training.export.int8_arithmetic import Quantiser
from kellgren.training.export.plain_graph import simplified
from kellgren.training.selection.eight_bits import quantised_bundle
from kellgren.training.selection.eight_bits.quantised_bundle import quantise

PATIENTS = 60


@pytest.fixture(scope="module")
def knees(tmp_path_factory: pytest.TempPathFactory) -> list[Knee]:
    """Small smooth pictures of two knees a patient."""
    folder = tmp_path_factory.mktemp("knees")
    chance = np.random.default_rng(0)
    made = []
    for number in range(2 * PATIENTS):
        side = (Side.LEFT, Side.RIGHT)[number % 2]
        patient = f"{9000000 + number // 2}"
        path = folder / f"{patient}{side.value}.png"
        coarse = Image.fromarray(chance.integers(30, 225, (5, 5), dtype=np.uint8))
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path)
        made.append(Knee(path, patient, side, Grade(int(chance.integers(5))), "", "x"))
    return made


@pytest.fixture(scope="module")
def folds(knees: list[Knee]) -> Folds:
    return make_folds(knees, 3)


def trained_without(fold: int, folds: Folds, folder: Path, backbones: int = 1) -> Bundle:
    """A bundle whose members say that they learnt from all folds but one."""
    bundle = make_bundle(folder.with_name(f"{folder.name}-plain"), backbones=backbones)
    learnt = tuple(other for other in range(folds.count) if other != fold)
    members = tuple(
        member.model_copy(update={"trained_folds": learnt}) for member in bundle.card.members
    )
    data = bundle.card.data.model_copy(update={"folds_hash": folds.hash, "folds": folds.count})
    card = bundle.card.model_copy(update={"members": members, "data": data})
    return write_bundle(card, {name: bundle.path(name) for name in bundle.card.files}, folder)


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def test_an_accepted_member_is_int8_and_its_card_says_what_changed(
    knees: list[Knee], folds: Folds, tmp_path: Path
) -> None:
    bundle = trained_without(1, folds, tmp_path / "before")
    said: list[str] = []
    made = quantise(bundle, knees, folds, tmp_path / "after", name="small", say=said.append)
    member = made.card.members[0]
    assert made.card.name == "small"
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators(made.path(member.model))
    assert member.int8 is not None
    assert member.int8.check.out_of_fold
    assert member.int8.check.knees == folds.held_out(knees, 1).sum()
    assert member.int8.check.agreement >= quantised_bundle.LEAST_AGREEMENT
    assert 0 < member.int8.check.mean_shift <= member.int8.check.largest_shift < 0.2
    assert made.card.int8 == member.int8.check
    assert member.int8.check.words in said[0]


def test_the_file_passes_the_graph_check_and_its_head_gives_its_logits(
    knees: list[Knee], folds: Folds, tmp_path: Path
) -> None:
    bundle = trained_without(0, folds, tmp_path / "before")
    made = quantise(bundle, knees, folds, tmp_path / "after")
    member = made.card.members[0]
    check_graph(made.path(member.model).read_bytes())
    # the trial run holds the logits to the head, so that class maps sum to them
    MemberRuntime(made.path(member.model), made.path(member.head), member.preprocess)


def test_it_grades_alike_where_int8_has_to_be_summed_in_float32(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "plain")
    chance = np.random.default_rng(0)
    images = chance.normal(0, 1, (8, 3, SIZE, SIZE)).astype(np.float32)
    plain = onnx.load(bundle.path(bundle.card.members[0].model))
    made = Quantiser(plain, images).quantised()
    exact, summed, folded = (
        onnx_session(model.SerializeToString(), 1, int8=int8).run(["logits"], {"image": images})[0]
        for model, int8 in ((plain, True), (made, True), (made, False))
    )
    assert np.abs(summed - folded).max() < np.abs(summed - exact).max()


def test_a_member_that_changes_grades_stays_as_it_is(
    knees: list[Knee], folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = trained_without(0, folds, tmp_path / "before")
    monkeypatch.setattr(quantised_bundle, "LEAST_AGREEMENT", 1.01)
    said: list[str] = []
    with pytest.raises(TrainingError, match="no member"):
        quantise(bundle, knees, folds, tmp_path / "after", say=said.append)
    assert "stays as it is" in said[-1]
    assert not (tmp_path / "after").exists()


def test_one_member_may_stay_in_fp32_beside_another_in_int8(
    knees: list[Knee], folds: Folds, tmp_path: Path
) -> None:
    bundle = trained_without(0, folds, tmp_path / "before", backbones=2)
    spoiled = bundle.card.members[1]
    spoil(bundle.path(spoiled.model), bundle.path(spoiled.head))
    card = bundle.card
    files = {name: bundle.path(name) for name in card.files}
    bundle = write_bundle(card, files, tmp_path / "spoiled")
    made = quantise(bundle, knees, folds, tmp_path / "after")
    first, second = made.card.members
    assert first.int8 is not None
    assert second.int8 is None
    assert made.path(second.model).read_bytes() == bundle.path(second.model).read_bytes()
    assert made.card.int8 is not None
    assert made.card.int8.agreement < 1 or made.card.int8.mean_shift > 0


def spoil(model: Path, head: Path) -> None:
    """Make one feature so large that the steps of int8 are wider than all others."""
    network = onnx.load(model)
    arrays = {stored.name: stored for stored in network.graph.initializer}
    changed = {}
    for name, axis, factor in (("kernel", 0, 1e4), ("weight", 1, 1e-4)):
        values = np.moveaxis(numpy_helper.to_array(arrays[name]).copy(), axis, 0)
        values[0] *= np.float32(factor)
        changed[name] = np.moveaxis(values, 0, axis)
        arrays[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed[name]), name))
    onnx.save(network, model)
    np.savez(head, weight=changed["weight"], bias=numpy_helper.to_array(arrays["bias"]))


def test_folds_of_other_knees_are_refused(knees: list[Knee], folds: Folds, tmp_path: Path) -> None:
    bundle = trained_without(0, folds, tmp_path / "before")
    with pytest.raises(BundleError, match="other folds"):
        quantise(bundle, knees, make_folds(knees, 3, seed=7), tmp_path / "after")


def test_a_bundle_in_int8_is_not_quantised_again(
    knees: list[Knee], folds: Folds, tmp_path: Path
) -> None:
    made = quantise(trained_without(0, folds, tmp_path / "a"), knees, folds, tmp_path / "b")
    with pytest.raises(BundleError, match="in int8 already"):
        quantise(made, knees, folds, tmp_path / "c")


def test_a_final_is_judged_on_knees_that_it_learnt_from_and_the_card_says_so(
    knees: list[Knee], folds: Folds, tmp_path: Path
) -> None:
    bundle = trained_without(-1, folds, tmp_path / "before")
    made = quantise(bundle, knees, folds, tmp_path / "after", most=30)
    check = made.card.members[0].int8
    assert check is not None
    assert not check.check.out_of_fold
    assert check.check.knees == 30
    assert "of the training data" in check.check.words


def test_too_few_knees_to_judge(knees: list[Knee], folds: Folds, tmp_path: Path) -> None:
    bundle = trained_without(0, folds, tmp_path / "before")
    with pytest.raises(TrainingError, match="too few"):
        quantise(bundle, knees, folds, tmp_path / "after", most=5)


def test_paddings_that_a_graph_reckons_become_numbers() -> None:
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Gather", ["shape", "height"], ["rows"]),
        helper.make_node("Sub", ["rows", "five"], ["more"]),
        helper.make_node("Concat", ["none", "more", "none", "none", "one"], ["amounts"], axis=0),
        helper.make_node("Pad", ["image", "amounts"], ["logits"]),
    ]
    numbers = {"height": [2], "five": [5], "none": [0, 0], "one": [1]}
    shape = ["N", 3, None, None]
    graph = helper.make_graph(
        nodes,
        "padded",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(v, np.int64), name) for name, v in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    plain = simplified(model)
    assert [node.op_type for node in plain.graph.node] == ["Pad"]
    image = np.random.default_rng(0).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)
    given, expected = (
        onnx_session(network.SerializeToString(), 1).run(None, {"image": image})[0]
        for network in (plain, model)
    )
    np.testing.assert_array_equal(given, expected)


def test_weights_that_stay_are_stored_as_they_were(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "plain")
    model = onnx.load(bundle.path(bundle.card.members[0].model))
    [kernel] = [stored for stored in model.graph.initializer if stored.name == "kernel"]
    half = numpy_helper.from_array(numpy_helper.to_array(kernel).astype(np.float16), "half")
    model.graph.initializer.remove(kernel)
    model.graph.initializer.append(half)
    model.graph.node.insert(0, helper.make_node("Cast", ["half"], ["kernel"], to=TensorProto.FLOAT))
    images = np.random.default_rng(0).normal(0, 1, (4, 3, SIZE, SIZE)).astype(np.float32)
    quantiser = Quantiser(model, images)
    made = quantiser.quantised(quantiser.layers)
    stored = {one.name for one in made.graph.initializer}
    assert "half" in stored
    assert "kernel" not in stored
    given, expected = (
        onnx_session(network.SerializeToString(), 1).run(None, {"image": images})[0]
        for network in (made, model)
    )
    np.testing.assert_array_equal(given, expected)


def test_the_search_names_every_layer_once(knees: list[Knee], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "plain")
    model = onnx.load(bundle.path(bundle.card.members[0].model))
    model.graph.node[0].name = "first"
    images = np.random.default_rng(0).normal(0, 1, (4, 3, SIZE, SIZE)).astype(np.float32)
    quantiser = Quantiser(model, images)
    assert sorted(quantiser.ranked()) == sorted(quantiser.layers)
    assert "QuantizeLinear" not in {n.op_type for n in simplified(model).graph.node}


def test_the_command_writes_a_bundle_and_shows_its_card(
    knees: list[Knee], folds: Folds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_without(0, folds, tmp_path / "before")
    write_manifest(knees, tmp_path / "knees.csv")
    code = kellgren(
        *("bundle", "quantise", str(tmp_path / "before"), "--data", str(tmp_path / "knees.csv")),
        *("--output", str(tmp_path / "after"), "--folds", str(folds_file(folds, tmp_path))),
    )
    assert code == 0
    assert "graded as in fp32" in " ".join(capsys.readouterr().out.split())
    assert open_bundle(tmp_path / "after").card.members[0].int8 is not None


def folds_file(folds: Folds, folder: Path) -> Path:
    save_folds(folds, folder / "folds.json")
    return folder / "folds.json"
