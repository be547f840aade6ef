"""A campaign on disk: which jobs there are, and which are finished."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds, load_folds, make_folds, save_folds
from kellgren.errors import TrainingError
from kellgren.training.campaign.description import Campaign, Name, Priority, dealt_words
from kellgren.training.campaign.job import JOBS as JOBS
from kellgren.training.campaign.job import TrainingJob as TrainingJob
from kellgren.training.campaign.job import fold_words
from kellgren.training.fingerprint import data_hash
from kellgren.training.recipe import Recipe, in_words

PLAN, FOLDS = "campaign.json", "folds.json"
LOCKS, FAILURES = "locks", "failures"


class PlannedJob(BaseModel):
    """One member at one size with one fold held out, or none: a final; its recipe by hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    member: Name
    size: int
    fold: Annotated[int, Field(ge=0)] | None
    recipe_hash: str
    priority: Priority = 0

    @property
    def key(self) -> tuple[str, int, int | None, str]:
        """What the job is; its priority says only when it is done."""
        return self.member, self.size, self.fold, self.recipe_hash


class Plan(BaseModel):
    """All jobs of a campaign, in the order in which they are done.

    Attributes:
        format: 1 knew neither finals nor priorities.
        name: of the campaign.
        folds: how many.
        folds_hash: of the folds' deal.
        data_hash: of the knees, their patients, sides and grades.
        recipes: by their hash.
        jobs: by priority; of equal ones fold by fold, each with every member at every size, and
            the finals after the last fold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2] = 2
    name: Name
    folds: int
    folds_hash: str
    data_hash: str
    recipes: dict[str, Recipe]
    jobs: tuple[PlannedJob, ...]


def open_campaign(campaign: Campaign, knees: Sequence[Knee], folder: Path) -> Folds:
    """Write a campaign's plan and folds into a folder, or go on with those that lie there.

    A plan may grow: members, sizes, finals and recipes of other members are added to those it
    has. Its jobs take the campaign's priorities.

    Args:
        campaign: to be done.
        knees: graded.
        folder: new, empty, or of a campaign with the same data and folds.

    Raises:
        TrainingError: the folder's plan has other data, other folds, or another recipe for one of
            the members at the same size; it stays as it is.
        InvalidManifest: there are knees of splits that the campaign does not know.
    """
    with plan_lock(folder):
        plan, folds, known = planned(campaign, knees, folder)
        if plan != known or not (folder / FOLDS).exists():
            save_folds(folds, folder / FOLDS)
            write_plan(plan, folder)
    return folds


def planned(
    campaign: Campaign, knees: Sequence[Knee], folder: Path | None
) -> tuple[Plan, Folds, Plan | None]:
    """The plan that a campaign makes of a folder, which stays as it is.

    Args:
        campaign: to be done.
        knees: graded.
        folder: whose plan grows; ``None``, or one without a plan: a new one.

    Returns:
        The plan, the folds, and the folder's plan as it is.

    Raises:
        TrainingError: as `open_campaign`.
        InvalidManifest: there are knees of splits that the campaign does not know.
    """
    campaign.check_splits(knees)
    known = read_plan(folder) if folder is not None and (folder / PLAN).exists() else None
    if folder is None or known is None or not (folder / FOLDS).exists():
        folds = make_folds(knees, campaign.folds, campaign.seed, campaign.folds_by)
    else:
        folds = load_folds(folder / FOLDS)
    has = (folds.count, dealt_words(folds.seed, folds.by))
    asked = (campaign.folds, dealt_words(campaign.seed, campaign.folds_by))
    if folder is not None and has != asked:
        raise TrainingError(
            folder,
            f"holds a campaign of {has[0]} folds, {has[1]}; asked for are {asked[0]}, {asked[1]}",
            "Name another --out folder",
        )
    plan = _new_plan(campaign, folds, data_hash(knees, None, None))
    if folder is not None and known is not None:
        plan = _with_priorities_of(plan, joined(known, plan, folder))
    return plan, folds, known


def _new_plan(campaign: Campaign, folds: Folds, data: str) -> Plan:
    held_out: list[int | None] = [*range(folds.count), *([None] if campaign.finals else [])]
    return Plan(
        name=campaign.name,
        folds=folds.count,
        folds_hash=folds.hash,
        data_hash=data,
        recipes={recipe.hash: recipe for recipe in campaign.recipes},
        jobs=_in_order(
            PlannedJob(
                member=recipe.name,
                size=recipe.final_size,
                fold=fold,
                recipe_hash=recipe.hash,
                priority=priority,
            )
            for recipe, priority in campaign.by_priority()
            for fold in held_out
        ),
    )


def _in_order(jobs: Iterable[PlannedJob]) -> tuple[PlannedJob, ...]:
    """By priority, then every member on fold 0 first, finals last.

    Wherever a campaign stops, the members of one priority can be compared.
    """

    def order(job: PlannedJob) -> tuple[int, bool, int]:
        return -job.priority, job.fold is None, job.fold or 0

    return tuple(sorted(jobs, key=order))


def _with_priorities_of(new: Plan, plan: Plan) -> Plan:
    """The plan, in which the jobs that a newer one has too are as urgent as they are there."""
    urgent = {job.key: job.priority for job in new.jobs}
    jobs = (
        job.model_copy(update={"priority": urgent.get(job.key, job.priority)}) for job in plan.jobs
    )
    return plan.model_copy(update={"jobs": _in_order(jobs)})


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
    here = {job.key for job in plan.jobs}
    new = [job for job in other.jobs if job.key not in here]
    return plan.model_copy(
        update={
            "format": 2,
            "recipes": plan.recipes | other.recipes,
            "jobs": _in_order([*plan.jobs, *new]),
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


def all_jobs(folder: Path) -> list[TrainingJob]:
    """Every job of a campaign's folder, in order.

    Raises:
        TrainingError: the folder holds no readable plan.
    """
    return jobs_of(read_plan(folder), folder)


def jobs_of(plan: Plan, folder: Path) -> list[TrainingJob]:
    """The jobs of a plan that lies, or would lie, in a folder, in order."""
    return [
        TrainingJob(
            job.member,
            job.size,
            job.fold,
            plan.recipes[job.recipe_hash],
            folder / JOBS / _folder_name(job),
        )
        for job in plan.jobs
    ]


def _folder_name(job: PlannedJob) -> str:
    return f"{job.member}-{job.size}-{fold_words(job.fold)}-{job.recipe_hash[:8]}"


def finished_jobs(folder: Path) -> list[TrainingJob]:
    """The jobs whose runs are finished, in the plan's order.

    Raises:
        TrainingError: the folder holds no readable plan.
    """
    return [job for job in all_jobs(folder) if job.is_finished]


def plan_lock(folder: Path) -> FileLock:
    """Held while a plan is read and written back."""
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    return _lock(folder, "plan")


def job_lock(folder: Path, job: TrainingJob) -> FileLock:
    """Held while a job is trained; the system frees it when the process ends, however it does."""
    return _lock(folder, job.name)


def _lock(folder: Path, name: str) -> FileLock:
    return FileLock(folder / LOCKS / f"{name}.lock")
