"""What every command owes its user: help with an example, honest exit codes, advice on errors."""

from __future__ import annotations

import csv
import json
import platform
import shutil
import sys
from pathlib import Path

import pytest
import typer.main

from command_line import EXAMPLES, finished, kellgren, rows
from kellgren import __version__
from kellgren.cli import app

KNEES = sorted(EXAMPLES.glob("*.png"))
TRAINING_LIBRARIES = ("torch", "torchvision", "sklearn", "safetensors", "onnx", "timm")


def commands(group: object = None, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command of the tree, as the words that name it."""
    found = typer.main.get_command(app) if group is None else group
    inner = getattr(found, "commands", None)
    if inner is None:
        return [path]
    return [words for name, sub in inner.items() for words in commands(sub, (*path, name))]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The examples, as if graded: one folder a grade, both knees of a patient in the same split."""
    root = tmp_path / "knees"
    for number, knee in enumerate(KNEES):
        folder = root / "train" / str(number % 5)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(knee, folder / knee.name)
    return root


def test_the_tree_of_commands_is_the_documented_one() -> None:
    assert {" ".join(words) for words in commands()} >= {
        *("grade", "evaluate", "data index", "data check", "data folds"),
        *("train member", "train recipes", "bundle build", "bundle show"),
    }


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren(*words, "--help") == 0
    said = capsys.readouterr().out
    assert said.count(f"kellgren {' '.join(words)}") >= 2  # its usage and an example

    assert kellgren(*words, "--no-such-option") == 2
    said_of_error = capsys.readouterr()
    assert said_of_error.out == ""
    assert "--no-such-option" in said_of_error.err


def test_the_way_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert kellgren("--version") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"kellgren {__version__}, with Python {platform.python_version()} on ")
    assert kellgren("--help") == 0
    assert "kellgren grade" in capsys.readouterr().out
    assert kellgren("no-such-command") == 2
    assert kellgren() == 2


def test_data_index_check_and_folds(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, folds, findings = (tmp_path / name for name in ("k.csv", "f.json", "c.json"))

    assert kellgren("data", "index", tree, "-o", table) == 0
    listed = rows(table)
    assert len(listed) == len(KNEES)
    assert {row["grade"] for row in listed} == set("01234")
    assert all((table.parent / row["image"]).is_file() for row in listed)
    assert f"{len(KNEES)} knees of" in capsys.readouterr().out

    assert kellgren("data", "check", table, "--json", findings) == 0
    assert json.loads(findings.read_text())["honest"] is True

    assert kellgren("data", "folds", table, "-o", folds, "--count", "2") == 0
    dealt = json.loads(folds.read_text())
    assert set(dealt["of_patient"]) == {row["patient"] for row in listed}
    assert set(dealt["of_patient"].values()) == {0, 1}
    assert dealt["hash"] in capsys.readouterr().out


def test_dishonest_data_fails_the_check(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "test" / "0").mkdir(parents=True)
    shutil.copy(KNEES[0], tree / "test" / "0" / KNEES[0].name)
    (tree / "train" / "1" / "9000001L.png").write_text("no picture")
    findings = tmp_path / "findings.json"

    assert kellgren("data", "check", tree, "--json", findings) == 1

    errors = [f for f in json.loads(findings.read_text())["findings"] if f["severity"] == "error"]
    told = " ".join(example for finding in errors for example in finding["examples"])
    assert "9000001L.png" in told
    assert KNEES[0].stem[:-1] in told
    assert "✗" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["index", "check", "folds"])
