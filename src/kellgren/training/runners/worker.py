"""A runner in a process of its own: it works, tells of it, and ends with its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from kellgren.data.manifest import Knee
from kellgren.errors import CannotKeep, KellgrenError
from kellgren.evaluation import Scores
from kellgren.training.campaign.description import Campaign
from kellgren.training.campaign.plan import TrainingJob
from kellgren.training.campaign.survey import JobStatus, minutes_left
from kellgren.training.runners.runner import CampaignResult, CampaignWatcher
from kellgren.training.runners.session import RunnerSession

_SECONDS_BETWEEN_STEPS = 0.25  # that are reported
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
        session: RunnerSession | None,
        only: Container[str] | None = None,
    ) -> CampaignResult:
        """Do the jobs that are left."""


@dataclass(frozen=True)
class Task:
    """What all runners of a team are given; the same for each."""

    campaign: Campaign
    knees: Sequence[Knee]
    folder: Path
    weights_dir: Path | None
    session: RunnerSession
    work: Work


@dataclass(frozen=True)
class Event:
    """An event that a runner reports.

    Attributes:
        kind: of ``begins`` (``done``, ``jobs``, ``minutes_left``, ``and_more``), ``reading`` and
            ``predicting`` (``done``, ``total``), ``epoch`` (``epoch`` from 1, ``epochs``,
            ``size``, ``steps``), ``step`` (``step`` of the epoch, ``loss`` or None, ``seconds``
            since the epoch began), ``epoch-ends`` (the epoch's record), ``ends`` (``accuracy``
            and ``qwk`` in words; none for a final), ``fails`` (``reason``), ``returned`` (no
            device memory beside other runners), ``over`` (``result``), ``broken`` (``subject``,
            ``problem``, ``remedy``, ``disk``).
        job: at which the runner is; ``None`` where it is over.
        data: by the kind.
    """

    kind: Kind
    job: TrainingJob | None
    data: Mapping[str, Any] = field(default_factory=dict)


def run_in_process(task: Task, line: Connection, parent: Connection) -> None:
    """Work as one runner of a team.

    Args:
        task: what to do.
        line: takes the events.
        parent: sends nothing; it closes when the parent ends, and this process with it.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C is for the parent, which ends its runners in order
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // task.session.runners))
    relay = _Relay(line.send)
    try:
        result = task.work(
            task.campaign,
            task.knees,
            task.folder,
            weights_dir=task.weights_dir,
            watcher=relay,
            session=task.session,
        )
    except KellgrenError as error:
        content = {"subject": error.subject, "problem": error.problem, "remedy": error.remedy}
        line.send(Event("broken", None, content | {"disk": isinstance(error, CannotKeep)}))
    else:
        line.send(Event("over", None, {"result": result}))


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
    """Forwards calls as events; of steps and knees, a few a second."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send
        self._job: TrainingJob | None = None
        self._step = 0
        self._began = self._last_emitted = time.monotonic()

    def _emit(self, kind: Kind, **data: Any) -> None:
        self._send(Event(kind, self._job, data))

    def job_begins(self, job: TrainingJob, statuses: Sequence[JobStatus]) -> None:
        self._job = job
        minutes, more = minutes_left(statuses)
        done = sum(status.state == "done" for status in statuses)
        self._emit("begins", done=done, jobs=len(statuses), minutes_left=minutes, and_more=more)

    def loading(self, done: int, total: int) -> None:
        self._emit_sometimes("reading", done=done, total=total)

    def epoch_begins(self, epoch: int, epochs: int, size: int, steps: int) -> None:
        self._step, self._began = 0, time.monotonic()
        self._emit("epoch", epoch=epoch + 1, epochs=epochs, size=size, steps=steps)

    def step(self, loss: float | None = None) -> None:
        self._step += 1
        seconds = time.monotonic() - self._began
        self._emit_sometimes("step", step=self._step, loss=loss, seconds=seconds)

    def epoch_ends(self, record: dict[str, Any]) -> None:
        self._emit("epoch-ends", **record)

    def predicting(self, done: int, total: int) -> None:
        self._emit_sometimes("predicting", done=done, total=total)

    def job_ends(self, job: TrainingJob, scores: Scores | None) -> None:
        words = {} if scores is None else {"accuracy": str(scores.accuracy), "qwk": str(scores.qwk)}
        self._emit("ends", **words)
        self._job = None

    def job_fails(self, job: TrainingJob, reason: str) -> None:
        self._emit("fails", reason=reason)
        self._job = None

    def job_returned(self, job: TrainingJob) -> None:
        self._emit("returned")
        self._job = None

    def _emit_sometimes(self, kind: Kind, **data: Any) -> None:
        now = time.monotonic()
        if now - self._last_emitted >= _SECONDS_BETWEEN_STEPS:
            self._last_emitted = now
            self._emit(kind, **data)
