"""Where every job of a campaign stands, and how long the rest will take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import Timeout

from kellgren.training.campaign.costs import Costs, measured_costs
from kellgren.training.campaign.failures import reason_of_failure
from kellgren.training.campaign.plan import TrainingJob, job_lock, jobs_of, read_plan
from kellgren.training.run_folder import CHECKPOINT, LOG, SCORES

State = Literal["waiting", "running", "paused", "done", "failed"]


@dataclass(frozen=True)
class JobStatus:
    """One job as it stands.

    Attributes:
        job: which.
        state: ``paused`` has a checkpoint and nobody at work, ``failed`` a reason.
        epochs_done: whole ones.
        accuracy: on the held-out knees: the finished member's, with two views a knee, or after
            the last epoch, with one; ``None`` before there is any.
        qwk: likewise.
        minutes: spent on its epochs.
        minutes_left: expected from the measured times of the same member, at most, as early
            stopping may end it; ``None``: nothing was measured yet.
        problem: why it failed.
    """

    job: TrainingJob
    state: State
    epochs_done: int
    accuracy: float | None
    qwk: float | None
    minutes: float
    minutes_left: float | None
    problem: str | None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "member": self.job.member,
            "size": self.job.size,
            "fold": self.job.fold,
            "final": self.job.fold is None,
            "recipe_hash": self.job.recipe_hash,
            "state": self.state,
            "epochs_done": self.epochs_done,
            "epochs": self.job.recipe.epochs,
            "accuracy": self.accuracy,
            "qwk": self.qwk,
            "minutes": round(self.minutes, 2),
            "minutes_left": None if self.minutes_left is None else round(self.minutes_left, 2),
            "problem": self.problem,
        }


def survey(folder: Path) -> list[JobStatus]:
    """The status of every job, in the plan's order.

    Raises:
        TrainingError: the folder holds no readable plan.
    """
    plan = read_plan(folder)
    jobs = jobs_of(plan, folder)
    histories = [history_of(job) for job in jobs]
    costs = measured_costs(folder, jobs, histories, plan.folds)
    return [
        _status(folder, job, history, costs[job.member])
        for job, history in zip(jobs, histories, strict=True)
    ]


def minutes_left(statuses: Sequence[JobStatus]) -> tuple[float, bool]:
    """What is left of a whole campaign, and whether jobs whose time nobody knows come on top."""
    known = [status.minutes_left for status in statuses if status.minutes_left is not None]
    return sum(known), len(known) < len(statuses)


def history_of(job: TrainingJob) -> list[dict[str, Any]]:
    """The records of a job's epochs; none where it has not begun or its log is damaged."""
    try:
        lines = (job.run / LOG).read_text("utf-8").splitlines()
        records: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return records if all(isinstance(record, dict) for record in records) else []
    except (OSError, ValueError):
        return []


def scores_of(job: TrainingJob, history: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Accuracy and QWK of a finished member, else those after the last epoch that was judged."""
    try:
        scores = json.loads((job.run / SCORES).read_text("utf-8"))
        return {name: scores[name]["value"] for name in ("accuracy", "qwk")}
    except (OSError, ValueError, KeyError, TypeError):
        last: Mapping[str, Any] = next(
            (record for record in reversed(history) if "qwk" in record), {}
        )
        return {name: last.get(name) for name in ("accuracy", "qwk")}


def _status(
    folder: Path, job: TrainingJob, history: Sequence[Mapping[str, Any]], costs: Costs
) -> JobStatus:
    problem = reason_of_failure(folder, job)
    state = _state(folder, job, problem)
    left = costs.expected(job, len(history))
    scores = scores_of(job, history)
    return JobStatus(
        job=job,
        state=state,
        epochs_done=len(history),
        accuracy=scores["accuracy"],
        qwk=scores["qwk"],
        minutes=sum(float(record.get("minutes", 0.0)) for record in history),
        minutes_left=0.0 if state == "done" else left,
        problem=problem if state == "failed" else None,
    )


def _state(folder: Path, job: TrainingJob, problem: str | None) -> State:
    if job.is_finished:
        return "done"
    if _is_locked(folder, job):
        return "running"
    if problem is not None:
        return "failed"
    return "paused" if (job.run / CHECKPOINT).exists() else "waiting"


def _is_locked(folder: Path, job: TrainingJob) -> bool:
    lock = job_lock(folder, job)
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
