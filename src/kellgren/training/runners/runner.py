"""Does the jobs of a campaign, one after the other, beside other runners of the same plan."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import BaseFileLock, Timeout

from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds
from kellgren.errors import CannotKeep, KellgrenError
from kellgren.evaluation import Scores
from kellgren.training.architectures import find
from kellgren.training.campaign.costs import keep_beside
from kellgren.training.campaign.description import Campaign
from kellgren.training.campaign.failures import forget_failure, has_failed_in, keep_failure
from kellgren.training.campaign.plan import TrainingJob, all_jobs, job_lock, open_campaign
from kellgren.training.campaign.survey import JobStatus, history_of, survey
from kellgren.training.member.checkpoint import read_history
from kellgren.training.member.loop import Watcher, train
from kellgren.training.member.outcome import draw_curves, finish
from kellgren.training.member.prepare import prepare
from kellgren.training.run_folder import CURVES
from kellgren.training.runners.session import RunnerSession

# Longer than `train status` holds a lock to see whether it is free.
_LOCK_TIMEOUT_S = 0.5


class CampaignWatcher(Watcher):
    """Notified of the progress of a campaign and of each of its runs."""

    def job_begins(self, job: TrainingJob, statuses: Sequence[JobStatus]) -> None:
        """A job is about to be trained, or to be gone on with; so stands the campaign."""

    def predicting(self, done: int, total: int) -> None:
        """A held-out knee was graded by the finished member."""

    def job_ends(self, job: TrainingJob, scores: Scores | None) -> None:
        """A job is finished; a final has no scores."""

    def job_fails(self, job: TrainingJob, reason: str) -> None:
        """A job cannot go on; the others do."""

    def job_returned(self, job: TrainingJob) -> None:
        """The device had no memory for a job beside other runners': it waits again."""


@dataclass
class CampaignResult:
    """The outcome of a runner's work.

    Attributes:
        finished: jobs that this runner finished.
        failed: jobs that could not go on, and why.
        paused: whether the time was up before the jobs were.
        elsewhere: jobs that another runner is at.
        returned: the job for which the device had no memory beside other runners'; it waits
            again, from its last checkpoint on, and this runner took no other.
    """

    finished: list[TrainingJob] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    paused: bool = False
    elsewhere: list[TrainingJob] = field(default_factory=list)
    returned: TrainingJob | None = None


def run_campaign(
    campaign: Campaign,
    knees: Sequence[Knee],
    folder: Path,
    *,
    weights_dir: Path | None = None,
    max_minutes: float | None = None,
    watcher: CampaignWatcher | None = None,
    session: RunnerSession | None = None,
    only: Container[str] | None = None,
) -> CampaignResult:
    """Do all jobs of a campaign that are not done, in the plan's order.

    Killed at any moment, the same call goes on: finished jobs stay, a half-trained one resumes
    from its checkpoint. Several runners may work in one folder; each job is done by one of them,
    and a job whose runner died is taken over by another.

    Args:
        campaign: what to train.
        knees: graded; all of the data set.
        folder: of the campaign, new or begun.
        weights_dir: with files of ImageNet weights; what is not in it is downloaded.
        max_minutes: stop after an epoch before this is exceeded, and begin no job that cannot
            end in what is left, by the measured times of the same member; the first epoch
            always runs.
        watcher: notified of each event.
        session: of this and other runners, instead of one with ``max_minutes``.
        only: names of the jobs that are done, of all of the campaign's.

    Raises:
        InvalidRecipe: an architecture that is not known, before anything begins.
        TrainingError: the folder holds another campaign's plan.
        CannotKeep: the disk is full or read-only; what was written before stays.
    """
    session = session or RunnerSession.start(max_minutes)
    for recipe in campaign.recipes:
        find(recipe.network.architecture)
    try:
        folds = open_campaign(campaign, knees, folder)
        jobs = [job for job in jobs_to_do(campaign, folder) if only is None or job.name in only]
        runner = _Runner(knees, folds, folder, weights_dir, watcher or CampaignWatcher(), session)
        return runner.work(jobs)
    except OSError as error:
        raise CannotKeep(
            error.filename or folder,
            f"cannot be read or written ({error.strerror or error})",
            "Free some disk space, or mend the folder; the same command goes on",
        ) from error


def jobs_to_do(campaign: Campaign, folder: Path) -> list[TrainingJob]:
    """A campaign's own jobs among those of a folder's plan, done or not, in its order."""
    hashes = {recipe.hash for recipe in campaign.recipes}
    return [job for job in all_jobs(folder) if job.recipe_hash in hashes]


