"""One member's look at a knee: engines, orientation, and maps that add up to the logits."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper

from command_line import EXAMPLES, kellgren
from kellgren.ensemble import Ensemble
from kellgren.errors import BundleError, MissingExtra
from kellgren.explanation.cam import SMOOTHING_FACTORS, activation_map, ensemble_maps, heat
from kellgren.file_names import patient_and_side
from kellgren.grades import Side
from kellgren.grading.bundle import default_bundle, open_bundle
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.engines.processor import computes_in_bf16
from kellgren.grading.panel import Panel
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.runtime import MemberOutput, MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import KneeCrop
from kellgren.localisation.crop import whole_knee
from kellgren.training.architectures import Member
from kellgren.training.export.onnx_export import export
from tiny_training import TINY

KNEES = sorted(EXAMPLES.glob("*.png"))
LEFT = EXAMPLES / "9177337L.png"
SEEN = Preprocess(size=64, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
PICTURES = arrays(np.float32, (40, 52), elements=st.floats(0, 1, width=16))


def crop_of(path: Path) -> KneeCrop:
    return whole_knee(read_radiograph(path), patient_and_side(path)[1])


def mirrored(crop: KneeCrop) -> KneeCrop:
    """The same bones as a picture of the other knee shows them."""
    other = {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT, Side.UNKNOWN: Side.UNKNOWN}
    return KneeCrop(np.ascontiguousarray(crop.pixels[:, ::-1]), other[crop.side])


def logits_of(output: MemberOutput) -> npt.NDArray[np.float32]:
    """What the maps of the five grades and the biases add up to."""
    maps = [activation_map(output, grade).sum() for grade in range(5)]
    return np.array(maps, dtype=np.float32) + output.bias


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A small random network, in torch and as a member; its logits differ from knee to knee."""
    folder = tmp_path_factory.mktemp("member")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = TINY.build(5).eval()
        torch.nn.init.normal_(network.head.weight, std=2.0)
        export(network, SEEN.size, folder / "member.onnx")
    head = {name: value.numpy() for name, value in network.head.state_dict().items()}
    np.savez(folder / "member.head.npz", **head)
    model, head_file = folder / "member.onnx", folder / "member.head.npz"
    runtime = MemberRuntime(model, head_file, SEEN, EngineSettings(threads=1))
    return SimpleNamespace(network=network, runtime=runtime, model=model, head=head_file)


@pytest.fixture(scope="module")
def shipped() -> MemberRuntime:
    """The first member of the bundle that comes with the package."""
    bundle = open_bundle(default_bundle())
    card = bundle.card.members[0]
    model, head = bundle.path(card.model), bundle.path(card.head)
    return MemberRuntime(model, head, card.preprocess)


# --- engines -------------------------------------------------------------------------------------


def test_both_engines_give_the_same_probabilities() -> None:
    pytest.importorskip("openvino")
    bundle = open_bundle(default_bundle())
    panels = [
        Panel(bundle, EngineSettings(engine=engine)) for engine in ("onnxruntime", "openvino")
    ]
    for path in KNEES[:4]:
        one, other = (panel.examine(crop_of(path)) for panel in panels)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)
        for ours, theirs in zip(one.outputs, other.outputs, strict=True):
            scale = np.abs(ours.features).max()
            np.testing.assert_allclose(ours.features, theirs.features, atol=1e-3 * scale)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_threads_may_share_a_member(tiny: SimpleNamespace, engine: str) -> None:
    pytest.importorskip(engine)
    member = MemberRuntime(tiny.model, tiny.head, SEEN, EngineSettings(engine=engine, threads=1))
    crops = [crop_of(path) for path in KNEES]
    alone = [member.examine(crop).logits for crop in crops]
    with ThreadPoolExecutor(8) as pool:
        together = [output.logits for output in pool.map(member.examine, crops * 20)]
    for position, logits in enumerate(together):
        np.testing.assert_array_equal(logits, alone[position % len(crops)])


def test_bf16_stays_close_and_only_where_it_is_asked_for(tiny: SimpleNamespace) -> None:
    pytest.importorskip("openvino")
    if not computes_in_bf16():
        pytest.skip("this processor does not")
    crop = crop_of(LEFT)
    whole, half = (
        MemberRuntime(
            tiny.model, tiny.head, SEEN, EngineSettings(engine="openvino", precision=precision)
        )
        for precision in ("fp32", "bf16")
    )
    exact = tiny.runtime.examine(crop).logits
    np.testing.assert_allclose(whole.examine(crop).logits, exact, atol=1e-4)
    np.testing.assert_allclose(half.examine(crop).logits, exact, atol=0.2)


def test_bf16_is_refused_where_it_would_be_fp32(
    tiny: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MissingExtra, match="--engine openvino"):
        MemberRuntime(tiny.model, tiny.head, SEEN, EngineSettings(precision="bf16"))
    assert kellgren("grade", LEFT, "--precision", "bf16") == 2
    assert "ONNX Runtime computes in fp32" in capsys.readouterr().err


