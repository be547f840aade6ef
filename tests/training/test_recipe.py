from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from command_line import ROOT
from kellgren.errors import InvalidRecipe
from kellgren.training.architectures import ARCHITECTURES, Member
from kellgren.training.member.schedule import optimiser_for, rate_at, starts_afresh
from kellgren.training.recipe import (
    HeadThenAll,
    OneCycle,
    Recipe,
    Stage,
    read_recipe,
    shipped_recipes,
)

WHOLE = """
name = "mine"
batch = 8

[[stages]]
epochs = 3
size = 64

[[stages]]
epochs = 2
size = 96

[network]
architecture = "inception_v3_mixed7a"

[schedule]
name = "one-cycle"
peak_rate = 1e-3

[targets]
kind = "ordinal"

[augmentation]
rotation = 10
"""
HEAD_THEN_ALL = """[schedule]
name = "head-then-all"
head_rate = 1e-2
rate = 1e-3
weight_decay = 1e-4
step_epochs = 2
step_factor = 0.1
patience = 7
delta = 0.1
"""
ONE_CYCLE = WHOLE[WHOLE.index("[schedule]") : WHOLE.index("[targets]")]


def written(folder: Path, text: str) -> Path:
    (folder / "mine.toml").write_text(text)
    return folder / "mine.toml"


def recipe(**changes: Any) -> Recipe:
    """The shipped recipe with values changed by their dotted names (dots as double lines)."""
    content = read_recipe("inception").model_dump(mode="json")
    for name, value in changes.items():
        *parts, last = name.split("__")
        table = content
        for part in parts:
            table = table[part]
        table[last] = value
    return Recipe.model_validate(content)


# --- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_read_and_names_a_network(name: str) -> None:
    actual = read_recipe(name)
    assert actual.name == name
    assert actual.network.architecture in ARCHITECTURES
    assert actual.final_size == actual.stages[-1].size


def test_both_recipes_are_shipped() -> None:
    assert {"inception", "paper-densenet161"} <= set(shipped_recipes())


def test_the_reference_tells_of_each_shipped_recipe_what_it_is() -> None:
    page = (ROOT / "docs" / "reference" / "recipes.md").read_text("utf-8")
    listed = page.split("Those that come with the package:")[1].split("\n\n")[1].splitlines()[2:]
    told = {cells[1]: cells[2:4] for cells in ([*map(str.strip, row.split("|"))] for row in listed)}
    assert told == {
        f"`{name}`": [
            f"`{recipe.network.architecture}`",
            "; ".join(f"{stage.size}, {stage.epochs}" for stage in recipe.stages),
        ]
        for name, recipe in ((name, read_recipe(name)) for name in shipped_recipes())
    }


def test_the_paper_recipe_is_the_paper_s() -> None:
    actual = read_recipe("paper-densenet161")
    assert isinstance(actual.schedule, HeadThenAll)
    assert (actual.schedule.head_rate, actual.schedule.rate) == (1e-2, 1e-3)
    assert (actual.schedule.weight_decay, actual.schedule.step_epochs) == (1e-4, 2)
    assert (actual.schedule.patience, actual.schedule.delta) == (7, 0.1)
    assert (actual.batch, actual.epochs, actual.seed) == (16, 30, 42)
    assert (actual.targets.kind, actual.targets.smoothing) == ("smooth", 0.1)
    assert actual.final_size == ARCHITECTURES["densenet161"].input_size == 456
    changed = actual.augmentation.model_dump(exclude_defaults=True)
    assert changed == {"mirror": 0.5, "rotation": 20.0}


def test_a_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    actual = read_recipe(written(tmp_path, WHOLE))
    assert actual.stages == (Stage(epochs=3, size=64), Stage(epochs=2, size=96))
    assert isinstance(actual.schedule, OneCycle)
    assert (actual.seed, actual.schedule.warm_up, actual.augmentation.blur) == (42, 0.2, 0.0)


