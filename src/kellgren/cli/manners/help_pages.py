"""Help that every command gives alike: `-h`, flags without a type, one column on narrow screens."""

from __future__ import annotations

import inspect
import re
import shutil
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from kellgren.cli.manners.narrow import NARROW

_MARKUP = re.compile(r"\[/?[a-z]+( [a-z]+)*\]")


class _Helpful:
    """What commands and groups of commands share."""

    help: str | None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.help = _unwrapped(self.help)

    def get_help_option_names(self, ctx: Any) -> list[str]:
        """The short name first: typer keeps them in a set, without an order."""
        names: list[str] = super().get_help_option_names(ctx)  # type: ignore[misc]
        return sorted(names, key=len)

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters; flags show no type, since they take no value."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """In a table of columns, or as paragraphs where columns would cut names and words."""
        if shutil.get_terminal_size().columns >= NARROW:
            super().format_help(ctx, formatter)  # type: ignore[misc]
            return
        _narrow_page(self, ctx, formatter)


def _narrow_page(command: Any, ctx: Any, formatter: Any) -> None:
    """Every option and command on a line of its own, what it does below it."""
    formatter.width = shutil.get_terminal_size().columns
    command.format_usage(ctx, formatter)
    formatter.write_paragraph()
    formatter.write_text(inspect.cleandoc(command.help or ""))
    parameters = [param.get_help_record(ctx) for param in command.get_params(ctx)]
    below = getattr(command, "commands", {})
    commands = [(name, one.get_short_help_str(limit=1000)) for name, one in below.items()]
    for heading, records in (("Options", parameters), ("Commands", commands)):
        if records:
            _narrow_section(formatter, heading, [record for record in records if record])
    if command.epilog:
        formatter.write_paragraph()
        formatter.write_text(_MARKUP.sub("", command.epilog))


def _narrow_section(formatter: Any, heading: str, records: list[tuple[str, str]]) -> None:
    with formatter.section(heading):
        for name, words in records:
            formatter.write_text(name)
            with formatter.indentation():
                formatter.write_text(" ".join(words.split()))


def _unwrapped(words: str | None) -> str | None:
    """Paragraphs without a docstring's line ends, which typer shows beside the terminal's own."""
    if words is None:
        return None
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(words).split("\n\n"))


class HelpfulCommand(_Helpful, TyperCommand):
    """A command with such help."""


class HelpfulGroup(_Helpful, TyperGroup):
    """A group of commands with such help."""


def make_helpful(app: typer.Typer) -> None:
    """Give all commands of an application, and of those within it, such help.

    Args:
        app: whose commands are all registered.
    """
    app.info.cls = HelpfulGroup
    for command in app.registered_commands:
        command.cls = HelpfulCommand
    for group in app.registered_groups:
        group.cls = HelpfulGroup
        if group.typer_instance is not None:
            make_helpful(group.typer_instance)
