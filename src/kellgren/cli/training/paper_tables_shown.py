"""The paper's tables in the terminal."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from kellgren.evaluation import Estimate
    from kellgren.training.reproduction.networks_table import Estimates
    from kellgren.training.reproduction.paper_tables import PaperTables

_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


def show_tables(tables: PaperTables) -> None:
    """Print single networks, both protocols, and what each of them chose."""
    from kellgren.cli import terminal

    for warning in tables.warnings:
        line = f"warning: {warning}"
        terminal.err.print(line, style="yellow", markup=False, soft_wrap=True)
    chosen_on = "chosen on the test knees" if tables.tested else "chosen on these knees"
    what = "test knees" if tables.tested else "knees, out of fold"
    terminal.out.print(f"{tables.knees} {what}, {tables.patients} patients", style="bold")
    if not tables.tested:
        terminal.out.print("no --test: the paper's protocol is computed on the held-out knees too")
    terminal.out.print()
    terminal.out.print(_networks(tables, chosen_on))
    for key, name in _NAMES.items():
        terminal.out.print()
        terminal.out.print(_protocols(tables, key, name, chosen_on))
    terminal.out.print()
    last = next(row for row in tables.rows if row.what == "best subset and rule")
    for words, choice in ((chosen_on, last.their_choice), ("chosen honestly", last.honest_choice)):
        terminal.out.print(f"{words}: {choice}", markup=False, soft_wrap=True)


def show_written(out: Path, failed: str | None) -> None:
    """Print where the report lies, and why it has no maps where they were asked for."""
    from kellgren.cli import terminal

    if failed is not None:
        terminal.err.print(f"no maps: {failed}", style="red", markup=False, soft_wrap=True)
    line = f"written: {out / 'report.html'}"
    terminal.note(line)


def _networks(tables: PaperTables, chosen_on: str) -> Table:
    table = _table("single networks: accuracy, macro-F1")
    for name in ("network", "mean over folds", f"best fold, {chosen_on}", "honest fold"):
        table.add_column(name, overflow="fold")
    for row in tables.networks:
        honest = "any" if row.honest is None else row.honest.words
        table.add_row(
            Text(row.backbone),
            _both(row.mean),
            f"{row.best.words}: {_both(row.best.estimates)}",
            f"{honest}: {_both(row.honest_estimates)}",
        )
    return table


def _protocols(tables: PaperTables, key: str, name: str, chosen_on: str) -> Table:
    table = _table(f"{name}, 95 % intervals")
    for column in ("", chosen_on, "honest", "optimism"):
        table.add_column(column, overflow="fold")
    for row in tables.rows:
        cells = (
            "-" if estimates is None else _with_interval(estimates[key], signed)  # type: ignore[index]
            for estimates, signed in ((row.theirs, ""), (row.honest, ""), (row.optimism, "+"))
        )
        table.add_row(row.what, *cells)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")


def _both(estimates: Estimates) -> str:
    return ", ".join(f"{estimates[key].value:.4f}" for key in _NAMES)  # type: ignore[index]


def _with_interval(it: Estimate, sign: str) -> str:
    if math.isnan(it.low):
        return f"{it.value:{sign}.4f}"
    return f"{it.value:{sign}.4f} ({it.low:{sign}.3f} to {it.high:{sign}.3f})"
