"""Takes over what other machines finished of the same plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import Timeout

from kellgren.errors import TrainingError
from kellgren.splits import load_folds, save_folds
from kellgren.training.campaign.plan import (
    FOLDS,
    JOBS,
    PLAN,
    Job,
    Plan,
    all_jobs,
    finished_jobs,
    job_lock,
    joined,
    plan_lock,
    read_plan,
    write_plan,
)
from kellgren.training.run_folder import FACTS

SET_ASIDE = "set-aside"
_INCOMING = ".incoming-"


@dataclass
class Merged:
    """What a merge did.

    Attributes:
        taken: jobs that were copied.
        kept: jobs that the target had finished itself.
        busy: jobs that somebody is at in the target's folder; they stay as they are.
        set_aside: half-trained runs that a finished one replaced, now in ``set-aside/``.
    """

    taken: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)


def merge(others: Sequence[Path], folder: Path) -> Merged:
    """Copy the finished jobs of other campaign folders into one.

    The target's plan grows by jobs that it lacks; its own finished jobs stay. Nothing is copied
    before all plans are known to fit, and each run appears whole or not at all.

    Args:
        others: campaign folders; they stay as they are.
        folder: the target; a new one takes the first of the others' plan and folds.

    Raises:
        TrainingError: a folder without a plan, of other folds, data, or recipes, or a run whose
            facts are not those of its job.
    """
    incoming = [job for other in others for job in finished_jobs(other)]
    with plan_lock(folder):
        plan = read_plan(folder) if (folder / PLAN).exists() else read_plan(others[0])
        for other in others:
            plan = joined(plan, read_plan(other), other)
        for job in incoming:
            _check_facts(job, plan)
        if not (folder / FOLDS).exists():
            save_folds(load_folds(others[0] / FOLDS), folder / FOLDS)
        write_plan(plan, folder)
    ours = {job.name: job for job in all_jobs(folder)}
    found = Merged()
    for job in incoming:
        _take_over(job, ours[job.name], folder, found)
    return found


def _check_facts(job: Job, plan: Plan) -> None:
    """A run must be what its place in the plan says."""
    expected = {
        "recipe_hash": job.recipe_hash,
        "held_out_fold": job.fold,
        "folds_hash": plan.folds_hash,
    }
    try:
        facts = json.loads((job.run / FACTS).read_text("utf-8"))
        different = [key for key, value in expected.items() if facts[key] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            job.run / FACTS, f"cannot be read ({type(error).__name__})", "Copy the run once more"
        ) from None
    if different:
        raise TrainingError(
            job.run,
            f"is not the run of its plan (different: {', '.join(different)})",
            "Copy the campaign's folder once more, or leave this run out",
        )


def _take_over(theirs: Job, ours: Job, folder: Path, found: Merged) -> None:
    try:
        with job_lock(folder, ours).acquire(timeout=0):
            if ours.is_finished:
                found.kept.append(ours.name)
                return
            draft = folder / JOBS / f"{_INCOMING}{ours.name}"
            shutil.rmtree(draft, ignore_errors=True)  # of a merge that was killed
            shutil.copytree(theirs.run, draft, ignore=shutil.ignore_patterns(".*"))
            if ours.run.exists():
                aside = _free_name(folder / SET_ASIDE / ours.name)
                aside.parent.mkdir(exist_ok=True)
                ours.run.rename(aside)
                found.set_aside.append(ours.name)
            draft.rename(ours.run)
            found.taken.append(ours.name)
    except Timeout:
        found.busy.append(ours.name)


def _free_name(path: Path) -> Path:
    """The path, or with a number where there is such a folder already."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in range(2, 10_000))
    return next(name for name in (path, *numbered) if not name.exists())