def test_a_folder_does_not_hide_a_shipped_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inception").mkdir()
    assert read_recipe("inception").name == "inception"
    with pytest.raises(InvalidRecipe, match="IsADirectoryError"):
        read_recipe(tmp_path / "inception")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("batch = 8", "bach = 8", "bach is not a key of a recipe"),
        ("size = 96", "sise = 96", "stages.1.size is missing; stages.1.sise is not a key"),
        ("rotation", "rotatoin", "augmentation.rotatoin is not a key"),
        ("[targets]", "[target]", "targets is missing; target is not a key"),
        ("architecture =", "architektur =", "network.architecture is missing"),
        ("peak_rate", "peek_rate", "schedule.peak_rate is missing; schedule.peek_rate is not"),
        ('"one-cycle"', '"one-cycel"', "schedule: input tag 'one-cycel'"),
        ('name = "one-cycle"\n', "", "schedule: unable to extract tag using discriminator 'name'"),
        ('"ordinal"', '"ordnial"', "targets.kind: input should be 'ordinal' or 'smooth'"),
        ("batch = 8", "batch = 1", "batch: input should be greater than or equal to 2"),
        ("epochs = 3", "epochs = 0", "stages.0.epochs: "),
        ("size = 64", "size = 16", "stages.0.size: "),
        ("1e-3", "0", "schedule.peak_rate: "),
        ("1e-3", "nan", "schedule.peak_rate: "),
        ("[targets]", "clip_norm = inf\n[targets]", "schedule.clip_norm: "),
        ("rotation = 10", "mirror = 1.5", "augmentation.mirror: "),
        ('"mine"', '"Mine / yours"', "name: "),
        ("batch = 8", 'precision = "fp16"', "precision: "),
        (ONE_CYCLE, HEAD_THEN_ALL, "trains in one stage, at one size"),
    ],
)
def test_a_typo_is_an_error_that_names_the_key(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert WHOLE.count(old) == 1
    path = written(tmp_path, WHOLE.replace(old, new))
    with pytest.raises(InvalidRecipe) as caught:
        read_recipe(path)
    assert problem in caught.value.problem
    assert caught.value.subject == str(path)


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match=r"shipped recipes: .*inception, .*paper-densenet161"):
        read_recipe("incepption")
    with pytest.raises(InvalidRecipe, match=r"is not TOML: .*line 1"):
        read_recipe(written(tmp_path, "name: mine"))
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRecipe, match="UnicodeDecodeError"):
        read_recipe(tmp_path / "mine.toml")


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_recipe("inception").batch = 2  # type: ignore[misc]


# --- hash and sizes --------------------------------------------------------------------------


def test_the_hash_is_of_the_values_not_of_the_file(tmp_path: Path) -> None:
    plain = read_recipe(written(tmp_path, WHOLE)).hash
    same = WHOLE.replace("1e-3", "0.001").replace("rotation = 10", "rotation = 10.0 # degrees")
    same = same.replace("batch = 8", "seed = 42\nbatch = 8")
    assert read_recipe(written(tmp_path, same)).hash == plain
    assert read_recipe(written(tmp_path, WHOLE.replace("1e-3", "2e-3"))).hash != plain


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 43),
        ("batch", 31),
        ("average", 0.0),
        ("precision", "fp32"),
        ("stages", [{"epochs": 1, "size": 64}]),
        ("network__mirror_left", False),
        ("schedule__clip_norm", 1.0),
        ("targets__sharpness", 2.0),
        ("augmentation__erase", 0.1),
    ],
)
def test_the_hash_feels_every_value(name: str, value: object) -> None:
    assert recipe(**{name: value}).hash != recipe().hash == read_recipe("inception").hash


def test_the_size_of_each_epoch(tmp_path: Path) -> None:
    actual = read_recipe(written(tmp_path, WHOLE))
    assert [actual.size_of(epoch) for epoch in range(actual.epochs)] == [64, 64, 64, 96, 96]
    assert actual.final_size == 96
    with pytest.raises(IndexError):
        actual.size_of(5)


# --- rates -----------------------------------------------------------------------------------


def test_the_one_cycle_rate_climbs_and_falls() -> None:
    schedule = OneCycle(peak_rate=0.1, warm_up=0.25)
    steps = [step / 400 for step in range(401)]
    rates = [rate_at(schedule, 0, progress) for progress in steps]
    assert rates[0] == pytest.approx(0.1 * 0.04)
    assert rates[100] == pytest.approx(0.1) == max(rates)
    assert rates[250] == pytest.approx(0.1 * (1 + 0.002) / 2)
    assert rates[400] == pytest.approx(0.1 * 0.002)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)


@pytest.mark.parametrize("warm_up", [0.0, 1.0])
def test_a_cycle_may_lack_one_half(warm_up: float) -> None:
    schedule = OneCycle(peak_rate=0.1, warm_up=warm_up)
    assert rate_at(schedule, 0, warm_up) == pytest.approx(0.1)


