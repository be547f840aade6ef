"""Several runners of one campaign on one machine: started, watched, replaced and ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from kellgren.data.manifest import Knee
from kellgren.errors import CannotKeep, TrainingError
from kellgren.training.architectures import find
from kellgren.training.campaign.description import Campaign
from kellgren.training.campaign.failures import keep_failure
from kellgren.training.campaign.plan import TrainingJob, open_campaign
from kellgren.training.runners.runner import CampaignResult, jobs_to_do, run_campaign
from kellgren.training.runners.session import RunnerSession
from kellgren.training.runners.worker import Event, Task, Work, run_in_process

MAX_DEATHS = 3
"""After so many runners died at a job, or one after the other at none, nobody tries again."""
_SECONDS_TO_END = 10.0


class TeamWatcher:
    """Notified of what the runners do, each by its number from 1."""

    def on_event(self, runner: int, event: Event) -> None:
        """A runner reports an event."""

    def died(self, runner: int, job: TrainingJob | None, how: str, again: bool) -> None:
        """A runner ended in the middle of a job; ``again``: another takes the job over."""


def run_together(
    campaign: Campaign,
    knees: Sequence[Knee],
    folder: Path,
    session: RunnerSession,
    *,
    weights_dir: Path | None = None,
    watcher: TeamWatcher | None = None,
    work: Work = run_campaign,
) -> CampaignResult:
    """Do what `run_campaign` does, by several processes that share this machine's device.

    Each job is done by one of them. The processor's threads are divided among them. A runner that
    dies is replaced, and its job goes on from the last checkpoint; after three deaths the job
    counts as failed. A runner whose job finds no device memory beside the others' puts the job
    back and ends; what is left when all have ended is done by one runner alone, and a job that
    finds no memory then has failed. When this call ends, however it does, no runner is left.

    Args:
        campaign: what to train.
        knees: graded; all of the data set.
        folder: of the campaign, new or begun.
        session: how many processes, and how long they have together.
        weights_dir: with files of ImageNet weights; what is not in it is downloaded.
        watcher: notified of each event.
        work: what a runner does.

    Returns:
        What became of the jobs, of all runners together.

    Raises:
        InvalidRecipe: an architecture that is not known, before anything begins.
        TrainingError: the folder holds another campaign's plan, or no runner can start.
        CannotKeep: the disk is full or read-only; what was written before stays.
    """
    for recipe in campaign.recipes:
        find(recipe.network.architecture)
    open_campaign(campaign, knees, folder)
    task = Task(campaign, knees, folder, weights_dir, session, work)
    with _team(task, watcher or TeamWatcher()) as team:
        team.watch()
    return team.result()


@dataclass
class _RunnerProcess:
    """One runner: its process, its connections, and its job."""

    number: int
    process: BaseProcess
    events: Connection
    lifeline: Connection
    job: TrainingJob | None = None
    over: bool = False

    def close(self) -> None:
        """Close both connections."""
        self.events.close()
        self.lifeline.close()


@dataclass
class _Team:
    task: Task
    watcher: TeamWatcher
    context: BaseContext
    runners: dict[int, _RunnerProcess] = field(default_factory=dict)
    results: list[CampaignResult] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    deaths: Counter[str | None] = field(default_factory=Counter)

    def start(self, number: int) -> None:
        """Start a runner under a number."""
        events, sender = self.context.Pipe(duplex=False)
        parent, lifeline = self.context.Pipe(duplex=False)
        process: BaseProcess = self.context.Process(  # type: ignore[attr-defined]
            target=run_in_process, args=(self.task, sender, parent), name=f"runner {number}"
        )
        self.runners[number] = _RunnerProcess(number, process, events, lifeline)
        process.start()
        sender.close()
        parent.close()

    def watch(self) -> None:
        """Listen until every runner is over."""
        while self.runners:
            ready = wait(
                [runner.events for runner in self.runners.values()]
                + [runner.process.sentinel for runner in self.runners.values()]
            )
            for runner in list(self.runners.values()):
                if runner.process.sentinel in ready:
                    while self._receive_event(runner):
                        pass
                    self._handle_exit(runner)
                elif runner.events in ready:
                    self._receive_event(runner)

    def _receive_event(self, runner: _RunnerProcess) -> bool:
        """Take one event from a runner, if there is one."""
        try:
            if not runner.events.poll():
                return False
            event: Event = runner.events.recv()
        except (EOFError, OSError):
            runner.process.join(_SECONDS_TO_END)  # it ends, or has ended in the middle of an event
            return False
        self._handle_event(runner, event)
        return True

    def _handle_event(self, runner: _RunnerProcess, event: Event) -> None:
        runner.job = event.job
        if event.kind in ("ends", "fails", "returned"):
            runner.job = None
            self.deaths[None] = 0
        if event.kind == "over":
            runner.over = True
            self.results.append(event.data["result"])
        elif event.kind == "broken":
            kind = CannotKeep if event.data["disk"] else TrainingError
            raise kind(event.data["subject"], event.data["problem"], event.data["remedy"])
        else:
            self.watcher.on_event(runner.number, event)

    def _handle_exit(self, runner: _RunnerProcess) -> None:
        """A runner's process ended: it is over, or it died."""
        del self.runners[runner.number]
        runner.process.join()
        runner.close()
        if not runner.over:
            _kill_group(runner.process.pid)  # what it had started
            self._handle_death(runner)
        if not self.runners and self._waits_for_memory():
            alone = replace(self.task.session, runners=1)
            self.task = replace(self.task, session=alone)
            self.start(1)

    def _waits_for_memory(self) -> bool:
        """Whether a job is open that several runners had no memory for, and time to try it."""
        if self.task.session.runners == 1 or all(
            result.returned is None for result in self.results
        ):
            return False
        left = self.task.session.minutes_left
        failed = set(self.failed).union(*(result.failed for result in self.results))
        jobs = jobs_to_do(self.task.campaign, self.task.folder)
        still = [job for job in jobs if not (job.is_finished or job.name in failed)]
        return bool(still) and (left is None or left > 0)

    def _handle_death(self, runner: _RunnerProcess) -> None:
        how, job = _exit_words(runner.process.exitcode), runner.job
        self.deaths[job.name if job else None] += 1
        given_up = self.deaths[job.name if job else None] >= MAX_DEATHS
        if job is not None and given_up:
            reason = f"{MAX_DEATHS} runners died at it, the last one {how}; fewer may fit"
            self.failed[job.name] = reason
            keep_failure(self.task.folder, job, reason, self.task.session.name)
        left = self.task.session.minutes_left
        again = left is None or left > 0
        self.watcher.died(runner.number, job, how, again and not given_up)
        if again and (job is not None or not given_up):
            self.start(runner.number)
        elif job is None and not self.runners and not self.results:
            raise TrainingError(
                self.task.folder,
                f"no runner can work: {MAX_DEATHS} died before a job, the last one {how}",
                "Try without --runners: its error message is the reason",
            )

    def stop(self) -> None:
        """End all runners: each unwinds, or is killed when that takes long."""
        for runner in self.runners.values():
            if runner.process.pid is not None:
                runner.process.terminate()
        for runner in self.runners.values():
            if runner.process.pid is None:
                continue
            runner.process.join(_SECONDS_TO_END)
            if runner.process.is_alive():
                _kill_group(runner.process.pid)
                runner.process.join()
            runner.close()
        self.runners.clear()

    def result(self) -> CampaignResult:
        """What became of the jobs."""
        whole = CampaignResult(
            finished=[job for result in self.results for job in result.finished],
            paused=any(result.paused for result in self.results),
        )
        for result in self.results:
            whole.failed |= result.failed
        whole.failed |= self.failed
        left = self.task.session.minutes_left
        open_jobs = [
            job
            for job in jobs_to_do(self.task.campaign, self.task.folder)
            if not job.is_finished and job.name not in whole.failed
        ]
        whole.paused |= bool(open_jobs) and left is not None and left <= 0
        whole.elsewhere = [] if whole.paused else open_jobs
        return whole


@contextmanager
def _team(task: Task, watcher: TeamWatcher) -> Iterator[_Team]:
    """A team at work; whatever happens inside, its processes end with it."""
    context = _context()
    team = _Team(task, watcher, context)
    try:
        for number in range(1, task.session.runners + 1):
            team.start(number)
        yield team
    finally:
        team.stop()


def _context() -> BaseContext:
    """Processes that have imported torch before they start, where the system can fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([run_in_process.__module__, "sklearn.model_selection"])
    return context


def _exit_words(exit_code: int | None) -> str:
    """How a process ended, for a message."""
    if exit_code is None:
        return "without an exit code"
    if exit_code >= 0:
        return f"with exit code {exit_code}"
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else str(-exit_code)
    return f"of signal {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _kill_group(pid: int | None) -> None:
    """Kill a runner with what it started; it leads a group of its own."""
    if pid is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)
