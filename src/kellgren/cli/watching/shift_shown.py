"""What `kellgren watch` shows: the quantities before and now, and the verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kellgren.cli import terminal
from kellgren.shift.words import missing_words, moved_words, name_of, record_of, verdict_words

if TYPE_CHECKING:
    from kellgren.shift.two_samples import Shift


def show_shift(shift: Shift) -> None:
    """Print the tests and the verdict on standard output, and what is missing on standard error."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("quantity")
    table.add_column("reference to now")
    for name in ("statistic", "p", "p, corrected"):
        table.add_column(name, justify="right")
    table.add_column("")
    for it in shift.changes:
        numbers = (f"{it.statistic:.3f}", f"{it.p_value:.4f}", f"{it.corrected:.4f}")
        found = Text("changed", style="bold red") if it.noticed else Text("-", style="dim")
        table.add_row(name_of(it.key), moved_words(it), *numbers, found)
    terminal.out.print(table)
    terminal.out.print(
        f"One knee of each of {shift.patients} patients, against {shift.reference}; corrected for "
        f"{len(shift.changes)} tests, false alarms in at most {shift.false_alarms:.1%} of "
        "comparisons.",
        style="dim",
    )
    terminal.out.print(Text(f"\n{verdict_words(shift)}"))
    terminal.warn(missing_words(shift))


def json_text(shift: Shift) -> str:
    """The result as a JSON document."""
    return json.dumps(record_of(shift), indent=2) + "\n"
