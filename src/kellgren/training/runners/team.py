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
from kellgren.training.campaign.plan import Job, open_campaign
from kellgren.training.runners.runner import Ending, jobs_to_do, run_campaign
from kellgren.training.runners.session import Session
from kellgren.training.runners.worker import Event, Task, Work, run_in_process

MOST_DEATHS = 3
"""After so many runners died at a job, or one after the other at none, nobody tries again."""
_SECONDS_TO_END = 10.0


class TeamWatcher:
    """Is told how the runners go, each by its number from 1."""

    def told(self, runner: int, event: Event) -> None:
        """A runner says something."""

    def died(self, runner: int, job: Job | None, how: str, again: bool) -> None:
        """A runner ended in the middle of a job; ``again``: another takes the job over."""


def run_together(
    campaign: Campaign,
    knees: Sequence[Knee],
    folder: Path,
    session: Session,
    *,
    weights_dir: Path | None = None,
    watcher: TeamWatcher | None = None,
    work: Work = run_campaign,
) -> Ending:
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
        watcher: to be told.
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
    return team.ending()


@dataclass
class _Place:
    """One runner's place; whoever dies in it is replaced."""

    number: int
    process: BaseProcess
    line: Connection
    lifeline: Connection
    job: Job | None = None
    over: bool = False

    def close(self) -> None:
        """Let go of both lines."""
        self.line.close()
        self.lifeline.close()


@dataclass
class _Team:
    task: Task
    watcher: TeamWatcher
    context: BaseContext
    places: dict[int, _Place] = field(default_factory=dict)
    endings: list[Ending] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    deaths: Counter[str | None] = field(default_factory=Counter)

    def start(self, number: int) -> None:
        """Put a new runner into a place."""
        line, theirs = self.context.Pipe(duplex=False)
        parent, lifeline = self.context.Pipe(duplex=False)
        process: BaseProcess = self.context.Process(  # type: ignore[attr-defined]
            target=run_in_process, args=(self.task, theirs, parent), name=f"runner {number}"
        )
        self.places[number] = _Place(number, process, line, lifeline)
        process.start()
        theirs.close()
        parent.close()

    def watch(self) -> None:
        """Listen until every runner is over."""
        while self.places:
            ready = wait(
                [place.line for place in self.places.values()]
                + [place.process.sentinel for place in self.places.values()]
            )
            for place in list(self.places.values()):
                if place.process.sentinel in ready:
                    while self._heard(place):
                        pass
                    self._closed(place)
                elif place.line in ready:
                    self._heard(place)

    def _heard(self, place: _Place) -> bool:
        """Take one event from a runner, if there is one."""
        try:
            if not place.line.poll():
                return False
            event: Event = place.line.recv()
        except (EOFError, OSError):
            place.process.join(_SECONDS_TO_END)  # it ends, or has ended in the middle of a word
            return False
        self._told(place, event)
        return True

    def _told(self, place: _Place, event: Event) -> None:
        place.job = event.job
        if event.kind in ("ends", "fails", "returned"):
            place.job = None
            self.deaths[None] = 0
        if event.kind == "over":
            place.over = True
            self.endings.append(event.said["ending"])
        elif event.kind == "broken":
            kind = CannotKeep if event.said["disk"] else TrainingError
            raise kind(event.said["subject"], event.said["problem"], event.said["remedy"])
        else:
            self.watcher.told(place.number, event)

    def _closed(self, place: _Place) -> None:
        """A runner's process ended: it is over, or it died."""
        del self.places[place.number]
        place.process.join()
        place.close()
        if not place.over:
            _kill_group(place.process.pid)  # what it had started
            self._died(place)
        if not self.places and self._waits_for_memory():
            alone = replace(self.task.session, runners=1)
            self.task = replace(self.task, session=alone)
            self.start(1)

    def _waits_for_memory(self) -> bool:
        """Whether a job is open that several runners had no memory for, and time to try it."""
        if self.task.session.runners == 1 or all(end.returned is None for end in self.endings):
            return False
        left = self.task.session.minutes_left
        failed = set(self.failed).union(*(end.failed for end in self.endings))
        jobs = jobs_to_do(self.task.campaign, self.task.folder)
        still = [job for job in jobs if not (job.is_finished or job.name in failed)]
        return bool(still) and (left is None or left > 0)

    def _died(self, place: _Place) -> None:
        how, job = _how(place.process.exitcode), place.job
        self.deaths[job.name if job else None] += 1
        hopeless = self.deaths[job.name if job else None] >= MOST_DEATHS
        if job is not None and hopeless:
            reason = f"{MOST_DEATHS} runners died at it, the last one {how}; fewer may fit"
            self.failed[job.name] = reason
            keep_failure(self.task.folder, job, reason, self.task.session.name)
        left = self.task.session.minutes_left
        again = left is None or left > 0
        self.watcher.died(place.number, job, how, again and not hopeless)
        if again and (job is not None or not hopeless):
            self.start(place.number)
        elif job is None and not self.places and not self.endings:
            raise TrainingError(
                self.task.folder,
                f"no runner can work: {MOST_DEATHS} died before a job, the last one {how}",
                "Try without --runners; what it says then is the reason",
            )

    def stop(self) -> None:
        """End all runners: each unwinds, or is killed when that takes long."""
        for place in self.places.values():
            if place.process.pid is not None:
                place.process.terminate()
        for place in self.places.values():
            if place.process.pid is None:
                continue
            place.process.join(_SECONDS_TO_END)
            if place.process.is_alive():
                _kill_group(place.process.pid)
                place.process.join()
            place.close()
        self.places.clear()

    def ending(self) -> Ending:
        """What became of the jobs."""
        whole = Ending(
            finished=[job for ending in self.endings for job in ending.finished],
            paused=any(ending.paused for ending in self.endings),
        )
        for ending in self.endings:
            whole.failed |= ending.failed
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


def _how(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is None:
        return "without a word"
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