def head_then_all(**changes: float) -> HeadThenAll:
    schedule = read_recipe("paper-densenet161").schedule
    assert isinstance(schedule, HeadThenAll)
    return schedule.model_copy(update=changes)


def test_the_paper_rate_steps_down_after_two_epochs_of_all_layers() -> None:
    rates = [rate_at(head_then_all(), epoch, 0.5) for epoch in range(6)]
    assert rates == pytest.approx([1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4])


# --- what an epoch may change ----------------------------------------------------------------


def network(freeze_stem: bool = False) -> Member:
    torch.manual_seed(0)
    stages = {"early": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "late": nn.Conv2d(4, 6, 3)}
    member = Member(stages, body_from="late", channels=6, grades=5)
    if freeze_stem:
        member.freeze_stem()
    return member


def moved(member: Member, optimiser: torch.optim.Optimizer) -> set[str]:
    """The parts that one step changes."""
    before = {name: value.detach().clone() for name, value in member.named_parameters()}
    member.train()
    optimiser.zero_grad()
    member(torch.rand(4, 3, 8, 8)).square().sum().backward()
    optimiser.step()
    after = dict(member.named_parameters())
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_the_head_learns_first_and_then_all_layers() -> None:
    member = network()
    assert moved(member, optimiser_for(member, head_then_all(), epoch=0)) == {"head"}
    everything = {"stem", "body", "head"}
    assert moved(member, optimiser_for(member, head_then_all(), epoch=1)) == everything


@pytest.mark.parametrize("schedule", [head_then_all(), OneCycle(peak_rate=1e-2)])
def test_a_frozen_stem_stays_frozen(schedule: HeadThenAll | OneCycle) -> None:
    member = network(freeze_stem=True)
    for epoch in (0, 1, 2):
        optimiser = optimiser_for(member, schedule, epoch)
        held = {id(p) for group in optimiser.param_groups for p in group["params"]}
        assert not held & {id(p) for p in member.stem.parameters()}
        assert not any(p.requires_grad for p in member.stem.parameters())
        assert "stem" not in moved(member, optimiser)


kinds: list[tuple[Callable[[], HeadThenAll | OneCycle], list[bool]]] = [
    (head_then_all, [True, True, False]),
    (lambda: OneCycle(peak_rate=0.1), [True, False, False]),
]


@pytest.mark.parametrize(("schedule", "fresh"), kinds)
def test_when_an_optimiser_starts_afresh(
    schedule: Callable[[], HeadThenAll | OneCycle], fresh: list[bool]
) -> None:
    assert [starts_afresh(schedule(), epoch) for epoch in range(3)] == fresh


def test_weight_decay_is_for_matrices_in_one_cycle_and_for_all_layers_in_the_paper() -> None:
    member = network()
    schedule = OneCycle(peak_rate=0.1, weight_decay=0.3)
    matrices, vectors = optimiser_for(member, schedule, 0).param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.3, 0.0)
    assert all(p.ndim > 1 for p in matrices["params"])
    assert all(p.ndim == 1 for p in vectors["params"])
    paper = [optimiser_for(member, head_then_all(), e).param_groups[0] for e in (0, 1)]
    assert [group["weight_decay"] for group in paper] == [0.0, 1e-4]


def paper_before(**schedule: Any) -> dict[str, Any]:
    """The paper's recipe without the keys that came later, or with these."""
    values = read_recipe("paper-densenet161").model_dump()
    values["last_batch"] = "drop"
    values["schedule"] |= {"stopping": "stall"} | schedule
    return values


def test_keys_that_came_later_leave_the_hash_of_recipes_without_them() -> None:
    """A campaign begun with an earlier version goes on; its jobs are known by their hash."""
    paper = Recipe.model_validate(paper_before())
    assert paper.hash == "a45eee6b0919de1f602c059c70e556e16f634751872dc6857f88a3799d13f7c0"
    changed = paper.model_dump()
    changed["network"]["level"] = True
    levelled = Recipe.model_validate(changed)
    bound = Recipe.model_validate(paper.model_dump() | {"consistency": 1.0})
    taught = [
        Recipe.model_validate(paper.model_dump() | {"teacher": {"source": "masters"} | more})
        for more in ({}, {"weight": 0.4}, {"temperature": 2.0}, {"source": "others"})
    ]
    assert len({paper.hash, levelled.hash, bound.hash, *(r.hash for r in taught)}) == 7


