"""A campaign on disk: which jobs there are, and which are finished."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kellgren.errors import TrainingError
from kellgren.files import written_whole
from kellgren.manifest import Knee
from kellgren.recipe import Recipe, in_words
from kellgren.splits import Folds, load_folds, make_folds, save_folds
from kellgren.training.campaign.description import Campaign, Name
from kellgren.training.identity import data_hash
from kellgren.training.run_folder import FACTS, HEAD, MODEL, OUT_OF_FOLD

PLAN, FOLDS = "campaign.json", "folds.json"
JOBS, LOCKS, FAILURES = "jobs", "locks", "failures"


class PlannedJob(BaseModel):
    """One member at one size with one fold held out; its recipe by hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    member: Name
    size: int
    fold: Annotated[int, Field(ge=0)]
    recipe_hash: str


class Plan(BaseModel):
    """All jobs of a campaign, in the order in which they are done.

    Attributes:
        name: of the campaign.
        folds: how many.
        folds_hash: of the folds' deal.
        data_hash: of the knees, their patients, sides and grades.
        recipes: by their hash.
        jobs: fold by fold, each with every member at every size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: Name
    folds: int
    folds_hash: str
    data_hash: str
    recipes: dict[str, Recipe]
    jobs: tuple[PlannedJob, ...]


@dataclass(frozen=True)
class Job:
    """One run of a campaign.

    Attributes:
        member: its name.
        size: of its input, pixels.
        fold: held out.
        recipe: how it is trained.
        run: folder of the run, whether it has begun or not.
    """

    member: str
    size: int
    fold: int
    recipe: Recipe
    run: Path

    @property
    def recipe_hash(self) -> str:
        """SHA-256 of the recipe: equal on every machine."""
        return self.recipe.hash

    @property
    def name(self) -> str:
        """The run's folder: member, size, fold, and the start of the recipe's hash."""
        return self.run.name

    @property
    def is_finished(self) -> bool:
        """Whether the run left all that it promises; each file is whole or not there."""
        return all((self.run / name).exists() for name in (MODEL, HEAD, FACTS, OUT_OF_FOLD))


def open_campaign(campaign: Campaign, knees: Sequence[Knee], folder: Path) -> Folds:
    """Write a campaign's plan and folds into a folder, or go on with those that lie there.

    A plan may grow: members, sizes and recipes of other members are added to those it has.

    Args:
        campaign: to be done.
        knees: graded.
        folder: new, empty, or of a campaign with the same data and folds.

    Raises:
        TrainingError: the folder's plan has other data, other folds, or another recipe for one of
            the members at the same size; it stays as it is.
    """
    with plan_lock(folder):
        known = read_plan(folder) if (folder / PLAN).exists() else None
        if known is None or not (folder / FOLDS).exists():
            folds = make_folds(knees, campaign.folds, campaign.seed)
        else:
            folds = load_folds(folder / FOLDS)
        if (folds.count, folds.seed) != (campaign.folds, campaign.seed):
            raise TrainingError(
                folder,
                f"holds a campaign of {folds.count} folds, seed {folds.seed}; "
                f"asked for are {campaign.folds}, seed {campaign.seed}",
                "Name another --out folder",
            )
        plan = _planned(campaign, folds, data_hash(knees, None, None))
        if known is not None:
            plan = joined(known, plan, folder)
        if plan != known or not (folder / FOLDS).exists():
            save_folds(folds, folder / FOLDS)
            write_plan(plan, folder)
    return folds


def _planned(campaign: Campaign, folds: Folds, data: str) -> Plan:
    return Plan(
        name=campaign.name,
        folds=folds.count,
        folds_hash=folds.hash,
        data_hash=data,
        recipes={recipe.hash: recipe for recipe in campaign.recipes},
        jobs=_fold_by_fold(
            PlannedJob(
                member=recipe.name, size=recipe.final_size, fold=fold, recipe_hash=recipe.hash
            )
            for recipe in campaign.recipes
            for fold in range(folds.count)
        ),
    )


def _fold_by_fold(jobs: Iterable[PlannedJob]) -> tuple[PlannedJob, ...]:
    """Every member on fold 0 first: wherever a campaign stops, its members can be compared."""
    return tuple(sorted(jobs, key=lambda job: job.fold))


def joined(plan: Plan, other: Plan, folder: Path) -> Plan:
    """The plan with the jobs of another that it lacks.

    Args:
        plan: to grow.
        other: of the same folds and data.
        folder: of the other, for messages.

    Raises:
        TrainingError: other folds, other data, or another recipe for the same member and size.
    """
    if plan.folds_hash != other.folds_hash:
        raise TrainingError(
            folder,
            f"its folds (hash {other.folds_hash[:8]}) are not those of {plan.name} "
            f"({plan.folds_hash[:8]})",
            "What is held out here was learnt from there: keep them apart, in folders of their own",
        )
    if plan.data_hash != other.data_hash:
        raise TrainingError(
            folder,
            "its knees or grades are not those of the campaign",
            "Name the same data, or another folder",
        )
    recipes = {(job.member, job.size): job.recipe_hash for job in plan.jobs}
    for job in other.jobs:
        known = recipes.get((job.member, job.size), job.recipe_hash)
        if known != job.recipe_hash:
            raise TrainingError(
                folder,
                f"member {job.member} at {job.size} pixels has another recipe "
                f"(hash {job.recipe_hash[:8]}) than in the campaign ({known[:8]})",
                "Give the member another name, or name another folder",
            )
    new = [job for job in other.jobs if job not in plan.jobs]
    return plan.model_copy(
        update={
            "recipes": plan.recipes | other.recipes,
            "jobs": _fold_by_fold([*plan.jobs, *new]),
        }
    )


def read_plan(folder: Path) -> Plan:
    """The plan in a campaign's folder.

    Raises:
        TrainingError: there is none, it is damaged, or of another version of the package.
    """
    path = folder / PLAN
    try:
        plan = Plan.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise TrainingError(
            folder, f"holds no {PLAN}", "Name the --out folder of a train ensemble"
        ) from None
    except ValidationError as error:
        raise TrainingError(path, in_words(error, "plan"), "Restore the original file") from None
    except (OSError, UnicodeDecodeError) as error:
        words = f"cannot be read ({type(error).__name__})"
        raise TrainingError(path, words, "Restore the original file") from None
    changed = [key for key, recipe in plan.recipes.items() if recipe.hash != key]
    if changed or {job.recipe_hash for job in plan.jobs} - plan.recipes.keys():
        raise TrainingError(
            path,
            "a recipe does not fit its hash",
            "Restore the original file, or go on with the version that wrote it",
        )
    return plan


def write_plan(plan: Plan, folder: Path) -> None:
    """Keep the plan, whole or not at all."""
    with written_whole(folder / PLAN) as stream:
        json.dump(plan.model_dump(mode="json"), stream, indent=1)


def all_jobs(folder: Path) -> list[Job]:
    """Every job of a campaign's folder, in order.

    Raises:
        TrainingError: the folder holds no readable plan.
    """
    plan = read_plan(folder)
    return [
        Job(
            job.member,
            job.size,
            job.fold,
            plan.recipes[job.recipe_hash],
            folder / JOBS / f"{job.member}-{job.size}-f{job.fold}-{job.recipe_hash[:8]}",
        )
        for job in plan.jobs
    ]


def finished_jobs(folder: Path) -> list[Job]:
    """The jobs whose runs are finished, in the plan's order.

    Raises:
        TrainingError: the folder holds no readable plan.
    """
    return [job for job in all_jobs(folder) if job.is_finished]


def plan_lock(folder: Path) -> FileLock:
    """Held while a plan is read and written back."""
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    return _lock(folder, "plan")


def job_lock(folder: Path, job: Job) -> FileLock:
    """Held while a job is trained; the system frees it when the process ends, however it does."""
    return _lock(folder, job.name)


def _lock(folder: Path, name: str) -> FileLock:
    return FileLock(folder / LOCKS / f"{name}.lock")
