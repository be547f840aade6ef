"""`import kellgren`: exactly these names, lazily loaded, with these signatures and errors."""

from __future__ import annotations

import ast
import inspect
import json
import rlcompleter
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pytest

import kellgren
from command_line import EXAMPLES, finished
from kellgren import Ensemble, InvalidOption, KellgrenError, Side, default_ensemble, errors

RIGHT = EXAMPLES / "9177337R.png"
PUBLIC = {
    *("read", "Ensemble", "KneeReading", "KneeCrop", "Region", "Grade", "Side", "Check"),
    *("KellgrenError", "UnreadableRadiograph", "NotAKneeFilm", "InvalidOption", "BundleError"),
    *("InvalidManifest", "InvalidRecipe", "InvalidCampaign", "InvalidPredictions", "InvalidPack"),
    *("WeightsUnavailable", "TrainingError", "CannotKeep", "MissingExtra", "UnanswerableSource"),
    "ClusterError",
    "__version__",
}
OPTIONS = {
    "engine": ("Engine", "onnxruntime"),
    "precision": ("Precision", "fp32"),
    "device": ("Device", "cpu"),
    "threads": ("int", 0),
    "workers": ("int", 1),
    "mirror": ("bool | None", None),
    "pair": ("bool", True),
    "level": ("float", 0.9),
    "always_grade": ("bool", False),
}
FRAME = {"frame": ("int | None", None)}
FAST = {"fast": ("bool", False)}
MAPS = {
    "smooth_maps": ("bool", False),
    "grad_cam_maps": ("bool", False),
    "joint_space": ("bool", True),
}
INPUT = {
    "side": ("Side | str | None", None),
    "mm_per_pixel": ("float | None", None),
    "inverted": ("bool", False),
    **FRAME,
    "force": ("bool", False),
}
SOURCE = {"source": ("RadiographInput", inspect.Parameter.empty)}
FOLDER = {"folder": ("os.PathLike[str] | str", inspect.Parameter.empty)}


def test_the_public_names_are_exactly_these() -> None:
    assert set(kellgren.__all__) == PUBLIC
    assert kellgren.__all__ == sorted(kellgren.__all__)
    assert kellgren.__version__ == metadata.version("kellgren")


@pytest.mark.parametrize(
    ("call", "expected", "positional"),
    [
        (kellgren.read, SOURCE | INPUT | FAST | OPTIONS, ["source"]),
        (Ensemble.read, SOURCE | INPUT, ["self", "source", "side"]),
        (Ensemble.default, FAST | OPTIONS | FRAME | MAPS, []),
        (Ensemble.open, FOLDER | OPTIONS | FRAME | MAPS, ["folder"]),
    ],
)
def test_signatures_are_exactly_these(call: Any, expected: dict, positional: list[str]) -> None:
    parameters = inspect.signature(call).parameters

    assert {n: (p.annotation, p.default) for n, p in parameters.items() if n != "self"} == expected
    others = [name for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
    assert others == positional


def test_every_error_is_public() -> None:
    defined = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, KellgrenError)
    }
    assert defined <= PUBLIC
    assert len(defined) > 10


def test_type_checkers_see_what_is_there() -> None:
    """The names imported for type checkers alone are the public ones, from the same modules."""
    tree = ast.parse(Path(kellgren.__file__).read_text("utf-8"))
    (block,) = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node)
    ]
    imported = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported.keys() | {"__version__"} == PUBLIC
    for name, module in imported.items():
        assert getattr(import_module(str(module)), name) is getattr(kellgren, name)


_LOADED = """
import json, sys
import kellgren
from kellgren import InvalidOption, Side
listed = set(kellgren.__all__) <= set(dir(kellgren))
print(json.dumps([listed, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_importing_the_package_loads_nothing_heavy() -> None:
    done = finished([sys.executable, "-c", _LOADED])
    assert done.returncode == 0, done.stderr
    listed, loaded = json.loads(done.stdout)
    assert listed
    heavy = {"numpy", "onnxruntime", "PIL", "pydantic", "pydicom", "torch", "email", "typer"}
    assert heavy.isdisjoint(loaded)


def test_completion_offers_every_public_name() -> None:
    complete = rlcompleter.Completer({"kellgren": kellgren}).complete
    offered = set()
    while (text := complete("kellgren.", len(offered))) is not None:
        offered.add(text)
    names = {text.removeprefix("kellgren.").rstrip("()") for text in offered}
    assert PUBLIC - {"__version__"} <= names


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'kellgren' has no attribute 'grade_all'"):
        _ = kellgren.grade_all


def test_the_default_bundle_is_loaded_once_for_all_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[dict[str, Any]] = []
    default = Ensemble.default

    def counted(cls: type, **options: Any) -> Ensemble:
        loaded.append(options)
        return default(**options)

    monkeypatch.setattr(Ensemble, "default", classmethod(counted))
    monkeypatch.setattr(default_ensemble, "_loaded", {})

    def read(mirror: bool) -> tuple[float, ...]:
        (reading,) = kellgren.read(RIGHT, threads=1, mirror=mirror)
        return reading.probabilities

    with ThreadPoolExecutor(4) as pool:
        probabilities = list(pool.map(read, [True] * 4))
    assert len(loaded) == 1
    assert len(set(probabilities)) == 1
    read(mirror=False)
    assert [options["mirror"] for options in loaded] == [True, False]
    assert all(options["threads"] == 1 for options in loaded)


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("engine", "foo", ["'onnxruntime'", "'openvino'"]),
        ("engine", None, ["'onnxruntime'", "'openvino'"]),
        ("precision", "fp16", ["'fp32'", "'bf16'"]),
        ("threads", -1, ["whole number"]),
        ("threads", 1.5, ["whole number"]),
    ],
)
def test_an_unknown_option_is_an_error_that_names_the_choices(
    option: str, value: object, choices: list[str]
) -> None:
    options: Any = {option: value}
    folder = Path(kellgren.__file__).parent / "models" / "default"
    for call in (
        lambda: kellgren.read(RIGHT, **options),
        lambda: Ensemble.default(**options),
        lambda: Ensemble.open(folder, **options),
    ):
        with pytest.raises(InvalidOption) as caught:
            call()
        assert caught.value.subject == option
        assert repr(value) in str(caught.value)
        assert all(choice in caught.value.remedy for choice in choices)
    with pytest.raises(TypeError, match="engin"):
        Ensemble.default(**{"engin": "onnxruntime"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(value, Side.LEFT) for value in (Side.LEFT, "L", "l", "left", "Left")],
        *[(value, Side.RIGHT) for value in (Side.RIGHT, "R", "right", "RIGHT")],
        *[(value, Side.UNKNOWN) for value in (Side.UNKNOWN, None, "")],
    ],
)
def test_a_side_may_be_given_in_several_forms(value: Side | str | None, expected: Side) -> None:
    assert Side.of(value) is expected


@pytest.mark.parametrize("value", ["both", "unknown", 1, b"L", True])
def test_another_side_is_an_error_that_names_the_choices(value: Any) -> None:
    with pytest.raises(InvalidOption, match=r"side: is .*'L', 'R', 'left', 'right', or None"):
        kellgren.read(RIGHT, side=value)


def test_a_side_given_as_text_reaches_the_reading() -> None:
    data = RIGHT.read_bytes()
    assert kellgren.read(data)[0].side is Side.UNKNOWN
    assert kellgren.read(data, side="right")[0].side is Side.RIGHT
    contradicted = kellgren.read(RIGHT, side="L")[0]
    assert contradicted.side is Side.UNKNOWN
    assert any("the caller says left" in warning for warning in contradicted.warnings)
