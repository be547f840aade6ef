"""The small bundle that comes with the package, through each door."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import kellgren as package
from command_line import EXAMPLES, kellgren
from kellgren.grading.bundle import Bundle, default_bundle, fast_bundle, open_bundle
from kellgren.grading.runtime import MemberRuntime

KNEE = EXAMPLES / "9177337R.png"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(fast_bundle())


def test_its_network_votes_in_the_default_bundle_too_and_a_clone_holds_it_once(
    bundle: Bundle,
) -> None:
    [member] = bundle.card.members
    [twin] = [one for one in open_bundle(default_bundle()).card.members if one.name == member.name]
    for file, same in ((member.model, twin.model), (member.head, twin.head)):
        assert bundle.path(file).read_bytes() == (default_bundle() / same).read_bytes()


def test_it_looks_once_at_a_knee_and_twice_where_it_is_told_to(bundle: Bundle) -> None:
    assert bundle.card.one_look is not None
    assert bundle.card.one_look.accuracy.high > 0  # no loss of grades that chance would not make
    once, told, twice = (
        package.Ensemble.default(fast=True, mirror=mirror).read(KNEE)[0]
        for mirror in (None, False, True)
    )
    assert once.probabilities == told.probabilities
    assert once.probabilities != twice.probabilities


def test_its_head_gives_its_logits(bundle: Bundle) -> None:
    [member] = bundle.card.members  # the trial run is left out where the package opens its own
    MemberRuntime(bundle.path(member.model), bundle.path(member.head), member.preprocess)


def test_it_is_less_than_half_of_the_default_bundle(bundle: Bundle) -> None:
    small, whole = (
        sum(path.stat().st_size for path in folder.glob("*.onnx"))
        for folder in (bundle.folder, default_bundle())
    )
    assert small < whole / 2


def test_the_command_line_and_python_grade_alike_with_it(tmp_path: Path) -> None:
    assert kellgren("grade", KNEE, "--fast", "--json", tmp_path / "fast.json") == 0
    told = json.loads((tmp_path / "fast.json").read_text("utf-8"))
    assert told["model"]["name"] == "fast"
    [one] = package.read(KNEE, fast=True)
    [other] = package.Ensemble.default(fast=True).read(KNEE)
    [named] = told["readings"]
    assert named.get("joint_space") is None
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    np.testing.assert_allclose(named["probabilities"], one.probabilities, atol=1e-4)
    [whole] = package.read(KNEE)
    assert whole.model["name"] == "default"


@pytest.mark.parametrize(
    "command", [("grade", KNEE), ("serve",), ("listen", "--answer-to", "h:1/A")]
)
def test_fast_and_another_bundle_are_two_bundles(
    command: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren(*command, "--fast", "--model", str(default_bundle())) == 2
    assert "KELLGREN_MODEL" in capsys.readouterr().err


def test_it_measures_the_joint_space_where_that_is_asked_for(tmp_path: Path) -> None:
    table = tmp_path / "fast.json"
    assert kellgren("grade", KNEE, "--fast", "--joint-space", "measure", "--json", table) == 0
    [reading] = json.loads(table.read_text("utf-8"))["readings"]
    assert reading.get("joint_space") is not None
