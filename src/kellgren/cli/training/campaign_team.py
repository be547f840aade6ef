"""What several runners of a campaign show: a table in a terminal, else a line an event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kellgren.cli import terminal
from kellgren.cli.training.campaign_tables import about, duration
from kellgren.cli.training.training_bars import epoch_words
from kellgren.training.campaign.plan import TrainingJob
from kellgren.training.runners.session import RunnerSession
from kellgren.training.runners.team import TeamWatcher
from kellgren.training.runners.worker import Event


class TeamLines(TeamWatcher):
    """A line for each thing that happens, with the runner's number."""

    def __init__(self, *, epochs: bool = True) -> None:
        self._epochs = epochs

    def on_event(self, runner: int, event: Event) -> None:
        """Print what stays; not steps and knees."""
        job, data = event.job, event.data
        if job is None:
            return
        if event.kind == "begins":
            self.print_line(
                runner, f"{job.name} begins ({data['done']} of {data['jobs']} jobs done)"
            )
        elif event.kind == "epoch-ends" and self._epochs:
            self.print_line(runner, f"{job.words}: {epoch_words(data)}")
        elif event.kind == "ends":
            scores = f"accuracy {data['accuracy']}, QWK {data['qwk']}" if data else "trained"
            self.print_line(runner, f"{job.name}: {scores}")
        elif event.kind == "fails":
            self.print_line(runner, f"failed: {job.name}: {data['reason']}", "red")
        elif event.kind == "returned":
            problem = "no device memory for it beside the other runners"
            self.print_line(
                runner, f"{job.name} waits again: {problem}; this runner ends", "yellow"
            )

    def died(self, runner: int, job: TrainingJob | None, how: str, again: bool) -> None:
        """Printed at once; the job.s last epoch is done once more."""
        at = f" at {job.name}" if job else " before it had a job"
        then = "; another takes its place" if again else ""
        self.print_line(runner, f"died {how}{at}{then}", "yellow")

    def print_line(self, runner: int, text: str, style: str = "") -> None:
        """Print a line of a runner."""
        terminal.err.print(
            f"{runner}: {text}", style=style or None, markup=False, soft_wrap=True, highlight=False
        )


@dataclass
class _RunnerRow:
    """What one runner does now."""

    job: TrainingJob | None = None
    now: str = "starts"
    done: str = ""
    speed: str = ""
    loss: str = ""
    scores: dict[str, str] = field(default_factory=dict)
    steps: int = 0


class TeamTable(TeamLines):
    """One row a runner, and the whole campaign below; finished jobs and failures are lines above.

    Args:
        live: that shows it.
        session: whose time it is.
    """

    def __init__(self, live: Live, session: RunnerSession) -> None:
        super().__init__(epochs=False)
        self._live = live
        self._session = session
        self._rows = {number: _RunnerRow() for number in range(1, session.runners + 1)}
        self._jobs: Mapping[str, Any] = {}
        self._live.update(self.render())

    def on_event(self, runner: int, event: Event) -> None:
        """Change the runner's row."""
        if event.kind == "begins":
            self._jobs = event.data
            self._rows[runner] = _RunnerRow(event.job, "begins")
        elif event.kind in ("ends", "fails"):
            self._jobs = {**self._jobs, "done": self._jobs["done"] + (event.kind == "ends")}
            super().on_event(runner, event)
            self._rows[runner] = _RunnerRow(now="looks for a job")
        elif event.kind == "returned":
            super().on_event(runner, event)
            self._rows[runner] = _RunnerRow(now="ended: no device memory")
        else:
            _change(self._rows[runner], event)
        self._live.update(self.render())

    def died(self, runner: int, job: TrainingJob | None, how: str, again: bool) -> None:
        """A line that stays, and an empty row."""
        super().died(runner, job, how, again)
        self._rows[runner] = _RunnerRow(now="starts again" if again else "died")
        self._live.update(self.render())

    def render(self) -> Group:
        """The table as it is now."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("runner", justify="right")
        table.add_column("job", overflow="fold")
        table.add_column("now")
        for name in ("step", "knees/s", "loss", "accuracy", "QWK"):
            table.add_column(name, justify="right")
        for number, row in self._rows.items():
            scores = (row.scores.get(name, "-") for name in ("accuracy", "qwk"))
            table.add_row(
                str(number),
                row.job.words if row.job else "-",
                row.now,
                row.done,
                row.speed,
                row.loss,
                *scores,
            )
        return Group(table, Text(self._foot(), style="dim"))

    def _foot(self) -> str:
        words = []
        if self._jobs:
            words.append(f"{self._jobs['done']} of {self._jobs['jobs']} jobs done")
            minutes = self._jobs["minutes_left"] / self._session.runners
            if minutes:
                more = " and more" if self._jobs["and_more"] else ""
                words.append(f"{about(minutes)}{more} left by what was measured")
        left = self._session.minutes_left
        if left is not None:
            words.append(f"time is up in {duration(max(0.0, left))}")
        return "; ".join(words)


@contextmanager
def shown(session: RunnerSession) -> Iterator[TeamWatcher]:
    """A table on standard error while the team works, or lines where that is no terminal."""
    if not terminal.err.is_terminal:
        yield TeamLines()
        return
    with Live(console=terminal.err, transient=True, refresh_per_second=4) as live:
        yield TeamTable(live, session)


def _change(row: _RunnerRow, event: Event) -> None:
    data = event.data
    if event.kind in ("reading", "predicting"):
        row.now = "reads knees" if event.kind == "reading" else "held-out knees"
        row.done = f"{data['done']}/{data['total']}"
    elif event.kind == "epoch":
        row.now = f"epoch {data['epoch']}/{data['epochs']} at {data['size']}"
        row.steps, row.done = data["steps"], f"0/{data['steps']}"
    elif event.kind == "step":
        row.done = f"{data['step']}/{row.steps}"
        row.loss = row.loss if data["loss"] is None else f"{data['loss']:.3f}"
        if event.job is not None and data["seconds"] > 0:
            knees = data["step"] * (event.job.recipe.batch // event.job.recipe.views)
            row.speed = f"{knees / data['seconds']:.0f}"
    elif event.kind == "epoch-ends":
        row.loss = f"{data['loss']:.3f}"
        row.scores = {name: f"{data[name]:.3f}" for name in ("accuracy", "qwk") if name in data}
