"""What `kellgren bench` measured, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from kellgren.cli import terminal
from kellgren.cli.manners.narrow import fitted
from kellgren.engine_choice.engine_candidates import not_here, versions
from kellgren.engine_choice.measuring import LEAST_AGREEMENT, Measured
from kellgren.grading.bundle import Bundle
from kellgren.grading.engines.processor import processor_features, processor_name, usable_cores


def show(measured: Sequence[Measured], best: Measured) -> None:
    """Print what was measured, what could not be, and the fastest."""
    reference = measured[0]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("engine", "workers", "ms a knee", "ratio", "processor ms", "same grades"):
        table.add_column(name, justify="left" if name == "engine" else "right")
    table.add_column("largest shift", justify="right")
    table.add_column("start s", justify="right")
    for one in measured:
        style = "bold green" if one is best else ""
        cells = (
            one.choice.name,
            str(one.choice.workers),
            f"{1000 * one.wall_seconds:.0f}",
            f"{one.wall_seconds / reference.wall_seconds:.2f}",
            f"{1000 * one.processor_seconds:.0f}",
            f"{one.same_grades:.1%}",
            f"{one.largest_shift:.4f}",
            f"{one.start_seconds:.1f}",
        )
        table.add_row(*(Text(cell, style=style) for cell in cells))
    terminal.out.print(fitted(table, terminal.out))
    for name, reason in not_here():
        terminal.note(f"not here: {name}: {reason}")
    ratio = best.wall_seconds / reference.wall_seconds
    terminal.out.print(
        f"fastest of {reference.knees} knees: {best.choice.words}, {ratio:.2f} of the time of "
        f"{reference.choice.words}",
        markup=False,
    )
    if any(one.same_grades < LEAST_AGREEMENT for one in measured):
        terminal.note(f"under {LEAST_AGREEMENT:.1%} of the same grades: never called the fastest")


def document(
    bundle: Bundle, measured: Sequence[Measured], best: Measured, *, remembered: bool
) -> str:
    """The same as JSON, with what it was measured on."""
    content = {
        "bundle": {"name": bundle.card.name, "checksum": bundle.checksum},
        "processor": processor_name(),
        "features": processor_features(),
        "cores": usable_cores(),
        "versions": versions(),
        "knees": measured[0].knees,
        "measured": [_record(one) for one in measured],
        "not_here": dict(not_here()),
        "fastest": best.choice.model_dump(),
        "remembered": remembered,
    }
    return json.dumps(content, indent=2) + "\n"


def _record(one: Measured) -> dict[str, object]:
    numbers = {name: number for name, number in asdict(one).items() if name != "choice"}
    return {**one.choice.model_dump(), **numbers}
