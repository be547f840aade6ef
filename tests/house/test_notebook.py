"""The tutorial notebook runs from its first cell to its last, as in a notebook program."""

from __future__ import annotations

import ast
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from command_line import EXAMPLES, ROOT
from examples_truth import GRADES

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
PNG = b"\x89PNG\r\n\x1a\n"


def cells(kind: str) -> list[dict[str, Any]]:
    found = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    return [cell for cell in found["cells"] if cell["cell_type"] == kind]


def run(source: str, name: str, namespace: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, if that is an expression, which a notebook shows."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), namespace)


def test_the_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown = [
        run("".join(cell["source"]), f"cell {place}", namespace)
        for place, cell in enumerate(cells("code"), start=1)
    ]
    assert shown[0] == len(GRADES)
    assert shown[1]._repr_png_().startswith(PNG)
    confusion = shown[-3]
    assert confusion.sum() == len(GRADES)
    assert confusion.sum(axis=1).tolist() == [2, 2, 2, 2, 2]
    file, grade, _ = shown[-2][0]
    assert file[:-1] != "9511862"
    assert grade in range(5)
    said = capsys.readouterr().out
    assert "weighted kappa" in said
    assert "(no interval: too few knees: 10)" in said
    with (tmp_path / "grades.csv").open(newline="") as table:
        assert [Path(row["image"]).stem for row in csv.DictReader(table)] == sorted(GRADES)


def test_the_notebook_is_kept_without_outputs() -> None:
    assert cells("markdown")
    for cell in cells("code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    identifiers = [cell["id"] for kind in ("code", "markdown") for cell in cells(kind)]
    assert len(set(identifiers)) == len(identifiers)
