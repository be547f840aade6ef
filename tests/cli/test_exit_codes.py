"""Exit codes are named once, and documented."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from command_line import ROOT
from kellgren.cli.exit_codes import ExitCode

COMMANDS = sorted((ROOT / "src" / "kellgren" / "cli").rglob("*.py"))


def numbers_in_exits(source: str) -> Iterator[int]:
    """Lines where a number stands in a call that ends the process."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] in {"Exit", "exit"}:
            for part in ast.walk(call):
                if isinstance(part, ast.Constant) and isinstance(part.value, int):
                    yield part.lineno


def test_commands_end_with_named_codes() -> None:
    assert list(numbers_in_exits("raise typer.Exit(0 if good else 1)")) == [1, 1]
    assert list(numbers_in_exits("sys.exit(ExitCode.USAGE)")) == []
    numbers = {
        path.name: lines
        for path in COMMANDS
        if (lines := list(numbers_in_exits(path.read_text("utf-8"))))
    }
    assert numbers == {}


def test_every_code_is_documented_and_no_other_is() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    table = page.split("| exit code | meaning |")[1].split("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.M)] == list(ExitCode)


@pytest.mark.parametrize(("failed", "total", "code"), [(0, 3, 0), (1, 3, 1), (3, 3, 4)])
def test_the_code_of_a_batch(failed: int, total: int, code: int) -> None:
    assert ExitCode.of_batch(failed, total) == code
