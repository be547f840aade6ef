"""A campaign's tables in the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from kellgren.training.campaign.sizes import MemberSizes, SizeScore
    from kellgren.training.campaign.survey import JobStatus

_STYLES = {"done": "green", "running": "bold", "paused": "yellow", "failed": "red"}


def duration(minutes: float) -> str:
    """Minutes in words: ``45 min``, ``3 h 05 min``, ``2 d 4 h``."""
    whole = round(minutes)
    if not whole:
        return "less than a minute"
    hours, rest = divmod(whole, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {rest:02} min" if hours else f"{rest} min"


def about(minutes: float) -> str:
    """An estimate in words: ``about 45 min``, ``less than a minute``."""
    return f"about {duration(minutes)}" if round(minutes) else duration(minutes)


def _minutes(minutes: float) -> str:
    return f"{minutes:.0f}" if round(minutes) else "<1"


def status_table(statuses: Sequence[JobStatus]) -> Table:
    """One line a job."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("member", overflow="fold")
    table.add_column("size", justify="right")
    table.add_column("fold", justify="right")
    table.add_column("state")
    table.add_column("epoch", justify="right")
    for name in ("accuracy", "QWK", "minutes", "left"):
        table.add_column(name, justify="right")
    for status in statuses:
        left = status.minutes_left
        table.add_row(
            status.job.member,
            str(status.job.size),
            "final" if status.job.fold is None else str(status.job.fold),
            Text(status.state, style=_STYLES.get(status.state, "dim")),
            f"{status.epochs_done}/{status.job.recipe.epochs}",
            _score(status.accuracy),
            _score(status.qwk),
            _minutes(status.minutes) if status.epochs_done else "-",
            "-" if status.state == "done" else "?" if left is None else _minutes(left),
        )
    return table


def what_is_left(statuses: Sequence[JobStatus]) -> str:
    """How many jobs are done, how many failed, and how long the rest will take."""
    count = Counter(status.state for status in statuses)
    words = [f"{count['done']} of {len(statuses)} jobs done"]
    if count["failed"]:
        words.append(f"{count['failed']} failed")
    known = [status.minutes_left for status in statuses if status.minutes_left is not None]
    if count["done"] == len(statuses):
        words.append("nothing left")
    elif any(known):
        words.append(f"{about(sum(known))} left for one runner")
    if unknown := len(statuses) - len(known):
        words.append(f"time of {unknown} unknown: none like them was measured yet")
    return ", ".join(words)


def show_failures(problems: Mapping[str, str], folder: Path, console: Console) -> None:
    """Print failed jobs by cause.

    Args:
        problems: reasons by the job's name.
        folder: of the campaign.
        console: to print on.
    """
    from kellgren.training.campaign.failures import by_cause

    for cause, names in by_cause(problems, folder).items():
        who = names[0] if len(names) == 1 else f"{len(names)} jobs"
        line = f"failed: {who}: {cause}"
        console.print(line, style="red", markup=False, soft_wrap=True)
        if len(names) > 1:
            jobs = f"  {', '.join(names)}"
            console.print(jobs, style="red", markup=False, soft_wrap=True)


def sizes_table(member: MemberSizes) -> Table:
    """One line a size; the choice and why."""
    folds = ", ".join(map(str, member.folds)) or "none in common yet"
    table = Table(
        title=f"{member.member}, folds compared: {folds}",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name in ("size", "QWK, mean of folds", "95 % interval", "standard error", "min an epoch"):
        table.add_column(name, justify="right")
    table.add_column("")
    if member.choice is not None:
        for row in member.choice.scores:
            chosen = row.size == member.choice.chosen
            words = ["best"] if row.size == member.choice.best else []
            words += ["chosen"] if chosen else []
            table.add_row(
                *_cells(row, member.minutes), ", ".join(words), style="bold" if chosen else ""
            )
    return table


def _cells(row: SizeScore, minutes: dict[int, float]) -> tuple[str, ...]:
    cost = minutes.get(row.size)
    return (
        str(row.size),
        _score(row.mean),
        "-" if math.isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}",
        _score(row.standard_error),
        "-" if cost is None else f"{cost:.1f}",
    )


def _score(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
