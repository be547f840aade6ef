"""What people see in a terminal: tables on standard output, progress on standard error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from kellgren.audit import Audit
from kellgren.bundle import Card
from kellgren.grades import Grade
from kellgren.overlay import GRADE_COLOURS

NOTICE = "Research software, not a medical device."
MOST_ROWS = 60
_BLOCKS = " ▁▂▃▄▅▆▇█"
_HEADLINES = {"accuracy": "accuracy", "qwk": "QWK", "macro_f1": "macro-F1", "mae": "MAE"}
_SIDES = {"L": "left", "R": "right", "": "unknown"}
Row = dict[str, Any]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
if not out.is_terminal:
    out.width = 200  # a file or pipe has no edge: names of files stay whole


def progress(description: str) -> Progress:
    """A bar with count and remaining time on standard error; nothing off a terminal."""
    return Progress(
        TextColumn(description + " {task.fields[now]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )


def colour_of(grade: int) -> str:
    """The grade's colour, the same in terminal and picture."""
    red, green, blue = GRADE_COLOURS[grade]
    return f"rgb({red},{green},{blue})"


def probability_bar(probabilities: Sequence[float]) -> Text:
    """Five blocks, one a grade, as high as its probability."""
    bar = Text()
    for grade, share in enumerate(probabilities):
        block = _BLOCKS[max(1, round(share * (len(_BLOCKS) - 1)))]
        bar.append(block + block, style=colour_of(grade))
        bar.append(" ")
    return bar


def readings_table(rows: Sequence[Row]) -> Table:
    """One line a knee: file, side, grade with its name, probabilities, certainty."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("knee", overflow="fold")
    table.add_column("side")
    table.add_column("grade")
    table.add_column("0  1  2  3  4")
    table.add_column("p", justify="right")
    table.add_column("90 % within", justify="center")
    table.add_column("certainty")
    for row in rows[:MOST_ROWS]:
        if row["grade"] is None:
            continue
        grade = Grade(row["grade"])
        low, high = row["likely"]
        table.add_row(
            Text(row["image"]),
            _SIDES[row["side"]],
            Text(f"{int(grade)} {grade.label}", style=f"bold {colour_of(grade)}"),
            probability_bar(row["probabilities"]),
            f"{row['probabilities'][grade]:.0%}",
            str(low) if low == high else f"{low}-{high}",
            row["certainty"],
        )
    return table


def show_readings(rows: Sequence[Row], *, table: bool = True) -> None:
    """Print graded knees on standard output; what failed, and warnings, on standard error.

    Args:
        rows: of a batch.
        table: off where standard output carries CSV or JSON already.
    """
    graded = [row for row in rows if row["grade"] is not None]
    failed = [row for row in rows if row["grade"] is None]
    if graded and table:
        _show_graded(graded)
    for row in graded:
        for warning in row["warnings"]:
            text = Text(f"warning: {row['image']}: {warning}", style="yellow")
            err.print(text, soft_wrap=True)
    if failed:
        err.print(Text(f"\nNot graded: {len(failed)}", style="bold red"))
    for row in failed:
        err.print(Text(f"  {row['image']}: {row['note']}"), soft_wrap=True)
    err.print(NOTICE, style="dim")


def _show_graded(graded: Sequence[Row]) -> None:
    out.print(readings_table(graded))
    if len(graded) > MOST_ROWS:
        out.print(f"... and {len(graded) - MOST_ROWS} more; --csv FILE keeps all of them")
    counted = Counter(row["grade"] for row in graded)
    spread = ", ".join(f"{counted[g]} of grade {int(g)}" for g in Grade if counted[g])
    if len(graded) > 1:
        out.print(f"\n{len(graded)} knees: {spread}", style="dim")


def show_card(card: Card, checksum: str) -> None:
    """Print what a bundle says of itself."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for member in card.members:
        sees = member.preprocess
        table.add_row("member", f"{member.name}: {member.architecture} at {sees.size} pixels")
        table.add_row("started from", member.started_from)
    data = card.data
    table.add_row("learnt from", f"{data.knees} knees of {data.patients} patients: {data.name}")
    table.add_row("credit", f"{data.credit}, {data.licence}")
    for key, name in _HEADLINES.items():
        found = card.out_of_fold.get(key)
        if found is not None:
            interval = f"(95 % CI {found['low']:.3f} to {found['high']:.3f})"
            table.add_row(f"out of fold: {name}", f"{found['value']:.3f} {interval}")
    table.add_row("grades", card.scale)
    table.add_row("use", card.intended_use)
    table.add_row("checksum", checksum)
    out.print(Text(f"{card.name}, written by kellgren {card.version}", style="bold"))
    out.print(table)


def show_audit(audit: Audit) -> None:
    """Print what `data check` found."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split")
    for grade in Grade:
        table.add_column(f"grade {int(grade)}", justify="right")
    table.add_column("knees", justify="right")
    table.add_column("published", justify="right", style="dim")
    for split, counts in audit.counts.items():
        published = sum(audit.published_counts.get(split, {}).values())
        numbers = [str(counts.get(int(grade), 0)) for grade in Grade]
        table.add_row(split, *numbers, str(sum(counts.values())), str(published or ""))
    out.print(table)
    out.print()
    marks = {"error": ("✗", "bold red"), "warning": ("!", "yellow"), "fine": ("✓", "green")}
    for finding in audit.findings:
        mark, style = marks[finding.severity]
        out.print(Text.assemble((mark, style), " ", finding.title))
        for example in finding.examples:
            out.print(Text(f"    {example}", style="dim"))