SHIPPED_BEFORE = {
    "b4": "22e1ee0fdbbe353b6d4650adbc3ce743d5208b4292c99f2ecdd9a4cbd26dd3bf",
    "dinov2": "17262102d510c2c8ef50a070fd29aeb0f991dc4a8ae9d038e0247fc81eb35367",
    "inception": "f87536a994aa919d04d0f90f1a54d9e869f6240afb5944bbacb5574f35b4ec72",
    "lite2": "c83e9209afa92ce820a8ac3aaf37d42b058d5dc166a78fcc8db963c49fb59528",
    "lite2-film": "9b58d75f79a379ef759435861a58f7c042ef584a3e8c68d458f2f77c9ed563fd",
}


@pytest.mark.parametrize(("name", "known"), SHIPPED_BEFORE.items())
def test_shipped_recipes_are_known_by_the_hash_that_campaigns_have(name: str, known: str) -> None:
    assert read_recipe(name).hash == known


def test_keys_of_early_stopping_are_part_of_the_hash_where_they_are_used() -> None:
    changes: list[dict[str, Any]] = [
        {"stopping": "rise"},
        {"stop_on": "inner"},
        {"stop_on": "inner", "inner_parts": 5},
        {"keep_epochs": True},
        {"patience": 6},
    ]
    recipes = [Recipe.model_validate(paper_before(**change)) for change in ({}, *changes)]
    kept = Recipe.model_validate(paper_before() | {"last_batch": "keep"})
    assert len({kept.hash, *(recipe.hash for recipe in recipes)}) == 7


def test_the_papers_recipe_is_the_papers_to_the_letter() -> None:
    """Each number of its procedure; the campaign has its eight networks and their sizes."""
    recipe = read_recipe("paper-densenet161").model_dump()
    schedule, changes = recipe["schedule"], recipe["augmentation"]
    assert (recipe["batch"], recipe["last_batch"], recipe["seed"]) == (16, "keep", 42)
    assert (recipe["average"], recipe["consistency"], recipe["teacher"]) == (0.0, 0.0, None)
    assert [(stage["epochs"], stage["size"]) for stage in recipe["stages"]] == [(30, 456)]
    assert (recipe["network"]["pretrained"], recipe["network"]["mirror_left"]) == (True, False)
    assert (recipe["network"]["level"], recipe["network"]["freeze_stem"]) == (False, False)
    assert schedule["name"] == "head-then-all"
    assert (schedule["head_rate"], schedule["rate"]) == (1e-2, 1e-3)
    assert schedule["weight_decay"] == 1e-4
    assert (schedule["step_epochs"], schedule["step_factor"]) == (2, 0.1)
    assert (schedule["patience"], schedule["delta"], schedule["stopping"]) == (7, 0.1, "rise")
    assert schedule["stop_on"] == "held-out"
    assert (recipe["targets"]["kind"], recipe["targets"]["smoothing"]) == ("smooth", 0.1)
    assert {name: value for name, value in changes.items() if value} == {
        "mirror": 0.5,
        "rotation": 20.0,
    }


def of_patches(*sizes: int) -> dict[str, Any]:
    stages = [{"epochs": 1, "size": size} for size in sizes]
    return {"stages": stages, "network": {"architecture": "dinov2_vits14"}}


@pytest.mark.parametrize(("size", "near"), [(384, "378 or 392"), (33, "42"), (224 + 13, "224 or")])
def test_a_transformer_takes_whole_patches(size: int, near: str) -> None:
    with pytest.raises(ValidationError, match=f"instead of {size} choose {near}"):
        recipe(**of_patches(392, size))
    assert recipe(**of_patches(224, 392)).final_size == 392


def test_at_another_size_the_stages_of_a_transformer_stay_whole_patches() -> None:
    grown = recipe(**of_patches(42, 224, 392))
    assert [stage.size for stage in grown.at_size(448).stages] == [42, 252, 448]
    assert [stage.size for stage in grown.at_size(56).stages] == [42, 42, 56]
    with pytest.raises(ValidationError, match="choose 434 or 448"):
        grown.at_size(440)


def test_a_batch_of_two_looks_fits_a_knee() -> None:
    assert read_recipe("lite2").views == 1
    assert read_recipe("lite2-film").views == 2
