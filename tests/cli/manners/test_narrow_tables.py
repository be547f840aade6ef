"""Tables of scores at every width: no line is wider, no number is broken, COLUMNS is heeded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from command_line import kellgren
from kellgren.cli.manners.narrow import fitted
from simulated_grades import graded_knees

WIDTHS = (40, 60, 80, 120, 200)
OF_NO_WORD = re.compile(r"[^\w.+-]+")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str | Path], Path]:
    """The words of an evaluation with a comparison, and where it writes its scores."""
    folder = tmp_path_factory.mktemp("tables")
    for name, seed in (("this", 0), ("other", 0)):
        truth, grades, shares = graded_knees(seed, 120)
        if name == "other":
            shares = np.roll(shares, 1, axis=0)
            grades = shares.argmax(axis=1)
        shares = shares / shares.sum(axis=1, keepdims=True)
        lines = ["image,grade,p0,p1,p2,p3,p4"]
        for number, (grade, row) in enumerate(zip(grades, shares, strict=True)):
            lines.append(f"{number}.png,{grade}," + ",".join(f"{p:.6f}" for p in row))
        (folder / f"{name}.csv").write_text("\n".join(lines))
    labels = [f"{n}.png,p{n // 2},{grade}" for n, grade in enumerate(truth)]
    (folder / "knees.csv").write_text("\n".join(["image,patient,grade", *labels]))
    words: list[str | Path] = ["evaluate", folder / "this.csv", "--labels", folder / "knees.csv"]
    words += ["--against", folder / "other.csv", "--resamples", "100"]
    return [*words, "--json", folder / "scores.json"], folder / "scores.json"


def shown_numbers(scores: dict[str, Any]) -> set[str]:
    """How the terminal writes every headline metric and both ends of the interval it has."""
    estimates = [e for e in scores.values() if isinstance(e, dict) and "low" in e]
    numbers = (e[key] for e in estimates for key in ("value", "low", "high"))
    return {f"{number:.3f}" for number in numbers if number is not None}


@pytest.mark.parametrize("width", WIDTHS)
def test_scores_are_whole_at_every_width(
    width: int,
    evaluated: tuple[list[str | Path], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words, scores = evaluated
    monkeypatch.setenv("COLUMNS", str(width))
    assert kellgren(*words) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    found = set(OF_NO_WORD.split(said)) | set(re.findall(r"\d\.\d{3}", said))
    expected = shown_numbers(json.loads(scores.read_text()))
    assert len(expected) > 20
    assert expected <= found
    flat = " ".join(said.split())
    for title in (
        "120 knees of 60 patients",
        "Knees by true grade (row) and predicted grade (column)",
        "Each grade against all others",
        "Against the other grader",
    ):
        assert title in flat
    assert ("  95% interval: " in said) == (width < 80)


def test_a_table_that_fits_is_drawn_and_one_that_does_not_is_told_in_lines() -> None:
    table = Table(title="\nTitle")
    for column in ("knee", "grade"):
        table.add_column(column)
    table.add_row("a knee with a long name", "0 none")
    wide, narrow = (Console(width=width, record=True) for width in (60, 20))
    assert fitted(table, wide) is table
    narrow.print(fitted(table, narrow))
    lines = [line.rstrip() for line in narrow.export_text().splitlines()]
    assert lines == ["", "Title", "a knee with a long", "name", "  grade: 0 none"]
