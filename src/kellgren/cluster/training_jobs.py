"""Jobs of a campaign on a Ray cluster: each has a GPU, or cores, of some node to itself."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kellgren.cluster.software import check_software, software
from kellgren.data.manifest import Knee
from kellgren.errors import ClusterError, KellgrenError
from kellgren.evaluation import Scores
from kellgren.training.architectures import find
from kellgren.training.campaign.description import Campaign
from kellgren.training.campaign.failures import has_failed_in, keep_failure
from kellgren.training.campaign.plan import PLAN, TrainingJob, open_campaign
from kellgren.training.campaign.survey import JobStatus, survey
from kellgren.training.runners.runner import (
    CampaignResult,
    CampaignWatcher,
    jobs_to_do,
    run_campaign,
)
from kellgren.training.runners.session import RunnerSession
from kellgren.training.runners.team import MAX_DEATHS, TeamWatcher
from kellgren.training.runners.worker import Event, Work

_SECONDS_BETWEEN_LOOKS = 30.0


@dataclass(frozen=True)
class Order:
    """What a node is told; all paths are absolute.

    Attributes:
        campaign: to which the job belongs.
        knees: graded; all of the data set.
        folder: of the campaign, on storage that all nodes have.
        weights_dir: with files of ImageNet weights.
        session: name of this command's session.
        max_minutes: for the whole session.
        here: `software` of the machine that gives the command.
        work: what a runner does.
    """

    campaign: Campaign
    knees: Sequence[Knee]
    folder: Path
    weights_dir: Path | None
    session: str
    max_minutes: float | None
    here: Mapping[str, str]
    work: Work = run_campaign


class _Ends(CampaignWatcher):
    """Keeps the words in which the end of a job is told."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def job_ends(self, job: TrainingJob, scores: Scores | None) -> None:
        if scores is not None:
            self.words = {"accuracy": str(scores.accuracy), "qwk": str(scores.qwk)}


def do_job(
    order: Order, job: str, spent_minutes: float, sent: float
) -> tuple[CampaignResult, dict[str, str]]:
    """Do one job on this node, as a runner of its own: claimed by its lock, gone on with.

    Args:
        order: what all nodes are told.
        job: its name.
        spent_minutes: of the session, when the job was given out.
        sent: seconds of ``time.time`` at that moment, by the other machine's clock.

    Returns:
        What became of it, and the words for its scores.

    Raises:
        ClusterError: the node has other software, or lacks the folder or the knees.
    """
    node = socket.gethostname()
    check_software(order.here, software(), node)
    for place in (order.folder / PLAN, *(knee.image for knee in order.knees[:1])):
        if not place.exists():
            raise ClusterError(
                f"node {node}",
                f"does not have {place}",
                "Put campaign and knees on storage that every node has under the same path",
            )
    waited = max(0.0, time.time() - sent)
    began = time.monotonic() - 60 * spent_minutes - waited
    ends = _Ends()
    result = order.work(
        order.campaign,
        order.knees,
        order.folder,
        weights_dir=order.weights_dir,
        watcher=ends,
        session=RunnerSession(order.session, order.max_minutes, began),
        only={job},
    )
    return result, ends.words


def train_on_cluster(
    ray: Any,
    campaign: Campaign,
    knees: Sequence[Knee],
    folder: Path,
    session: RunnerSession,
    *,
    weights_dir: Path | None = None,
    watcher: TeamWatcher | None = None,
    work: Work = run_campaign,
) -> CampaignResult:
    """Do what `run_together` does, on the nodes of a cluster, each job as a task of its own.

    A job whose task is lost, with its process or node, goes on from its last checkpoint on another
    one; after three losses it counts as failed. Runners of other commands may be in the folder.

    Args:
        ray: the module, connected.
        campaign: what to train.
        knees: graded; all of the data set.
        folder: of the campaign, new or begun, on storage that all nodes have.
        session: how many jobs at a time, and how long they have together.
        weights_dir: with files of ImageNet weights, on the same storage.
        watcher: notified when a job begins and ends.
        work: what a runner does.

    Raises:
        InvalidRecipe: an architecture that is not known, before anything begins.
        TrainingError: the folder holds another campaign's plan.
        ClusterError: a node has other software, or lacks the folder or the knees.
        CannotKeep: the disk is full or read-only; what was written before stays.
    """
    for recipe in campaign.recipes:
        find(recipe.network.architecture)
    there = [replace(knee, image=knee.image.absolute()) for knee in knees]
    folder = folder.absolute()
    open_campaign(campaign, there, folder)
    weights = None if weights_dir is None else weights_dir.absolute()
    order = Order(
        campaign, there, folder, weights, session.name, session.max_minutes, software(), work
    )
    return _Tasks(ray, order, session, watcher or TeamWatcher()).run()