def without_features(path: Path) -> None:
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 64, 64])
    result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3, 64, 64])
    node = helper.make_node("Relu", ["image"], ["logits"])
    graph = helper.make_graph([node], "alien", [value], [result])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_what_is_no_member_is_refused(tiny: SimpleNamespace, engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    alien, noise, gone = (tmp_path / name for name in ("alien.onnx", "noise.onnx", "gone.onnx"))
    without_features(alien)
    noise.write_bytes(b"no network at all")
    for model in (alien, noise, gone):
        with pytest.raises(BundleError, match=rf"{model.name}: is not a network"):
            MemberRuntime(model, tiny.head, SEEN, EngineSettings(engine=engine))


@pytest.mark.parametrize("harm", ["empty", "cut", "array", "pickle", "nameless", "gone"])
def test_what_is_no_head_is_refused(tiny: SimpleNamespace, harm: str, tmp_path: Path) -> None:
    head, whole = tmp_path / "head.npz", tiny.head.read_bytes()
    with head.open("wb") as stream:
        match harm:
            case "cut":
                stream.write(whole[: len(whole) // 2])
            case "array":
                np.save(stream, np.zeros(3))
            case "pickle":
                np.savez(stream, weight=np.array([{}]), bias=np.zeros(5))
            case "nameless":
                np.savez(stream, weight=np.zeros((5, 16)))
    if harm == "gone":
        head.unlink()
    with pytest.raises(BundleError, match=r"head\.npz: is not a member's head"):
        MemberRuntime(tiny.model, head, SEEN)


# --- orientation ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(pixels=PICTURES, side=st.sampled_from(Side))
def test_the_average_look_is_the_mean_of_two(
    tiny: SimpleNamespace, pixels: npt.NDArray[np.float32], side: Side
) -> None:
    crop, turned = KneeCrop(pixels, side), KneeCrop(pixels[:, ::-1], side)
    both = tiny.runtime.examine(crop)
    one, other = (tiny.runtime.examine(c, mirror=False) for c in (crop, turned))
    np.testing.assert_allclose(both.logits, (one.logits + other.logits) / 2, atol=1e-4)
    turned_back = other.features[..., ::-1]
    np.testing.assert_allclose(both.features, (one.features + turned_back) / 2, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(pixels=PICTURES, side=st.sampled_from(Side), mirror=st.booleans())
def test_a_mirrored_picture_of_the_other_knee_reads_the_same(
    tiny: SimpleNamespace, pixels: npt.NDArray[np.float32], side: Side, mirror: bool
) -> None:
    if side is Side.UNKNOWN and not mirror:
        return  # a single look at a knee of unknown side cannot know which way round it is
    crop = KneeCrop(pixels, side)
    one, other = (tiny.runtime.examine(c, mirror=mirror) for c in (crop, mirrored(crop)))
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
    for grade in range(5):
        turned = activation_map(other, grade)[:, ::-1]
        np.testing.assert_allclose(activation_map(one, grade), turned, atol=1e-5)


def test_the_shipped_bundle_reads_a_mirrored_picture_of_the_other_knee_the_same() -> None:
    panel = Panel(open_bundle(default_bundle()))
    for path in KNEES[:2]:
        one, other = (panel.examine(c) for c in (crop_of(path), mirrored(crop_of(path))))
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("half", ["left", "right"])
def test_a_map_lies_where_its_cause_does(
    tiny: SimpleNamespace, side: Side, mirror: bool, half: str
) -> None:
    plain = np.full((128, 128), 0.4, dtype=np.float32)
    marked = plain.copy()
    columns = slice(16, 40) if half == "left" else slice(88, 112)
    marked[40:88, columns] = 1.0
    looks = (tiny.runtime.examine(KneeCrop(p, side), mirror=mirror) for p in (plain, marked))
    before, after = (np.stack([activation_map(o, grade) for grade in range(5)]) for o in looks)
    change = np.abs(after - before).sum(axis=(0, 1))
    with_the_mark, without = np.split(change, 2) if half == "left" else np.split(change, 2)[::-1]
    assert with_the_mark.sum() > 0
    assert without.max() <= 1e-6


# --- maps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirror", [False, True])
def test_maps_and_biases_add_up_to_the_logits(
    tiny: SimpleNamespace, shipped: MemberRuntime, mirror: bool
) -> None:
    for member, paths in ((tiny.runtime, KNEES), (shipped, KNEES[:2])):
        for path in paths:
            output = member.examine(crop_of(path), mirror=mirror)
            np.testing.assert_allclose(logits_of(output), output.logits, atol=1e-4)


def test_the_tiny_member_tells_knees_apart(tiny: SimpleNamespace) -> None:
    logits = [tiny.runtime.examine(crop_of(path)).logits for path in KNEES]
    assert np.ptp(logits, axis=0).max() > 0.05  # or what is tested with it tells nothing


@pytest.mark.parametrize("grade", range(5))
def test_the_map_is_grad_cam(tiny: SimpleNamespace, grade: int) -> None:
    crop = KneeCrop(crop_of(LEFT).pixels, Side.RIGHT)  # not mirrored before the network sees it
    image = torch.from_numpy(SEEN.normalise(SEEN.plane(crop)[None]))
    ours = activation_map(tiny.runtime.examine(crop, mirror=False), grade)

    features = tiny.network.features(image).detach().requires_grad_()
    logit = tiny.network.classify(features)[0, grade]
    (gradient,) = torch.autograd.grad(logit, features)
    theirs = (gradient.mean((2, 3), keepdim=True) * features).sum(1)[0].detach().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)

    shown = np.maximum(ours, 0)  # the package shows the positive part, stretched to 0..1
    shown = (shown - shown.min()) / max(np.ptp(shown), 1e-7)
    np.testing.assert_allclose(package_grad_cam(tiny.network, image, grade), shown, atol=1e-3)


def test_a_smooth_map_is_the_mean_of_six_looks(tiny: SimpleNamespace) -> None:
    crop = KneeCrop(crop_of(LEFT).pixels, Side.RIGHT)
    image = torch.from_numpy(SEEN.normalise(SEEN.plane(crop)[None]))
    output = tiny.runtime.examine(crop, factors=SMOOTHING_FACTORS)
    with torch.no_grad():
        looks = [f * view for f in (0.9, 1.0, 1.1) for view in (image, image.flip(3))]
        features = [tiny.network.features(look)[0] for look in looks]
        logits = torch.cat([tiny.network(look) for look in looks]).mean(0).numpy()
        back = torch.stack([f.flip(2) if at % 2 else f for at, f in enumerate(features)]).mean(0)
        theirs = torch.einsum("gc,chw->ghw", tiny.network.head.weight, back).numpy() / 64
    for grade in range(5):
        np.testing.assert_allclose(activation_map(output, grade), theirs[grade], atol=1e-5)
    np.testing.assert_allclose(logits_of(output), logits, atol=1e-4)
    dark = tiny.runtime.examine(crop, factors=(0.5, 0.5))
    np.testing.assert_allclose(
        activation_map(dark, 0),
        activation_map(tiny.runtime.examine(crop, factors=(0.5,)), 0),
        atol=1e-6,
    )
    assert np.abs(dark.logits - output.logits).max() > 1e-3


def package_grad_cam(network: Member, image: torch.Tensor, grade: int) -> npt.NDArray[np.float32]:
    """What the grad-cam package shows for the network's CAM layer, on the features' grid, 0..1."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with GradCAM(network, [network.get_submodule(TINY.cam_layer)]) as cam:
        cam.get_target_width_height = lambda _image: (8, 8)
        found: npt.NDArray[np.float32] = cam(image, [ClassifierOutputTarget(grade)])[0]
    return found


def test_heat_is_the_positive_part_of_a_map_from_0_to_1() -> None:
    found = np.zeros((8, 8), dtype=np.float32)
    assert heat(found, (30, 20)).shape == (30, 20)
    assert not heat(found, (30, 20)).any()
    assert not heat(found - 1, (30, 20)).any()
    found[2, 5], found[6, 1] = 3.0, -9.0
    shown = heat(found, (80, 80))
    assert 0.9 < shown.max() <= 1
    assert shown.min() == 0
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert (row // 10, column // 10) == (2, 5)


def test_a_reading_is_the_panels_opinion_with_its_map() -> None:
    ensemble = Ensemble.default()
    (reading,) = ensemble.read(LEFT)
    opinion = ensemble.panel.examine(crop_of(LEFT))
    np.testing.assert_allclose(reading.probabilities, opinion.probabilities, atol=1e-6)
    voted = ensemble.bundle.card.combiner.combine(opinion.votes)
    np.testing.assert_allclose(voted, opinion.probabilities, atol=1e-6)
    maps = ensemble_maps(opinion.outputs, opinion.map_weights)
    np.testing.assert_allclose(reading.activation, maps[reading.grade], atol=1e-5)


def test_the_shipped_card_says_how_its_logits_become_probabilities() -> None:
    """Format 1 had one member, a temperature and a bias; so it has to grade for ever."""
    told = json.loads((default_bundle() / "card.json").read_text("utf-8"))
    if told["format"] == 1:
        opinion = Ensemble.default().panel.examine(crop_of(LEFT))
        voted = softmax(opinion.outputs[0].logits, told["temperature"], told["bias"])
        np.testing.assert_allclose(voted, opinion.probabilities, atol=1e-12)