def test_data_that_is_none_is_refused_in_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = () if command == "check" else ("-o", tmp_path / "output")

    assert kellgren("data", command, tmp_path / "nowhere", *output) == 2

    said = capsys.readouterr()
    assert said.err.startswith(f"error: {tmp_path / 'nowhere'}: does not exist")
    assert len(said.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def predictions(tree: Path, path: Path) -> None:
    """All grades right but one, which is one grade off, and one knee refused."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("image", "side", "grade", *(f"p{g}" for g in range(5)), "note"))
        for number, knee in enumerate(sorted(tree.rglob("*.png"), key=lambda p: p.name)):
            if number == 1:
                writer.writerow((knee, knee.stem[-1], *[""] * 6, "refused"))
                continue
            grade = int(knee.parent.name) + (number == 0)
            shares = [0.8 if g == grade else 0.05 for g in range(5)]
            writer.writerow((knee, knee.stem[-1], grade, *shares, ""))


def test_evaluate_scores_with_intervals(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions(tree, tmp_path / "grades.csv")
    scores = tmp_path / "scores.json"
    arguments = ("evaluate", tmp_path / "grades.csv", "--labels", tree, "--resamples", "200")

    assert kellgren(*arguments, "--json", scores) == 0

    found = json.loads(scores.read_text())
    graded = len(KNEES) - 1
    assert found["accuracy"]["value"] == pytest.approx((graded - 1) / graded)
    assert found["mae"]["value"] == pytest.approx(1 / graded)
    for metric in ("accuracy", "macro_f1", "qwk", "mae", "auc_grade2"):
        few = {"low": None, "high": None, "reason": f"too few knees: {graded}"}
        assert found[metric] == {"value": found[metric]["value"]} | few
    assert found["coverage"] == {
        **{"labelled": len(KNEES), "scored": graded, "refused": 1, "missing": 0, "unlabelled": 0}
    }
    said = capsys.readouterr().out
    assert "accuracy" in said
    assert f"{found['accuracy']['value']:.3f}" in said

    kellgren(*arguments, "--json", tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == scores.read_bytes()


def test_evaluate_refuses_what_it_cannot_score(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "grades.csv"
    table.write_text("image,grade\nother.png,2\n")
    assert kellgren("evaluate", table, "--labels", tree) == 2
    table.write_text("image,grade\nknee.png,7\n")
    assert kellgren("evaluate", table, "--labels", tree) == 2
    assert "row 2: grade is '7'" in capsys.readouterr().err


def test_without_the_training_extra_grading_works_and_training_says_what_is_missing(
    tree: Path, tmp_path: Path
) -> None:
    script = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {TRAINING_LIBRARIES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from kellgren.cli import main

for line in sys.argv[1:]:
    sys.argv = ["kellgren", *line.split("|")]
    try:
        main()
    except SystemExit as end:
        print("code", end.code, file=sys.stderr)
"""
    out = tmp_path / "out"
    lines = [
        ("grade", KNEES[0], "--csv", out / "grades.csv"),
        ("data", "index", tree, "-o", out / "knees.csv"),
        ("data", "check", tree),
        ("evaluate", out / "grades.csv", "--labels", tree, "--resamples", "100"),
        ("train", "recipes"),
        ("bundle", "show"),
        ("data", "folds", tree, "-o", out / "folds.json"),
        ("train", "member", "inception", "--data", tree, "--out", out / "run"),
        ("bundle", "build", out, "--labels", tree, "-o", out / "bundle"),
    ]
    words = ["|".join(map(str, line)) for line in lines]
    done = finished([sys.executable, "-c", script, *words])

    codes = [line for line in done.stderr.splitlines() if line.startswith("code")]
    assert codes == ["code 0"] * 6 + ["code 2"] * 3, done.stderr
    advice = [line for line in done.stderr.splitlines() if line.startswith("error: training")]
    assert len(advice) == 2  # a bundle needs no torch to see that its run is unfinished
    assert all("pip install '.[train]'" in line for line in advice)
    assert "Traceback" not in done.stderr


def test_a_model_s_grades_are_no_reader_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, labels = tmp_path / "grades.csv", tmp_path / "labels.csv"
    shares = "0.1,0.2,0.6,0.1,0.0"
    table.write_text(f"image,side,grade,p0,p1,p2,p3,p4\n9000001L.png,L,2,{shares}\n")
    labels.write_text("image,side,grade\n9000001L.png,L,2\n")
    assert kellgren("evaluate", table, "--labels", table) == 0
    assert "is a table of kellgren grade" in " ".join(capsys.readouterr().err.split())
    assert kellgren("evaluate", table, "--labels", labels) == 0
    assert "is a table of kellgren grade" not in " ".join(capsys.readouterr().err.split())
