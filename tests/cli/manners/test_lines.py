"""Lines on standard error: the same is told once, and progress is told without a terminal too."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from kellgren.cli import terminal
from kellgren.cli.manners.alike import MOST_ALONE, grouped, told_once
from kellgren.cli.manners.progress_lines import EVERY_FILES, EVERY_SECONDS, ProgressLines
from kellgren.reading_schema import UngradedRow


def test_sixty_six_alike_warnings_are_one_line_with_their_count() -> None:
    told = [(f"{n}.png", f"bone was dark; inverted ({n / 100})") for n in range(66)]
    (line,) = told_once(told)
    assert line == ("66 times: bone was dark; inverted (0.0) (0.png, 1.png, 2.png and 63 more)")


def test_few_warnings_and_different_ones_have_a_line_each() -> None:
    told = [("a.png", "dark"), ("b.png", "dark"), ("a.png", "side unknown"), ("c.png", "dark")]
    assert sorted(told_once(told)) == [
        "a.png: dark",
        "a.png: side unknown",
        "b.png: dark",
        "c.png: dark",
    ]
    assert grouped(told) == {"dark": ["a.png", "b.png", "c.png"], "side unknown": ["a.png"]}


def test_files_refused_alike_share_their_reason_and_are_all_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=printed, width=60))
    names = [f"film {n}.png" for n in range(MOST_ALONE + 1)]
    rows = [UngradedRow(image=name, side="", grade=None, note="is blank") for name in names]
    terminal.show_readings(rows)
    lines = printed.getvalue().splitlines()
    assert f"  {len(names)} times: is blank" in lines
    assert printed.getvalue().count("is blank") == 1
    assert [line.strip() for line in lines if line.startswith("    ")] == names


class Clock:
    """Seconds that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("disable", [True, False])
def test_off_a_terminal_there_is_a_line_now_and_then(disable: bool) -> None:
    printed, clock = io.StringIO(), Clock()
    console = Console(file=printed, width=80)
    bar = ProgressLines(doing="grading", now=clock, console=console, disable=disable)
    task = bar.add_task("", total=3 * EVERY_FILES)
    bar.advance(task, 10)
    assert printed.getvalue() == ""
    clock.seconds = EVERY_SECONDS
    bar.advance(task)
    bar.advance(task)
    bar.update(task, completed=11 + EVERY_FILES)
    expected = ["grading: 11 of 3000", "grading: 1011 of 3000"] if disable else []
    assert printed.getvalue().splitlines() == expected


def test_what_has_lines_of_its_own_gets_no_others() -> None:
    printed, clock = io.StringIO(), Clock()
    bar = ProgressLines(doing="", now=clock, console=Console(file=printed), disable=True)
    task = bar.add_task("", total=None)
    clock.seconds = 2 * EVERY_SECONDS
    bar.advance(task)
    assert printed.getvalue() == ""


def test_the_bars_of_commands_are_such(tmp_path: Path) -> None:
    assert isinstance(terminal.progress("grading"), ProgressLines)
