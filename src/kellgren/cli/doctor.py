"""`kellgren doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kellgren.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from kellgren.diagnosis.fact import Fact

EXAMPLES = "kellgren doctor · kellgren doctor --json doctor.json"


def doctor(
    json: Annotated[
        Path | None, typer.Option("--json", help="Write it as JSON too; - prints that alone.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(envvar="KELLGREN_MODEL", help="Folder of another bundle to check as well."),
    ] = None,
) -> None:
    """Check this installation: versions, engines, models, decoders, processor, free space.

    One screen to paste into a bug report; it names no user and no folder. Exit code 1: something
    is broken.
    """
    from kellgren.diagnosis.diagnose import diagnose

    facts = diagnose(model)
    broken = [fact for fact in facts if fact.broken]
    if str(json) != "-":
        _show(facts)
    if json is not None:
        _write(facts, json)
    raise typer.Exit(ExitCode.of_check(not broken))


def _show(facts: list[Fact]) -> None:
    from rich.table import Table
    from rich.text import Text

    from kellgren.cli import terminal

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", overflow="fold")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    last = ""
    for fact in facts:
        section = "" if fact.section == last else fact.section
        words = f"broken: {fact.words}" if fact.broken else fact.words
        style = "bold red" if fact.broken else ""
        table.add_row(section, Text(fact.name), Text(words, style=style))
        last = fact.section
    terminal.out.print(table)
    broken = sum(fact.broken for fact in facts)
    terminal.out.print(f"{broken} broken" if broken else "nothing is broken")


def _write(facts: list[Fact], path: Path) -> None:
    from dataclasses import asdict
    from json import dumps

    from kellgren.atomic_files import written_whole

    content = {
        "facts": [asdict(fact) for fact in facts],
        "broken": [fact.name for fact in facts if fact.broken],
    }
    text = dumps(content, indent=2) + "\n"
    if str(path) == "-":
        typer.echo(text, nl=False)
        return
    with written_whole(path) as stream:
        stream.write(text)
