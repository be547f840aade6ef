"""An ensemble's options: wrong ones are refused by name, before a file is read or a model kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kellgren
from bundle_factory import make_bundle
from command_line import EXAMPLES
from kellgren import Ensemble, InvalidOption, Side, default_ensemble
from kellgren.errors import BundleError, MissingExtra
from kellgren.grading.bundle import Bundle
from kellgren.grading.contralateral import BothKnees

LEFT, RIGHT = EXAMPLES / "9177337L.png", EXAMPLES / "9177337R.png"
BOTH = BothKnees(sharpness=1.1, agreement=3.0, bias=(0.1, 0.0, -0.1, 0.0, 0.0))
WRONG_ENGINES: list[dict[str, Any]] = [
    *({"engine": "tensorrt"}, {"engine": None}, {"precision": "fp16"}, {"precision": 32}),
    *({"threads": -1}, {"threads": 1.5}, {"threads": True}, {"threads": "2"}),
    *({"workers": 0}, {"workers": 2.0}, {"device": "gpu"}, {"device": None}),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "both", both_knees=BOTH)


@pytest.fixture(scope="module")
def ensemble(bundle: Bundle) -> Ensemble:
    return Ensemble(bundle, threads=1)


@pytest.fixture
def tiny_default(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> list[Ensemble]:
    """The tiny bundle in place of the shipped one, nothing loaded; what is loaded from now on."""
    loaded: list[Ensemble] = []

    def opened(*, fast: bool, **options: Any) -> Ensemble:
        assert not fast
        loaded.append(Ensemble.open(bundle.folder, **options))
        return loaded[-1]

    monkeypatch.setattr(default_ensemble, "_loaded", {})
    monkeypatch.setattr(Ensemble, "default", opened)
    return loaded


@pytest.mark.parametrize("options", WRONG_ENGINES, ids=str)
def test_a_wrong_engine_option_is_named(
    bundle: Bundle, tiny_default: list[Ensemble], options: dict[str, Any]
) -> None:
    (name,) = options
    for opened in (
        lambda: Ensemble(bundle, **options),
        lambda: Ensemble.open(bundle.folder, **options),
        lambda: kellgren.read("no such file.png", **options),
    ):
        with pytest.raises(InvalidOption) as caught:
            opened()
        assert caught.value.subject == name
        assert repr(options[name]) in caught.value.problem
    assert default_ensemble._loaded == {}


def test_bf16_needs_another_engine(bundle: Bundle) -> None:
    with pytest.raises(MissingExtra, match="--engine openvino"):
        Ensemble(bundle, precision="bf16")


@pytest.mark.parametrize(
    "options",
    [
        *({"side": "both"}, {"side": 1}, {"frame": 0}, {"frame": 1.0}, {"frame": True}),
        *({"mm_per_pixel": 0.0}, {"mm_per_pixel": 5.1}, {"mm_per_pixel": float("nan")}),
        *({"mm_per_pixel": True}, {"mm_per_pixel": "0.2"}),
    ],
    ids=str,
)
def test_a_wrong_option_of_a_reading_is_named(
    ensemble: Ensemble, tiny_default: list[Ensemble], options: dict[str, Any]
) -> None:
    (name,) = options
    for read in (ensemble.read, kellgren.read):
        with pytest.raises(InvalidOption) as caught:
            read(LEFT, **options)  # type: ignore[operator]
        assert caught.value.subject == name


def test_no_bundle_is_no_ensemble(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none", str(LEFT)):
        with pytest.raises(BundleError) as caught:
            Ensemble.open(folder)
        assert str(folder) in caught.value.subject


def test_the_default_is_loaded_once_for_each_set_of_options(tiny_default: list[Ensemble]) -> None:
    with ThreadPoolExecutor(4) as pool:
        read = [*pool.map(lambda _: kellgren.read(LEFT, threads=1), range(8))]
    assert len(tiny_default) == 1
    assert len({knee.probabilities for (knee,) in read}) == 1
    kellgren.read(RIGHT, threads=1, mirror=None, pair=1)  # type: ignore[arg-type]
    assert len(tiny_default) == 1
    (plain,) = kellgren.read(LEFT, threads=1, mirror=False)
    assert len(tiny_default) == 2
    assert plain.model["mirror"] == "off"
    assert plain.probabilities != read[0][0].probabilities


def test_the_model_says_how_it_was_run(bundle: Bundle) -> None:
    shown = f"Ensemble({bundle.card.name} {bundle.checksum[:8]})"
    assert repr(Ensemble(bundle)) == shown
    default = Ensemble(bundle, threads=1).model
    assert (default["mirror"], default["other_knee"]) == ("averaged", "used")
    assert default["checksum"] == bundle.checksum
    other = Ensemble(bundle, threads=1, mirror=False, pair=False).model
    assert {key for key in default if default[key] != other[key]} == {"mirror", "other_knee"}


def test_a_side_may_be_given_in_any_of_its_forms(ensemble: Ensemble) -> None:
    pixels = np.asarray(ensemble.read(LEFT)[0].crop.pixels)
    given: tuple[Side | str, ...] = ("L", "l", "left", "LEFT", Side.LEFT)
    assert {ensemble.read(pixels, side)[0].side for side in given} == {Side.LEFT}
    for nothing in (None, "", Side.UNKNOWN):
        assert ensemble.read(pixels, nothing)[0].side is Side.UNKNOWN


def test_readings_go_together_in_any_order_and_only_as_left_and_right(ensemble: Ensemble) -> None:
    (left,), (right,) = ensemble.read(LEFT), ensemble.read(RIGHT)
    one, other = ensemble.together(left, right)
    turned, back = ensemble.together(right, left)
    assert (one.probabilities, other.probabilities) == (back.probabilities, turned.probabilities)
    assert one.probabilities != left.probabilities
    assert sum(one.probabilities) == pytest.approx(1)
    assert (one.read_with, other.read_with) == (str(RIGHT), str(LEFT))
    assert ensemble.together(left, left) == (left, left)


def test_features_and_maps_are_of_the_networks(ensemble: Ensemble) -> None:
    (reading,) = ensemble.read(LEFT)
    assert reading.maps.shape[0] == 5
    assert len(reading.features) == len(ensemble.bundle.card.members)
    assert all(vector.ndim == 1 for vector in reading.features)
    assert reading.alone == reading.probabilities
