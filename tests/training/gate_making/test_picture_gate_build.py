"""The gate is made by one command from a few knees: same seed, same bytes; limits of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from command_line import EXAMPLES
from kellgren.data.manifest import Knee
from kellgren.errors import InvalidOption
from kellgren.file_names import patient_and_side
from kellgren.grades import Grade
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.picture_gate import NETWORK, FeatureNetwork, PictureGate, default_folder
from kellgren.localisation.picture_scores import GRID, Scores
from kellgren.training.gate_making.build import Roles, build_gate, limits_of, roles_of
from kellgren.training.gate_making.drawn_growth_plates import with_growth_plates
from kellgren.training.gate_making.drawn_implants import with_implant
from kellgren.training.gate_making.feature_network import SIZE, GateNetwork, exported

FILES = sorted(EXAMPLES.glob("*.png"))


def knees() -> list[Knee]:
    """The examples, each a patient of its own side."""
    named = [(path, *patient_and_side(path)) for path in FILES]
    return [
        Knee(path, patient or "", side, None, "train", "examples") for path, patient, side in named
    ]


def test_a_gate_made_of_a_few_knees_tells_implants_and_is_the_same_again(tmp_path: Path) -> None:
    network = (default_folder() / NETWORK).read_bytes()
    roles = Roles(knees()[:7], knees()[7:], [])
    said: list[str] = []
    for name in ("one", "again"):
        build_gate(network, roles, [], tmp_path / name, seed=3, tell=said.append)
    files = {name: sorted((tmp_path / name).iterdir()) for name in ("one", "again")}
    for one, again in zip(*files.values(), strict=True):
        assert one.read_bytes() == again.read_bytes(), one.name
    assert any("limits from 3 knees" in text for text in said)

    gate, rng = PictureGate(tmp_path / "one"), np.random.default_rng(0)
    plane = read_radiograph(FILES[0]).pixels
    native = gate.scores(plane)
    assert (
        np.mean([gate.scores(with_implant(plane, rng)[0]).metal > native.metal for _ in range(8)])
        > 0.7
    )
    plates = [gate.scores(with_growth_plates(plane, rng)[0]).growth_plates for _ in range(8)]
    assert np.mean(np.array(plates) > native.growth_plates) > 0.7


def test_what_is_drawn_changes_the_knee_where_it_says_so_only() -> None:
    plane, rng = read_radiograph(FILES[0]).pixels, np.random.default_rng(1)
    for _ in range(6):
        shown, covered = with_growth_plates(plane, rng)
        assert covered.max() > 0.5
        assert shown[covered > 0.8].mean() < plane[covered > 0.8].mean()
        shown, covered = with_implant(plane, rng)
        assert shown.shape == covered.shape == plane.shape
        assert covered.max() > 0.5
        assert 0 <= shown.min() <= shown.max() <= 1


def test_no_patient_serves_twice() -> None:
    many = [
        replace(
            knees()[0], patient=str(9_000_000 + n // 2), image=Path(f"{n}.png"), grade=Grade(n % 5)
        )
        for n in range(400)
    ]
    roles = roles_of(many, 50, seed=1)
    patients = [{k.patient for k in part} for part in (roles.learnt, roles.limits, roles.unseen)]
    assert len(roles.learnt) == 50
    assert not patients[0] & patients[1]
    assert not patients[0] & patients[2]
    assert not patients[1] & patients[2]
    assert roles_of(many, 50, seed=1) == roles


def test_limits_leave_the_share_above_them() -> None:
    scores = [Scores(n, 2 * n, 3 * n, 4 * n) for n in range(1001)]
    limits = limits_of(scores, 0.01)
    assert (limits.distance, limits.metal) == (990, 1980)
    assert (limits.growth_plates, limits.other) == (2970, 3960)


def test_the_exported_network_computes_what_the_weights_say(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = timm.create_model("tf_efficientnet_lite2").eval()
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    network = FeatureNetwork(exported(tmp_path / "weights.safetensors"), SIZE)
    plane = read_radiograph(FILES[0]).pixels
    features = network.features(plane)
    assert features.shape == (88 + 48 + 48, GRID, GRID)
    np.testing.assert_array_less(features[88:136] - 1e-6, features[136:])

    own = GateNetwork().eval()
    save_file({"nothing": torch.zeros(1)}, tmp_path / "others.safetensors")
    assert sum(p.numel() for p in own.parameters()) < 300_000
    with pytest.raises(InvalidOption, match="has no weights"):
        exported(tmp_path / "others.safetensors")