@dataclass
class _Runner:
    knees: Sequence[Knee]
    folds: Folds
    folder: Path
    weights_dir: Path | None
    watcher: CampaignWatcher
    session: RunnerSession
    result: CampaignResult = field(default_factory=CampaignResult)
    cut_off: set[str] = field(default_factory=set)

    def work(self, jobs: Sequence[TrainingJob]) -> CampaignResult:
        names = {job.name for job in jobs}
        while self.result.returned is None and (claimed := self._claim(names)):
            job, lock, statuses = claimed
            try:
                self.watcher.job_begins(job, statuses)
                self._attempt(job)
            finally:
                lock.release()
        own = {*self.result.failed, *(job.name for job in self.result.finished)}
        rest = [job for job in jobs if self._is_open(job) and job.name not in own]
        self.result.elsewhere = [] if self.result.paused else rest
        return self.result

    def _claim(
        self, names: Container[str]
    ) -> tuple[TrainingJob, BaseFileLock, list[JobStatus]] | None:
        """The first job that is to be done, fits the time and has nobody at it, with its lock.

        A runner that has done nothing yet takes a job even if it cannot end in time: else a job
        that is a little too long for every session would never be trained.
        """
        statuses = survey(self.folder)
        still = [one for one in statuses if one.job.name in names and self._is_open(one.job)]
        fitting = [one.job for one in still if self.session.fits(one)]
        locked = self._locked(fitting)
        if locked is None and self._has_done_nothing:
            locked = self._locked([one.job for one in still])
        if locked is None:
            self.result.paused |= len(fitting) < len(still)
            return None
        return *locked, statuses

    @property
    def _has_done_nothing(self) -> bool:
        return not (self.result.finished or self.result.failed or self.cut_off)

    def _is_open(self, job: TrainingJob) -> bool:
        """Whether the job is neither finished nor given up by this session."""
        given_up = job.name in self.result.failed or job.name in self.cut_off
        return not (
            given_up or job.is_finished or has_failed_in(self.folder, job, self.session.name)
        )

    def _locked(self, jobs: Sequence[TrainingJob]) -> tuple[TrainingJob, BaseFileLock] | None:
        """The first of the jobs that can be locked.

        A second round waits a little: `train status` holds a lock for a moment only.
        """
        for timeout in (0.0, _LOCK_TIMEOUT_S):
            for job in jobs:
                lock = job_lock(self.folder, job)
                try:
                    lock.acquire(timeout=timeout)
                except Timeout:
                    continue
                if self._is_open(job):  # else another runner ended it since we looked
                    return job, lock
                lock.release()
        return None

    def _attempt(self, job: TrainingJob) -> None:
        """Go on with a job; record the outcome."""
        forget_failure(self.folder, job)
        try:
            done, scores = self._train_and_finish(job)
        except CannotKeep:
            raise
        except (KellgrenError, MemoryError, RuntimeError) as error:  # torch's are the last
            if isinstance(error, torch.OutOfMemoryError) and self.session.runners > 1:
                self.result.returned = job
                self.watcher.job_returned(job)
                return
            reason = " ".join(str(error).split()) or type(error).__name__
            self.result.failed[job.name] = reason
            keep_failure(self.folder, job, reason, self.session.name)
            self.watcher.job_fails(job, reason)
            return
        if not done:
            self.result.paused = True
            self.cut_off.add(job.name)
            return
        self.result.finished.append(job)
        self.watcher.job_ends(job, scores)

    def _train_and_finish(self, job: TrainingJob) -> tuple[bool, Scores | None]:
        """Train and finish a job: whether it is done, and its scores where it has any."""
        began = time.monotonic()
        before = len(history_of(job))
        run = prepare(
            job.recipe,
            self.knees,
            job.run,
            folds=self.folds,
            fold=job.fold,
            weights_dir=self.weights_dir,
        )
        done = train(run, resume=True, max_minutes=self.session.minutes_left, watcher=self.watcher)
        history = read_history(run.checkpoint, run.identity)
        draw_curves(history, run.out / CURVES)
        if not done:
            return False, None
        scores = finish(run, self.folds, job.fold, self.watcher.predicting)
        epochs = sum(float(record["minutes"]) for record in history[before:])
        keep_beside(self.folder, job, (time.monotonic() - began) / 60 - epochs)
        return True, scores
