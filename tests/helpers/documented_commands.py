"""Command lines of the documentation, parsed and not run."""

from __future__ import annotations

import shlex
from typing import Any

import typer

from command_line import command_tree
from kellgren.cli import app


def parse(line: str) -> None:
    """Parse a command line as the program would, without running it; raises what it would raise."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|><;&")
    lexer.wildcard_whitespace_split = True  # type: ignore[attr-defined]
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word[0] in "|><;&":
            break
        words.append(word)
    command: Any = command_tree(app)
    context: Any = None
    name, *rest = words
    while True:
        inner = getattr(command, "commands", {})
        try:
            if not inner or rest[:1] in ([], ["--help"], ["--version"]):
                command.make_context(name, rest, parent=context)
                return
        except typer.Exit:
            return
        context = command.make_context(name, list(rest), parent=context)
        name, *rest = rest
        if name not in inner:
            raise KeyError(f"no command {name!r} in {line!r}")
        command = inner[name]
