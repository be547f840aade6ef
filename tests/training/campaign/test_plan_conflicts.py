"""Plans that do not fit each other, or that are damaged, are refused and stay as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.data.manifest import Knee
from kellgren.errors import InvalidCampaign, TrainingError
from kellgren.grades import Grade
from kellgren.training.campaign import Campaign, all_jobs, finished_jobs, read_campaign, read_plan
from kellgren.training.campaign.costs import Costs, keep_beside, measured_costs, share_learnt
from kellgren.training.campaign.plan import Plan, joined, open_campaign, planned
from kellgren.training.recipe import Recipe, read_recipe

BASE = read_recipe("lite2")


def member(name: str, size: int = 64, **changes: Any) -> Recipe:
    stages = [{"epochs": 2, "size": size}]
    return Recipe.model_validate(BASE.model_dump() | {"name": name, "stages": stages} | changes)


A, B = member("a"), member("b")
TWO = Campaign("mine", 2, 0, (A, B))


@pytest.fixture
def folder(tmp_path: Path, knees: list[Knee]) -> Path:
    open_campaign(TWO, knees, tmp_path / "campaign")
    return tmp_path / "campaign"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def other_grades(knees: list[Knee]) -> list[Knee]:
    return [replace(knees[0], grade=Grade((int(knees[0].grade or 0) + 1) % 5)), *knees[1:]]


@pytest.mark.parametrize(
    ("campaign", "said"),
    [
        (replace(TWO, folds=3), "holds a campaign of 2 folds, seed 0; asked for are 3, seed 0"),
        (replace(TWO, seed=1), "asked for are 2, seed 1"),
        (replace(TWO, recipes=(A, member("b", batch=4))), "member b at 64 pixels has another"),
    ],
)
def test_a_campaign_that_does_not_fit_leaves_the_folder_as_it_is(
    folder: Path, knees: list[Knee], campaign: Campaign, said: str
) -> None:
    before = contents(folder)
    with pytest.raises(TrainingError, match=said) as caught:
        open_campaign(campaign, knees, folder)
    assert caught.value.subject == str(folder)
    assert contents(folder) == before


def test_other_grades_are_other_data(folder: Path, knees: list[Knee]) -> None:
    before = contents(folder)
    with pytest.raises(TrainingError, match="its knees or grades are not those of the campaign"):
        open_campaign(TWO, other_grades(knees), folder)
    assert contents(folder) == before


def test_a_plan_grows_and_loses_no_job(folder: Path, knees: list[Knee]) -> None:
    before = {job.key for job in read_plan(folder).jobs}
    c = member("c", 96)
    open_campaign(Campaign("mine", 2, 0, (c,), finals=True), knees, folder)
    plan = read_plan(folder)
    keys = [job.key for job in plan.jobs]
    assert before < set(keys)
    assert len(set(keys)) == len(keys) == 4 + 3
    assert {"a", "b", "c"} == {job.member for job in all_jobs(folder)}
    assert finished_jobs(folder) == []
    once = contents(folder)
    open_campaign(Campaign("mine", 2, 0, (c,), finals=True), knees, folder)
    assert contents(folder) == once


def test_a_plan_that_is_only_looked_at_is_not_written(tmp_path: Path, knees: list[Knee]) -> None:
    plan, folds, known = planned(TWO, knees, tmp_path)
    assert known is None
    assert (plan.folds, folds.count, len(plan.jobs)) == (2, 2, 4)
    assert [*tmp_path.iterdir()] == []


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_joining_is_a_union_in_either_order(knees: list[Knee], data: st.DataObject) -> None:
    recipes = [member(name, size) for name in "abc" for size in (64, 96)]
    chosen = st.lists(st.sampled_from(recipes), min_size=1, unique_by=lambda recipe: recipe.hash)

    def plan() -> Plan:
        campaign = Campaign("mine", 2, 0, tuple(data.draw(chosen)), data.draw(st.booleans()))
        return planned(campaign, knees, None)[0]

    one, other = plan(), plan()
    both, turned = joined(one, other, Path("f")), joined(other, one, Path("f"))
    keys = [job.key for job in both.jobs]
    assert set(keys) == {job.key for job in (*one.jobs, *other.jobs)}
    assert len(set(keys)) == len(keys)
    assert set(keys) == {job.key for job in turned.jobs}
    assert both.recipes == turned.recipes == one.recipes | other.recipes
    assert joined(both, other, Path("f")) == both
    folds = [job.fold for job in both.jobs]
    assert folds == sorted(folds, key=lambda fold: (fold is None, fold or 0))


def test_what_was_learnt_from_other_folds_is_kept_apart(knees: list[Knee]) -> None:
    one, other = (planned(replace(TWO, seed=seed), knees, None)[0] for seed in (0, 7))
    assert one.folds_hash != other.folds_hash
    with pytest.raises(TrainingError, match=f"{other.folds_hash[:8]}.*{one.folds_hash[:8]}"):
        joined(one, other, Path("f"))


def changed(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda plan: plan.update(values)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (changed(format=9), "format: "),
        (changed(extra=1), "extra is not a key of a plan"),
        (lambda plan: plan.pop("data_hash"), "data_hash is missing"),
        (lambda plan: plan["jobs"][1].update(fold=-1), "jobs.1.fold: "),
        (lambda plan: plan["jobs"][0].update(recipe_hash="0"), "a recipe does not fit its hash"),
        (lambda plan: plan["recipes"][A.hash].update(batch=4), "a recipe does not fit its hash"),
        (lambda plan: plan["recipes"][A.hash].update(bach=4), "bach is not a key of a plan"),
        (changed(recipes={}), "a recipe does not fit its hash"),
    ],
)
def test_a_damaged_plan_is_refused(folder: Path, harm: Callable[[Any], object], said: str) -> None:
    path = folder / "campaign.json"
    plan = json.loads(path.read_text("utf-8"))
    harm(plan)
    path.write_text(json.dumps(plan))
    with pytest.raises(TrainingError) as caught:
        read_plan(folder)
    assert said in caught.value.problem
    assert caught.value.subject == str(path)


def test_a_plan_that_is_none_is_refused(folder: Path) -> None:
    path = folder / "campaign.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match="JSON"):
        read_plan(folder)
    path.write_bytes(b"\xff")
    with pytest.raises(TrainingError, match="UnicodeDecodeError"):
        read_plan(folder)
    path.unlink()
    with pytest.raises(TrainingError, match=r"holds no campaign\.json"):
        all_jobs(folder)
    shutil.rmtree(folder)
    with pytest.raises(TrainingError, match=r"holds no campaign\.json"):
        finished_jobs(folder)


@pytest.mark.parametrize("harm", ["folder", "latin"])
def test_a_campaign_that_cannot_be_read_names_the_shipped_ones(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "mine.toml"
    if harm == "folder":
        path.mkdir()
    else:
        path.write_bytes(b'name = "\xe4"\n')
    with pytest.raises(InvalidCampaign, match="default, fast, paper") as caught:
        read_campaign(path)
    assert "cannot be read" in caught.value.problem


# --- costs ---------------------------------------------------------------------------------------


def test_costs_are_measured_over_the_jobs_of_a_member(folder: Path) -> None:
    jobs = all_jobs(folder)
    assert [(job.member, job.fold) for job in jobs] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    keep_beside(folder, jobs[0], 3.0)
    keep_beside(folder, jobs[2], -1.0)  # a clock that went back
    (folder / "times" / f"{jobs[1].name}.json").write_text("[1]")
    histories = [[{"minutes": 2.0, "size": 64}, {"size": 64}], [], [{"minutes": 4.0, "size": 64}]]
    costs = measured_costs(folder, jobs, [*histories, []], 2)
    assert costs["a"] == Costs({64: 6.0}, 1.5, 2)  # half of the knees are learnt from in a fold
    assert costs["b"] == Costs({}, 1.5, 2)
    assert costs["a"].expected(jobs[0], 0) == pytest.approx(2 * 6.0 * 0.5 + 1.5)
    assert costs["a"].expected(jobs[0], 2) == 1.5
    assert costs["b"].expected(jobs[1], 0) is None
    final = replace(jobs[0], fold=None)
    assert (share_learnt(final, 2), share_learnt(jobs[0], 5)) == (1.0, 0.8)
    assert costs["a"].expected(final, 0) == pytest.approx(2 * 6.0 + 1.5)
    large = replace(jobs[0], recipe=member("a", 128))
    assert costs["a"].expected(large, 1) == pytest.approx(6.0 * 4 * 0.5 + 1.5)