@dataclass
class _Tasks:
    ray: Any
    order: Order
    session: RunnerSession
    watcher: TeamWatcher
    pending: dict[Any, tuple[int, TrainingJob]] = field(default_factory=dict)
    whole: CampaignResult = field(default_factory=CampaignResult)
    deaths: Counter[str] = field(default_factory=Counter)
    cut_off: set[str] = field(default_factory=set)

    def run(self) -> CampaignResult:
        """Give out jobs, as many at a time as there are runners, until none is left."""
        task = self.ray.remote(max_retries=0, **self._share())(do_job)
        order = self.ray.put(self.order)
        try:
            while True:
                for number in self._free_numbers():
                    if (job := self._next()) is None:
                        break
                    self._send(task, order, number, job)
                if not self.pending:
                    break
                done, _ = self.ray.wait(list(self.pending), timeout=_SECONDS_BETWEEN_LOOKS)
                for ref in done:
                    self._settle(ref)
        finally:
            for ref in self.pending:
                self.ray.cancel(ref, force=True)
        own = {*self.whole.failed, *self.cut_off}
        left = [job for job in self._jobs() if not job.is_finished and job.name not in own]
        self.whole.paused |= bool(left) and self._is_over()
        self.whole.elsewhere = [] if self.whole.paused else left
        return self.whole

    def _share(self) -> dict[str, int]:
        """A GPU for each task where there are any; else the cores, divided by the runners."""
        resources = self.ray.cluster_resources()
        if resources.get("GPU", 0) >= 1:
            return {"num_gpus": 1, "num_cpus": 1}
        most = max(
            int(node["Resources"].get("CPU", 0)) for node in self.ray.nodes() if node["Alive"]
        )
        share = int(resources.get("CPU", 1)) // self.session.runners
        return {"num_cpus": max(1, min(most, share))}

    def _free_numbers(self) -> Iterator[int]:
        taken = {number for number, _ in self.pending.values()}
        yield from (n for n in range(1, self.session.runners + 1) if n not in taken)

    def _jobs(self) -> list[TrainingJob]:
        return jobs_to_do(self.order.campaign, self.order.folder)

    def _is_over(self) -> bool:
        left = self.session.minutes_left
        return left is not None and left <= 0

    def _next(self) -> TrainingJob | None:
        """The next job that nobody is at and that fits the time; the first one in any case."""
        names = {job.name for job in self._jobs()}
        at = {job.name for _, job in self.pending.values()} | self.cut_off
        open_jobs = [
            one
            for one in survey(self.order.folder)
            if one.job.name in names - at and self._is_open(one)
        ]
        fitting = [one for one in open_jobs if self.session.fits(one)]
        if not fitting and not (self.whole.finished or self.whole.failed or at):
            fitting = open_jobs
        self.whole.paused |= not fitting and bool(open_jobs)
        return fitting[0].job if fitting else None

    def _is_open(self, status: JobStatus) -> bool:
        job = status.job
        given_up = job.name in self.whole.failed
        tried = has_failed_in(self.order.folder, job, self.session.name)
        return not (given_up or tried or status.state in ("done", "running"))

    def _send(self, task: Any, order: Any, number: int, job: TrainingJob) -> None:
        spent = 0.0
        if self.session.max_minutes is not None and self.session.minutes_left is not None:
            spent = self.session.max_minutes - self.session.minutes_left
        self.pending[task.remote(order, job.name, spent, time.time())] = (number, job)
        jobs = self._jobs()
        done = sum(one.is_finished for one in jobs)
        self.watcher.on_event(number, Event("begins", job, {"done": done, "jobs": len(jobs)}))

    def _settle(self, ref: Any) -> None:
        number, job = self.pending.pop(ref)
        errors = self.ray.exceptions
        try:
            result, words = self.ray.get(ref)
        except errors.RayTaskError as error:
            if isinstance(error.cause, KellgrenError):
                raise error.cause from None
            raise
        except errors.RayError:
            self._lost(number, job)
            return
        self.whole.finished += result.finished
        self.whole.failed |= result.failed
        if result.paused:
            self.whole.paused = True
            self.cut_off.add(job.name)
        for one in result.finished:
            self.watcher.on_event(number, Event("ends", one, words))
        for reason in result.failed.values():
            self.watcher.on_event(number, Event("fails", job, {"reason": reason}))

    def _lost(self, number: int, job: TrainingJob) -> None:
        self.deaths[job.name] += 1
        given_up = self.deaths[job.name] >= MAX_DEATHS
        if given_up:
            reason = f"{MAX_DEATHS} tasks were lost at it, with their process or node"
            self.whole.failed[job.name] = reason
            keep_failure(self.order.folder, job, reason, self.session.name)
        self.watcher.died(number, job, "with its process or node", not given_up)
