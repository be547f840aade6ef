"""What jobs cost: measured on those that ran, expected of those that have not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kellgren.atomic_files import written_whole
from kellgren.training.campaign.job import TrainingJob

TIMES = "times"
Histories = Sequence[Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Costs:
    """What the jobs of one member cost.

    Attributes:
        epochs: minutes an epoch by size, were it over all knees; empty: not measured.
        beside: minutes a job takes beside its epochs: decoding, export, predictions.
        folds: how many; a job that holds one out learns from the rest.
    """

    epochs: Mapping[int, float]
    beside: float
    folds: int

    def expected(self, job: TrainingJob, epochs_done: int) -> float | None:
        """Minutes that the rest of a job will take; ``None``: nothing was measured.

        An epoch at a size that was never measured is taken from the nearest one that was, in
        proportion to the pixels.
        """
        if not self.epochs:
            return None
        rest = range(epochs_done, job.recipe.epochs)
        minutes = sum(self._at(job.recipe.size_of(epoch)) for epoch in rest)
        return minutes * share_learnt(job, self.folds) + self.beside

    def _at(self, size: int) -> float:
        nearest = min(self.epochs, key=lambda measured: (abs(measured - size), measured))
        return self.epochs[nearest] * (size / nearest) ** 2


def share_learnt(job: TrainingJob, folds: int) -> float:
    """Which share of all knees a job learns from."""
    return 1.0 if job.fold is None else (folds - 1) / folds


def measured_costs(
    folder: Path, jobs: Sequence[TrainingJob], histories: Histories, folds: int
) -> dict[str, Costs]:
    """The costs of each member, over all of its runs.

    Args:
        folder: of the campaign.
        jobs: all of it.
        histories: the records of each job's epochs.
        folds: how many.
    """
    beside = {job.name: _beside_of(folder, job) for job in jobs}
    everywhere = [minutes for minutes in beside.values() if minutes is not None]
    costs = {}
    for member in dict.fromkeys(job.member for job in jobs):
        epochs: dict[int, list[float]] = {}
        for job, history in zip(jobs, histories, strict=True):
            for record in history if job.member == member else ():
                if "minutes" in record and "size" in record:
                    whole = float(record["minutes"]) / share_learnt(job, folds)
                    epochs.setdefault(int(record["size"]), []).append(whole)
        of_member = [beside[job.name] for job in jobs if job.member == member]
        measured = [minutes for minutes in of_member if minutes is not None]
        costs[member] = Costs(
            {size: _mean(minutes) for size, minutes in epochs.items()},
            _mean(measured or everywhere or [0.0]),
            folds,
        )
    return costs


def keep_beside(folder: Path, job: TrainingJob, minutes: float) -> None:
    """Write down what a job took beside its epochs; where that cannot be, it is not known."""
    with suppress(OSError), written_whole(_path(folder, job)) as stream:
        json.dump({"minutes_beside_epochs": max(0.0, minutes)}, stream)


def _beside_of(folder: Path, job: TrainingJob) -> float | None:
    try:
        content = json.loads(_path(folder, job).read_text("utf-8"))
        return float(content["minutes_beside_epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(folder: Path, job: TrainingJob) -> Path:
    return folder / TIMES / f"{job.name}.json"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
