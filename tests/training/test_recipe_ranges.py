"""Every number of a recipe has a range, and a value beyond it is refused with its key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from kellgren.errors import InvalidRecipe
from kellgren.training.recipe import (
    Augmentation,
    HeadThenAll,
    Network,
    OneCycle,
    Recipe,
    Stage,
    Targets,
    Teacher,
    read_recipe,
)

PARTS: dict[str, type[BaseModel]] = {
    **{"": Recipe, "stages.0": Stage, "network": Network, "schedule": OneCycle},
    **{"targets": Targets, "teacher": Teacher, "augmentation": Augmentation},
}
HEAD_THEN_ALL = {
    **{"name": "head-then-all", "head_rate": 0.01, "rate": 0.001, "weight_decay": 0.0},
    **{"step_epochs": 2, "step_factor": 0.1, "patience": 3, "delta": 0.0},
}


def whole(part: type[BaseModel] = OneCycle) -> dict[str, Any]:
    """A recipe with every table, of one schedule or the other."""
    one_cycle = {"name": "one-cycle", "peak_rate": 0.001}
    return {
        **{"name": "mine", "batch": 8, "stages": [{"epochs": 2, "size": 64}]},
        "network": {"architecture": "densenet161"},
        "schedule": dict(HEAD_THEN_ALL) if part is HeadThenAll else one_cycle,
        **{"targets": {"kind": "ordinal"}, "teacher": {"source": "masters"}, "augmentation": {}},
    }


def numbers() -> Iterator[tuple[str, type[BaseModel], str, dict[str, float]]]:
    """Place, part, field and bounds of every number, as the JSON Schema states them."""
    for place, part in [*PARTS.items(), ("schedule", HeadThenAll)]:
        for field, schema in part.model_json_schema()["properties"].items():
            for kind in (schema, *schema.get("anyOf", ())):
                if kind.get("type") in ("integer", "number"):
                    yield place, part, field, {"type": kind["type"]} | kind


NUMBERS = [pytest.param(*number, id=f"{number[1].__name__}.{number[2]}") for number in numbers()]


def with_value(place: str, part: type[BaseModel], field: str, value: object) -> dict[str, Any]:
    content = whole(part)
    table: Any = content
    for key in place.split(".") if place else ():
        table = table[int(key) if key.isdecimal() else key]
    table[field] = value
    return content


def toml(content: dict[str, Any]) -> str:
    """Top-level keys with inline tables; JSON's forms of the values are TOML's too."""

    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {inline(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")

    return "".join(f"{key} = {inline(value)}\n" for key, value in content.items())


def refused(tmp_path: Path, content: dict[str, Any]) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(toml(content))
    with pytest.raises(InvalidRecipe) as caught:
        read_recipe(path)
    assert caught.value.subject == str(path)
    return caught.value.problem


def test_the_numbers_are_found() -> None:
    found = {(part.__name__, field) for _, part, field, _ in numbers()}
    assert len(found) > 30
    assert {("Stage", "size"), ("Network", "dropout"), ("HeadThenAll", "delta")} < found


@pytest.mark.parametrize(("place", "part", "field", "bounds"), NUMBERS)
def test_a_number_out_of_range_is_refused_with_its_key(
    tmp_path: Path, place: str, part: type[BaseModel], field: str, bounds: dict[str, Any]
) -> None:
    key = ".".join(filter(None, (place, field)))
    wrong: list[float] = [math.nan, math.inf] if bounds["type"] == "number" else [2.5]
    for name, beyond in (("minimum", -1), ("maximum", 1)):
        wrong += [bounds[name] + beyond] if name in bounds else []
        exclusive = f"exclusive{name.capitalize()}"
        wrong += [bounds[exclusive]] if exclusive in bounds else []
    assert {"minimum", "exclusiveMinimum"} & bounds.keys(), "nothing is below its range"
    for value in wrong:
        assert f"{key}: " in refused(tmp_path, with_value(place, part, field, value)), value
    assert f"{key}: " in refused(tmp_path, with_value(place, part, field, "many"))


@pytest.mark.parametrize(("place", "part", "field", "bounds"), NUMBERS)
def test_the_bounds_themselves_are_allowed(
    place: str, part: type[BaseModel], field: str, bounds: dict[str, Any]
) -> None:
    for name in {"minimum", "maximum"} & bounds.keys():
        Recipe.model_validate(with_value(place, part, field, bounds[name]))
    step = 1 if bounds["type"] == "integer" else 1e-9
    if "exclusiveMinimum" in bounds:
        Recipe.model_validate(with_value(place, part, field, bounds["exclusiveMinimum"] + step))


@pytest.mark.parametrize("part", [*PARTS, "second schedule"], ids=str)
def test_an_unknown_key_is_named_in_every_table(tmp_path: Path, part: str) -> None:
    kind = HeadThenAll if part == "second schedule" else OneCycle
    place = "schedule" if part == "second schedule" else part
    key = ".".join(filter(None, (place, "tpyo")))
    problem = refused(tmp_path, with_value(place, kind, "tpyo", 1))
    assert problem.startswith(f"{key} is not a key of a recipe")


def test_all_errors_of_a_recipe_are_said_at_once(tmp_path: Path) -> None:
    content = whole() | {"batch": 0, "bach": 1}
    del content["augmentation"]
    problem = refused(tmp_path, content)
    for words in ("batch: ", "bach is not a key", "augmentation is missing"):
        assert words in problem
    assert "stages: " in refused(tmp_path, whole() | {"stages": []})


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_recipe_comes_back_from_its_values_with_its_hash(data: st.DataObject) -> None:
    place, part, field, bounds = data.draw(st.sampled_from(list(numbers())))
    low = bounds.get("minimum", bounds.get("exclusiveMinimum", 0))
    high = bounds.get("maximum", bounds.get("exclusiveMaximum", 1000))
    if bounds["type"] == "integer":
        value: float = data.draw(st.integers(low, high))
    else:
        value = data.draw(st.floats(low, high, exclude_min=True, exclude_max=True))
    recipe = Recipe.model_validate(with_value(place, part, field, value))
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert (again, again.hash) == (recipe, recipe.hash)
    plain = Recipe.model_validate(whole(part))
    assert (recipe.hash == plain.hash) == (recipe == plain)


def test_a_recipe_at_its_own_size_is_itself_and_at_no_size_an_error() -> None:
    recipe = Recipe.model_validate(whole())
    assert recipe.at_size(64) is recipe
    for size in (0, 31, 1025):
        with pytest.raises(ValidationError, match="size"):
            recipe.at_size(size)
