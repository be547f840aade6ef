"""Tables on narrow screens: a line a cell instead of columns that cut names and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import, and help and version need none of them
    from rich.console import Console, Group, RenderableType
    from rich.table import Table
    from rich.text import Text

NARROW = 80
"""Columns below which neither tables nor the tables of options in a help page are drawn."""


def all_fitted(parts: Group, console: Console) -> Group:
    """Tables among other things, each of them fitted by itself."""
    from rich.console import Group
    from rich.table import Table

    shown: list[RenderableType] = [
        fitted(part, console) if isinstance(part, Table) else part for part in parts.renderables
    ]
    return Group(*shown)


def fitted(table: Table, console: Console) -> Table | Group:
    """The table where the console is wide enough for it, else its rows as lines.

    Its title stands first. The first cell of a row stands alone, the others below it with their
    column's header.

    Args:
        table: with headers.
        console: that will print it.
    """
    from rich.console import Group
    from rich.text import Text

    unlimited = console.options.update(max_width=10 * NARROW)
    if (
        console.width >= NARROW
        or console.measure(table, options=unlimited).maximum <= console.width
    ):
        return table
    lines = [Text(str(table.title), style=table.title_style or "")] if table.title else []
    columns = [(str(column.header), list(column.cells)) for column in table.columns]
    for number in range(table.row_count):
        first, *others = ((header, cells[number]) for header, cells in columns)
        lines.append(_text(first[1]))
        for header, cell in others:
            lines.append(Text.assemble("  ", (f"{header}: " if header else "", "dim"), _text(cell)))
    return Group(*lines)


def _text(cell: object) -> Text:
    from rich.text import Text

    return cell if isinstance(cell, Text) else Text(str(cell))
