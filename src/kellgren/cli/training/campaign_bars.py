"""What a campaign shows while it goes on: a bar over all jobs above those of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.progress import Progress

from kellgren.cli import terminal
from kellgren.cli.training.campaign_tables import about
from kellgren.cli.training.training_bars import Bars
from kellgren.evaluation import Scores
from kellgren.training.campaign.plan import TrainingJob
from kellgren.training.campaign.survey import JobStatus, minutes_left
from kellgren.training.runners.runner import CampaignWatcher


class CampaignBars(Bars, CampaignWatcher):
    """A run's bars below one that counts the epochs of the whole plan.

    Args:
        bar: to draw in.
    """

    def __init__(self, bar: Progress) -> None:
        self.plan = bar.add_task("", total=None, now="", visible=False)
        super().__init__(bar)

    def job_begins(self, job: TrainingJob, statuses: Sequence[JobStatus]) -> None:
        """The plan.s bar shows how many jobs are done, and the expected time left."""
        done = sum(status.state == "done" for status in statuses)
        minutes, more = minutes_left(statuses)
        left = f", {about(minutes)}{' and more' if more else ''}" if minutes else ""
        self.bar.update(
            self.plan,
            now=f"campaign: {len(statuses) - done} jobs left{left}; epochs",
            completed=sum(_epochs(status) for status in statuses),
            total=sum(status.job.recipe.epochs for status in statuses),
            visible=True,
        )
        self.title = f"{job.words}: "
        terminal.err.print(f"{job.name} ({done + 1} of {len(statuses)})", style="dim", markup=False)

    def epoch_ends(self, record: dict[str, Any]) -> None:
        """One epoch further, in the run and in the plan."""
        super().epoch_ends(record)
        self.bar.update(self.plan, advance=1)

    def job_ends(self, job: TrainingJob, scores: Scores | None) -> None:
        """A line a job."""
        result = "trained" if scores is None else f"accuracy {scores.accuracy}, QWK {scores.qwk}"
        line = f"{job.name}: {result}"
        terminal.err.print(line, markup=False, soft_wrap=True)

    def job_fails(self, job: TrainingJob, reason: str) -> None:
        """Printed at once, and again at the end."""
        terminal.err.print(f"failed: {job.name}: {reason}", style="red", markup=False)


def _epochs(status: JobStatus) -> int:
    """Epochs that need not be done any more: early stopping saves some."""
    return status.job.recipe.epochs if status.state == "done" else status.epochs_done
