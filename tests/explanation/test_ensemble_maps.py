"""Maps of an ensemble add up to its logits, and say more about the grade than a random map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from kellgren.ensemble import Ensemble
from kellgren.explanation.cam import activation_map, ensemble_maps, heat, regridded
from kellgren.explanation.faithfulness import blur, faithfulness
from kellgren.grades import Grade, Side
from kellgren.grading.runtime import MemberOutput
from kellgren.knee import KneeCrop

KNEES = sorted(EXAMPLES.glob("*.png"))
GRIDS = arrays(
    np.float64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-5, 5)
)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    """Two backbones with grids of 8 and 4 cells, two networks each."""
    folder = tmp_path_factory.mktemp("models") / "four"
    return Ensemble(make_bundle(folder, networks=2, backbones=2), threads=1)


@settings(deadline=None)
@given(found=GRIDS, height=st.integers(1, 16), width=st.integers(1, 16))
def test_another_grid_keeps_the_sum(
    found: npt.NDArray[np.float64], height: int, width: int
) -> None:
    again = regridded(found, (height, width))  # type: ignore[arg-type]
    assert again.shape == (height, width)
    assert again.sum() == pytest.approx(found.sum(), abs=1e-9)
    np.testing.assert_allclose(
        again[:, ::-1], regridded(found[:, ::-1], (height, width)), atol=1e-9
    )  # type: ignore[arg-type]


def test_another_grid_keeps_the_place() -> None:
    found = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.testing.assert_allclose(regridded(found, (4, 4)), np.kron(found, np.ones((2, 2))) / 4)
    np.testing.assert_allclose(regridded(found, (2, 2)), found)
    np.testing.assert_allclose(regridded(np.ones((1, 2), np.float32), (1, 3)), [[2 / 3] * 3])


def test_the_maps_and_biases_of_an_ensemble_add_up_to_its_logits(ensemble: Ensemble) -> None:
    for path in KNEES[:4]:
        (reading,) = ensemble.read(path)
        opinion = ensemble.panel.examine(reading.crop)
        assert sum(opinion.map_weights) == pytest.approx(1)
        biases = sum(w * o.bias for w, o in zip(opinion.map_weights, opinion.outputs, strict=True))
        logits = sum(
            w * o.logits for w, o in zip(opinion.map_weights, opinion.outputs, strict=True)
        )
        assert reading.maps.shape == (5, 8, 8)
        np.testing.assert_allclose(reading.maps.sum(axis=(1, 2)) + biases, logits, atol=1e-4)


def test_networks_of_a_backbone_speak_with_one_voice(ensemble: Ensemble) -> None:
    (reading,) = ensemble.read(KNEES[0])
    opinion = ensemble.panel.examine(reading.crop)
    logits = np.stack([output.logits for output in opinion.outputs])
    of_it = [m.backbone for m in ensemble.bundle.card.members]
    for at, name in enumerate(ensemble.bundle.card.combiner.members):
        mean = logits[[backbone == name for backbone in of_it]].mean(axis=0)
        voice = np.exp(mean) / np.exp(mean).sum()
        np.testing.assert_allclose(opinion.votes[at], voice, atol=1e-6)
    np.testing.assert_allclose(reading.probabilities, opinion.votes.mean(axis=0), atol=1e-6)


def test_a_members_map_counts_as_its_vote_does(ensemble: Ensemble) -> None:
    outputs = ensemble.panel.examine(ensemble.read(KNEES[0])[0].crop).outputs
    assert {output.features.shape[1] for output in outputs} == {4, 8}
    for at, output in enumerate(outputs):
        alone = ensemble_maps(outputs, [float(at == other) for other in range(len(outputs))])
        for grade in Grade:
            expected = regridded(activation_map(output, grade), (8, 8))
            np.testing.assert_allclose(alone[grade], expected, atol=1e-5)


def test_another_grades_map_can_be_drawn(ensemble: Ensemble, tmp_path: Path) -> None:
    (reading,) = ensemble.read(KNEES[0])
    other = Grade((reading.grade + 2) % 5)
    assert reading.overlay(reading.grade) == reading.overlay()
    assert reading.overlay(other) != reading.overlay()
    words = ("grade", KNEES[0], "--model", ensemble.bundle.folder, "--overlay", tmp_path / "maps")
    assert kellgren(*words, "--grade", int(other), "--workers", 1) == 0
    assert (tmp_path / "maps" / f"{KNEES[0].stem}.png").read_bytes() == reading.overlay(other)


def test_smooth_maps_change_the_picture_and_not_the_grade(
    ensemble: Ensemble, tmp_path: Path
) -> None:
    smooth = Ensemble(ensemble.bundle, threads=1, smooth_maps=True)
    (plain,), (reading,) = ensemble.read(KNEES[0]), smooth.read(KNEES[0])
    assert reading.probabilities == plain.probabilities
    assert reading.overlay() != plain.overlay()
    looks = smooth.panel.outputs(reading.crop, mirror=True, factors=(0.9, 1.0, 1.1))
    np.testing.assert_allclose(
        reading.maps, ensemble_maps(looks, smooth.panel.examine(reading.crop).map_weights)
    )
    words = ("grade", KNEES[0], "--model", ensemble.bundle.folder, "--overlay", tmp_path / "maps")
    assert kellgren(*words, "--smooth-maps", "--workers", 1) == 0
    assert (tmp_path / "maps" / f"{KNEES[0].stem}.png").read_bytes() == reading.overlay()
    assert reading.mapping == "class-activation mapping, smoothed"
    assert kellgren(*words, "--grad-cam-maps", "--workers", 1) == 0
    other = Ensemble(ensemble.bundle, threads=1, grad_cam_maps=True).read(KNEES[0])[0]
    assert (tmp_path / "maps" / f"{KNEES[0].stem}.png").read_bytes() == other.overlay()
    np.testing.assert_array_equal(other.maps, plain.maps)  # no member activates outside its stages


# --- faithfulness --------------------------------------------------------------------------------


def bright(crop: KneeCrop) -> npt.NDArray[np.float64]:
    """A reader that looks at the brightness of the upper left quarter, and nowhere else."""
    height, width = crop.pixels.shape
    seen = float(np.clip(crop.pixels[: height // 2, : width // 2].std() * 4, 0.2, 0.9))
    return np.array([0.0, 0.0, seen, 1 - seen, 0.0]) if seen > 0.5 else np.eye(5)[2] * seen


def test_a_true_map_beats_chance_and_a_false_one_loses() -> None:
    rng = np.random.default_rng(0)
    crop = KneeCrop(rng.random((96, 80)).astype(np.float32), Side.LEFT)
    true = np.zeros((8, 8), dtype=np.float32)
    true[:4, :4] = 1
    gains = {
        name: faithfulness(bright, crop, m, steps=8)
        for name, m in (("true", true), ("false", -true))
    }
    assert gains["true"].grade == 2
    assert gains["true"].gain > 0.03
    assert gains["false"].gain < gains["true"].gain - 0.1
    for curves in gains.values():
        assert curves.deletion[0] == curves.insertion[-1] == curves.random_insertion[-1]
        assert curves.deletion[-1] == curves.insertion[0] == curves.random_deletion[-1]
        assert curves.area(np.ones(9)) == pytest.approx(1)
        assert curves.to_dict()["gain"] == pytest.approx(curves.gain, abs=1e-6)


def test_curves_are_the_same_each_time_and_end_where_they_must(ensemble: Ensemble) -> None:
    (reading,) = ensemble.read(KNEES[0])

    def read(crop: KneeCrop) -> npt.NDArray[np.float64]:
        return ensemble.panel.examine(crop).probabilities

    one, two = (faithfulness(read, reading.crop, reading.activation, 5, 3) for _ in range(2))
    assert one.to_dict() == two.to_dict()
    assert one.grade == reading.grade
    assert one.deletion[0] == pytest.approx(max(reading.probabilities))
    gone = read(KneeCrop(blur(reading.crop.pixels), reading.side))
    assert one.deletion[-1] == pytest.approx(gone[one.grade])


def test_a_blurred_knee_keeps_its_grey_and_loses_its_detail() -> None:
    knee = KneeCrop(np.random.default_rng(0).random((100, 64)).astype(np.float32), Side.UNKNOWN)
    soft = blur(knee.pixels)
    assert soft.shape == knee.pixels.shape
    assert soft.mean() == pytest.approx(knee.pixels.mean(), abs=0.02)
    assert soft.std() < knee.pixels.std() / 4
    assert blur(knee.pixels[:5, :7]).shape == (5, 7)


def test_the_ensembles_map_is_grad_cam_where_one_member_speaks(ensemble: Ensemble) -> None:
    """For one member with weight 1 nothing is added and nothing lost; its map is Grad-CAM (see
    test_runtime_and_explain)."""
    output = ensemble.panel.examine(ensemble.read(KNEES[0])[0].crop).outputs[0]
    maps = ensemble_maps([output], [1.0])
    for grade in Grade:
        np.testing.assert_allclose(maps[grade], activation_map(output, grade), atol=1e-6)
    assert heat(maps[0], (20, 20)).shape == (20, 20)


def test_a_map_of_an_ensemble_in_torch() -> None:
    """Autograd's Grad-CAM of the weighted sum of two heads on one trunk's features."""
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(1, 6, 5, 5, generator=generator, requires_grad=True)
    heads = [torch.randn(5, 6, generator=generator) for _ in range(2)]
    weights = (0.3, 0.7)
    outputs = [
        MemberOutput(
            logits=(features.detach().mean((2, 3)) @ head.T)[0].numpy(),
            features=features.detach()[0].numpy(),
            head=head.numpy(),
            bias=np.zeros(5, np.float32),
            mirrored=False,
        )
        for head in heads
    ]
    for grade in Grade:
        logit = sum(
            w * (features.mean((2, 3)) @ h.T)[0, grade] for w, h in zip(weights, heads, strict=True)
        )
        (gradient,) = torch.autograd.grad(logit, features, retain_graph=True)
        theirs = (gradient.mean((2, 3), keepdim=True) * features).sum(1)[0].detach().numpy()
        np.testing.assert_allclose(ensemble_maps(outputs, weights)[grade], theirs, atol=1e-5)
