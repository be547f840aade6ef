"""Does the jobs of a campaign, one after the other, beside other runners of the same plan."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import Timeout

from kellgren.architectures import find
from kellgren.errors import CannotKeep, KellgrenError
from kellgren.evaluation import Scores
from kellgren.manifest import Knee
from kellgren.splits import Folds
from kellgren.training.campaign.description import Campaign
from kellgren.training.campaign.failures import forget_failure, keep_failure
from kellgren.training.campaign.plan import Job, all_jobs, job_lock, open_campaign
from kellgren.training.campaign.survey import JobStatus, survey
from kellgren.training.checkpoint import read_history
from kellgren.training.loop import Watcher, train
from kellgren.training.outcome import draw_curves, finish
from kellgren.training.prepare import prepare
from kellgren.training.run_folder import CURVES

# Longer than `train status` holds a lock to see whether it is free.
_PATIENCE_S = 0.5


class CampaignWatcher(Watcher):
    """Is told how a campaign goes, and how each of its runs does."""

    def job_begins(self, job: Job, statuses: Sequence[JobStatus]) -> None:
        """A job is about to be trained, or to be gone on with; so stands the campaign."""

    def predicting(self, done: int, total: int) -> None:
        """A held-out knee was graded by the finished member."""

    def job_ends(self, job: Job, scores: Scores) -> None:
        """A job is finished."""

    def job_fails(self, job: Job, reason: str) -> None:
        """A job cannot go on; the others do."""


@dataclass
class Ending:
    """How a runner's work ended.

    Attributes:
        finished: jobs that this runner finished.
        failed: jobs that could not go on, and why.
        paused: whether the time was up before the jobs were.
        elsewhere: jobs that another runner is at.
    """

    finished: list[Job] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    paused: bool = False
    elsewhere: list[Job] = field(default_factory=list)


def run_campaign(
    campaign: Campaign,
    knees: Sequence[Knee],
    folder: Path,
    *,
    weights_dir: Path | None = None,
    max_minutes: float | None = None,
    watcher: CampaignWatcher | None = None,
) -> Ending:
    """Do all jobs of a campaign that are not done, in the plan's order.

    Killed at any moment, the same call goes on: finished jobs stay, a half-trained one resumes
    from its checkpoint. Several runners may work in one folder; each job is done by one of them,
    and a job whose runner died is taken over by another.

    Args:
        campaign: what to train.
        knees: graded; all of the data set.
        folder: of the campaign, new or begun.
        weights_dir: where ImageNet weights lie; ``None`` downloads them.
        max_minutes: stop after an epoch before this is exceeded; the first epoch always runs.
        watcher: to be told.

    Raises:
        InvalidRecipe: an architecture that is not known, before anything begins.
        TrainingError: the folder holds another campaign's plan.
        CannotKeep: the disk is full or read-only; what was written before stays.
    """
    for recipe in campaign.recipes:
        find(recipe.network.architecture)
    try:
        folds = open_campaign(campaign, knees, folder)
        wanted = {recipe.hash for recipe in campaign.recipes}
        jobs = [job for job in all_jobs(folder) if job.recipe_hash in wanted]
        runner = _Runner(knees, folds, folder, weights_dir, watcher or CampaignWatcher())
        return runner.work(jobs, max_minutes)
    except OSError as error:
        raise CannotKeep(
            error.filename or folder,
            f"cannot be read or written ({error.strerror or error})",
            "Free some disk space, or mend the folder; the same command goes on",
        ) from error


@dataclass(frozen=True)
class _Runner:
    knees: Sequence[Knee]
    folds: Folds
    folder: Path
    weights_dir: Path | None
    watcher: CampaignWatcher

    def work(self, jobs: Sequence[Job], max_minutes: float | None) -> Ending:
        ending, began = Ending(), time.monotonic()
        while claimed := self._claim(jobs, ending.failed):
            job, lock = claimed
            with lock:
                statuses = survey(self.folder)
                left = None
                if max_minutes is not None:
                    left = max_minutes - (time.monotonic() - began) / 60
                    ending.paused = bool(ending.finished) and left < _next_epoch(job, statuses)
                if not ending.paused:
                    self.watcher.job_begins(job, statuses)
                    self._try(job, left, ending)
            if ending.paused:
                break
        ours = {*ending.failed, *(job.name for job in ending.finished)}
        rest = [job for job in jobs if not job.is_finished and job.name not in ours]
        return replace(ending, elsewhere=[] if ending.paused else rest)

    def _claim(
        self, jobs: Sequence[Job], failed: Container[str]
    ) -> tuple[Job, AbstractContextManager[object]] | None:
        """The first job that is to be done and nobody is at, with its lock; ``None``: no such."""
        for job in jobs:
            if job.name in failed or job.is_finished:
                continue
            try:
                lock = job_lock(self.folder, job).acquire(timeout=_PATIENCE_S)
            except Timeout:
                continue
            if not job.is_finished:  # else another runner finished it since we looked
                return job, lock
            with lock:
                pass
        return None

    def _try(self, job: Job, minutes: float | None, ending: Ending) -> None:
        """Go on with a job; note in the ending what became of it."""
        forget_failure(self.folder, job)
        try:
            scores = self._go_on(job, minutes)
        except CannotKeep:
            raise
        except (KellgrenError, MemoryError, RuntimeError) as error:  # torch's are the last
            reason = " ".join(str(error).split()) or type(error).__name__
            ending.failed[job.name] = reason
            keep_failure(self.folder, job, reason)
            self.watcher.job_fails(job, reason)
            return
        ending.paused = scores is None
        if scores is not None:
            ending.finished.append(job)
            self.watcher.job_ends(job, scores)

    def _go_on(self, job: Job, minutes: float | None) -> Scores | None:
        """Train and finish a job; ``None``: the time was up before."""
        run = prepare(
            job.recipe,
            self.knees,
            job.run,
            folds=self.folds,
            fold=job.fold,
            weights_dir=self.weights_dir,
        )
        done = train(run, resume=True, max_minutes=minutes, watcher=self.watcher)
        draw_curves(read_history(run.checkpoint, run.identity), run.out / CURVES)
        return finish(run, self.folds, job.fold, self.watcher.predicting) if done else None


def _next_epoch(job: Job, statuses: Sequence[JobStatus]) -> float:
    """Minutes that one more epoch of a job will take, on an average of those it has left."""
    (status,) = (status for status in statuses if status.job.name == job.name)
    epochs = job.recipe.epochs - status.epochs_done
    return status.minutes_left / epochs if status.minutes_left and epochs else 0.0
