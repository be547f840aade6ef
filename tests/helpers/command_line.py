"""The command line as tests call it: in this process, or in one of its own."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from unittest.mock import patch

import typer.main

from kellgren.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE = 300  # seconds: only a hang takes so long, however busy the machine
command_tree = cache(typer.main.get_command)  # nine tenths of a call that is refused, if made anew


def kellgren(*arguments: Path | str) -> int:
    """Run `kellgren` in this process; its exit code."""
    given = patch.object(sys, "argv", ["kellgren", *map(str, arguments)])
    with given, patch("typer.main.get_command", command_tree):
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    raise AssertionError("main returned instead of exiting")


def command(*arguments: Path | str) -> list[str]:
    """The words that start `kellgren` in a process of its own."""
    return [sys.executable, "-m", "kellgren", *map(str, arguments)]


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without what would steer colours or choose a model."""
    steering = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "KELLGREN_MODEL", "KELLGREN_ENGINE"}
    steering |= {"ORT_DISABLE_TELEMETRY"}  # the package must see to it by itself
    return {key: v for key, v in os.environ.items() if key not in steering} | extra


def finished(
    words: list[str], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a process to its end, and keep what it said."""
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        env=dict(env or environment()),
        cwd=ROOT,
        check=False,
    )


def rows(table: Path | str) -> list[dict[str, str]]:
    """The rows of a CSV, from its file or its text."""
    text = table.read_text("utf-8") if isinstance(table, Path) else table
    return list(csv.DictReader(io.StringIO(text)))
