"""Lines on standard error: the same is told once, and progress is told without a terminal too."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from kellgren.cli import terminal
from kellgren.cli.grade_command.grade_targets import Targets
from kellgren.cli.manners.alike import MOST_ALONE, MOST_NAMED, told_once
from kellgren.cli.manners.progress_lines import EVERY_FILES, EVERY_SECONDS, ProgressLines
from kellgren.cli.manners.readings_summary import ReadingsSummary
from kellgren.localisation.film import refused_film
from kellgren.reading_schema import GradedRow, UngradedRow


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


def test_what_is_shown_of_a_million_refused_files_has_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=printed, width=60))
    count = 3 * MOST_NAMED
    notes = ["is blank"] * count + [f"is odd in way {n}" for n in range(count)]
    terminal.show_readings(
        UngradedRow(image=f"{n}.png", side="", grade=None, note=note)
        for n, note in enumerate(notes)
    )
    lines = printed.getvalue().splitlines()
    assert f"Not graded: {2 * count}" in lines
    assert f"  {count} times: is blank" in lines
    assert f"    and {2 * MOST_NAMED} more; --csv FILE keeps all of them" in lines
    assert len(lines) < 2 * MOST_NAMED
    assert any(line.endswith("more for other reasons; --csv FILE keeps all") for line in lines)


def test_what_is_not_shown_is_looked_for_in_the_table_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=printed, width=60))
    summary = ReadingsSummary()
    for n in range(MOST_NAMED + 7):
        summary.add(UngradedRow(image=f"{n}.png", side="", grade=None, note="is blank"))
    targets = Targets(csv=Path("-"), json=Path("[new]/grades.json"))
    terminal.show_summary(summary, kept=str(targets.kept))
    assert "and 7 more; [new]/grades.json keeps all of them" in printed.getvalue()
    assert targets.journal == Path("[new]/.grades.json.journal")
    assert Targets(csv=Path("-")).kept is None


def test_how_to_grade_what_is_refused_is_said_once_and_only_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=printed, width=80))
    note = str(refused_film("a.png", ["shows no knee"]))
    assert "--force" not in note  # pages and archives have no such option
    rows = [UngradedRow(image="a.png", side="", grade=None, note=note.removeprefix("a.png: "))] * 2
    terminal.show_readings(rows)
    assert printed.getvalue().count("--force") == 1


@pytest.mark.parametrize("width", [80, 99, 120])
def test_a_reading_is_one_line_and_its_bar_is_never_broken(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    name = "examples/9637958L.png"
    reading = {
        **{"image": name, "side": "", "grade": 2, "name": "minimal", "named": False},
        **{"probabilities": [0, 0.2, 0.54, 0.25, 0.01], "certainty": "moderate"},
        **{"grade_set": {"lowest": 1, "highest": 3, "level": 0.9, "coverage": 0.9}},
        **{"doubts": ["the 90 % set holds 3 grades"], "right_share": 0.6, "disagreement": None},
        **{"warnings": [], "mm_per_pixel": None, "region": None, "read_with": None, "checks": []},
        "note": "",
    }
    model = {
        **{"software": "kellgren 0.1.0", "name": "tiny", "checksum": "0" * 64},
        **{"engine": "onnxruntime", "precision": "fp32", "mirror": "off", "other_knee": "off"},
    }
    terminal.show_readings([GradedRow.model_validate({**reading, "model": model})])
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if name in line)
    for part in ("unknown", "not sure (2?)", "54%", "1-3", "moderate, 60%"):
        assert part in line
    assert sum(map(line.count, "▁▂▃▄▅▆▇█")) == (5 if width < 100 else 10)
    assert max(map(len, lines)) <= width


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
