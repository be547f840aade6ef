"""A runner in a process of its own: it works, tells of it, and ends with its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from kellgren.data.manifest import Knee
from kellgren.errors import CannotKeep, KellgrenError
from kellgren.evaluation import Scores
from kellgren.training.campaign.description import Campaign
from kellgren.training.campaign.plan import Job
from kellgren.training.campaign.survey import JobStatus, minutes_left
from kellgren.training.runners.runner import CampaignWatcher, Ending
from kellgren.training.runners.session import Session

_SECONDS_BETWEEN_STEPS = 0.25  # told, not taken
Kind = Literal[
    "begins", "reading", "epoch", "step", "epoch-ends", "predicting", "ends", "fails",
    "returned", "over", "broken",
]  # fmt: skip


class Work(Protocol):
    """What a runner does: `run_campaign`, or the same in another world."""

    def __call__(
        self,
        campaign: Campaign,
        knees: Sequence[Knee],
        folder: Path,
        *,
        weights_dir: Path | None,
        watcher: CampaignWatcher | None,
        session: Session | None,
    ) -> Ending:
        """Do the jobs that are left."""


@dataclass(frozen=True)
class Task:
    """What all runners of a team are given; the same for each."""

    campaign: Campaign
    knees: Sequence[Knee]
    folder: Path
    weights_dir: Path | None
    session: Session
    work: Work


@dataclass(frozen=True)
class Event:
    """Something that a runner tells.

    Attributes:
        kind: of ``begins`` (``done``, ``jobs``, ``minutes_left``, ``and_more``), ``reading`` and
            ``predicting`` (``done``, ``total``), ``epoch`` (``epoch`` from 1, ``epochs``,
            ``size``, ``steps``), ``step`` (``step`` of the epoch, ``loss`` or None, ``seconds``
            since the epoch began), ``epoch-ends`` (the epoch's record), ``ends`` (``accuracy``
            and ``qwk`` in words; none for a final), ``fails`` (``reason``), ``returned`` (no
            device memory beside other runners), ``over`` (``ending``), ``broken`` (``subject``,
            ``problem``, ``remedy``, ``disk``).
        job: at which the runner is; ``None`` where it is over.
        said: by the kind.
    """

    kind: Kind
    job: Job | None
    said: Mapping[str, Any] = field(default_factory=dict)


def run_in_process(task: Task, line: Connection, parent: Connection) -> None:
    """Work as one runner of a team.

    Args:
        task: what to do.
        line: takes the events.
        parent: never says anything; it ends when the parent does, and this process with it.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C is for the parent, which ends its runners in order
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // task.session.runners))
    relay = _Relay(line.send)
    try:
        ending = task.work(
            task.campaign,
            task.knees,
            task.folder,
            weights_dir=task.weights_dir,
            watcher=relay,
            session=task.session,
        )
    except KellgrenError as error:
        said = {"subject": error.subject, "problem": error.problem, "remedy": error.remedy}
        line.send(Event("broken", None, said | {"disk": isinstance(error, CannotKeep)}))
    else:
        line.send(Event("over", None, {"ending": ending}))


def _end(number: int, frame: object) -> None:
    """Unwind, so that half-written files are removed; the last checkpoint stays."""
    raise SystemExit(128 + number)


def _end_with_parent(parent: Connection) -> None:
    """A parent that was killed cannot end its runners; they, and what they started, end then."""
    try:
        parent.recv()
    except (EOFError, OSError):
        if hasattr(os, "killpg"):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)


class _Relay(CampaignWatcher):
    """Sends on what it is told; of steps and knees as many as somebody can read."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send
        self._job: Job | None = None
        self._step = 0
        self._began = self._told = time.monotonic()

    def _tell(self, kind: Kind, **said: Any) -> None:
        self._send(Event(kind, self._job, said))

    def job_begins(self, job: Job, statuses: Sequence[JobStatus]) -> None:
        self._job = job
        minutes, more = minutes_left(statuses)
        done = sum(status.state == "done" for status in statuses)
        self._tell("begins", done=done, jobs=len(statuses), minutes_left=minutes, and_more=more)

    def loading(self, done: int, total: int) -> None:
        self._now_and_then("reading", done=done, total=total)

    def epoch_begins(self, epoch: int, epochs: int, size: int, steps: int) -> None:
        self._step, self._began = 0, time.monotonic()
        self._tell("epoch", epoch=epoch + 1, epochs=epochs, size=size, steps=steps)

    def step(self, loss: float | None = None) -> None:
        self._step += 1
        seconds = time.monotonic() - self._began
        self._now_and_then("step", step=self._step, loss=loss, seconds=seconds)

    def epoch_ends(self, record: dict[str, Any]) -> None:
        self._tell("epoch-ends", **record)

    def predicting(self, done: int, total: int) -> None:
        self._now_and_then("predicting", done=done, total=total)

    def job_ends(self, job: Job, scores: Scores | None) -> None:
        words = {} if scores is None else {"accuracy": str(scores.accuracy), "qwk": str(scores.qwk)}
        self._tell("ends", **words)
        self._job = None

    def job_fails(self, job: Job, reason: str) -> None:
        self._tell("fails", reason=reason)
        self._job = None

    def job_returned(self, job: Job) -> None:
        self._tell("returned")
        self._job = None

    def _now_and_then(self, kind: Kind, **said: Any) -> None:
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_STEPS:
            self._told = now
            self._tell(kind, **said)
