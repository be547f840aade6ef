"""What `kellgren calibrate` shows: before and after, the fit, and what more knees would bring."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kellgren.cli import terminal
from kellgren.local_calibration.verdict import (
    growth_words,
    shown_changes,
    verdict_words,
    warnings_of,
)

if TYPE_CHECKING:
    from kellgren.evaluation import Coverage
    from kellgren.local_calibration.estimate import LocalEstimate
    from kellgren.local_calibration.learning_curve import LearningCurve


def show_estimate(coverage: Coverage, made: LocalEstimate, curve: LearningCurve) -> None:
    """Print all of it on standard output, and warnings on standard error."""
    terminal.out.print(Text(str(coverage), style="bold"))
    terminal.out.print(_table(made))
    terminal.out.print(
        f"Each knee by a calibration without its patient; 95 % intervals over "
        f"{len(set(made.patients))} patients.",
        style="dim",
    )
    terminal.out.print(Text(f"\n{verdict_words(made.fit)}"))
    terminal.out.print(Text(growth_words(curve)))
    for warning in warnings_of(made):
        terminal.warn(f"warning: {warning}")


def _table(made: LocalEstimate) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric")
    for name in ("as delivered", "calibrated", "difference"):
        table.add_column(name, justify="right")
    table.add_column("95 % interval")
    for metric, it in shown_changes(made):
        change = it.difference
        interval = "" if math.isnan(change.low) else f"{change.low:+.3f} to {change.high:+.3f}"
        table.add_row(
            metric.name, f"{it.other:.3f}", f"{it.this:.3f}", f"{change.value:+.3f}", interval
        )
    return table
