"""`kellgren grade`: what it prints and writes where, and how it ends."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, PATIENCE, command, environment, finished, kellgren, rows
from kellgren.grading.bundle import Bundle, default_bundle
from kellgren.imaging.picture import SUFFIXES

KNEE = EXAMPLES / "9177337L.png"
HEADER = "image,side,grade,p0,p1,p2,p3,p4,"
NOTICE = "Research software, not a medical device."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.setenv("KELLGREN_MODEL", str(bundle.folder))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two folders with a knee of the same name each, one damaged file, one that is no picture."""
    for folder in ("a", "b"):
        (tmp_path / "study" / folder).mkdir(parents=True)
        shutil.copy(KNEE, tmp_path / "study" / folder / KNEE.name)
    (tmp_path / "study" / "damaged.png").write_bytes(KNEE.read_bytes()[:2000])
    (tmp_path / "study" / "notes.txt").write_text("no picture")
    return tmp_path / "study"


def test_the_table_goes_to_stdout_and_all_else_to_stderr(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # the names of a test's folders are long
    assert kellgren("grade", study) == 1

    said = capsys.readouterr()
    assert re.search(r"a/9177337L\.png +left +[0-4] (none|doubtful|minimal|mod|sev)", said.out)
    assert "damaged.png" not in said.out
    assert "Not graded: 1" in said.err
    assert f"{study}/damaged.png: " in said.err
    assert NOTICE in said.err
    assert NOTICE not in said.out
    assert "notes.txt" not in said.out
    assert f"skipped, files of other kinds: 1 ({study}/notes.txt)" in said.err


def test_what_was_not_written_is_not_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers, table = tmp_path / "answers", tmp_path / "grades.csv"
    assert kellgren("grade", KNEE, "--dicom-out", answers, "--csv", table) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith(f"written: {table}")


def test_the_csv_names_every_file_as_it_was_given(study: Path, tmp_path: Path) -> None:
    given = [str(study / "b" / KNEE.name), str(study / "damaged.png"), str(tmp_path / "no.png")]
    table = tmp_path / "new" / "grades.csv"

    assert kellgren("grade", *given, "--csv", table) == 1

    assert table.read_text().startswith(HEADER)
    good, damaged, missing = rows(table)
    assert [good["image"], damaged["image"], missing["image"]] == given
    assert good["grade"] in "01234"
    assert good["side"] == "L"
    assert good["note"] == ""
    assert sum(float(good[f"p{g}"]) for g in range(5)) == pytest.approx(1, abs=1e-5)
    for bad in (damaged, missing):
        assert bad["grade"] == bad["p0"] == ""
        assert bad["note"]
    assert "does not exist" in missing["note"]
    assert [path.name for path in table.parent.iterdir()] == ["grades.csv"]  # no journal stays


def test_the_json_holds_what_the_csv_holds(study: Path, tmp_path: Path, bundle: Bundle) -> None:
    table, document = tmp_path / "grades.csv", tmp_path / "grades.json"
    kellgren("grade", study, "--csv", table, "--json", document)

    content = json.loads(document.read_text())
    assert content["notice"] == NOTICE
    assert content["model"]["checksum"] == bundle.checksum
    assert len(content["readings"]) == 3
    for reading, row in zip(content["readings"], rows(table), strict=True):
        assert reading["image"] == row["image"]
        assert reading["note"] == row["note"]
        grade = "" if reading["grade"] is None else str(reading["grade"])
        assert grade == row["grade"]
        assert [f"{p:.6f}" for p in reading.get("probabilities", [])] == [
            row[f"p{g}"] for g in range(5) if row["grade"]
        ]


def test_a_dash_prints_the_data_and_only_that(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kellgren("grade", study, "--csv", "-")
    said = capsys.readouterr()
    assert said.out.startswith(HEADER)
    assert len(said.out.splitlines()) == 4
    assert NOTICE in said.err

    kellgren("grade", study, "--json", "-")
    assert len(json.loads(capsys.readouterr().out)["readings"]) == 3

    assert kellgren("grade", study, "--json", "-", "--csv", "-") == 2
    assert capsys.readouterr().out == ""


def test_overlays_of_equal_names_are_numbered(study: Path, tmp_path: Path) -> None:
    (study / "c").mkdir()
    shutil.copy(KNEE, study / "c" / "9177337L-2.png")
    kellgren("grade", study / "a", study / "b", study / "c", "--overlay", tmp_path / "pictures")

    found = sorted((tmp_path / "pictures").iterdir())
    assert len(found) == 3
    assert {"9177337L.png", "9177337L-2.png"} <= {path.name for path in found}
    for path in found:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            picture.load()


def test_overlays_never_replace_what_was_graded(study: Path) -> None:
    before = (study / "a" / KNEE.name).read_bytes()

    assert kellgren("grade", study / "a", "--overlay", study / "a") == 2
    assert (study / "a" / KNEE.name).read_bytes() == before


def test_folders_and_patterns_stand_for_their_files(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    odd = study / "a" / "[x].PNG"
    shutil.copy(KNEE, odd)
    table = tmp_path / "grades.csv"

    def images(*paths: str) -> list[str]:
        kellgren("grade", *paths, "--csv", table)
        return [row["image"] for row in rows(table)]

    assert images("a") == ["a/9177337L.png", "a/[x].PNG"]
    assert images("*/9*.png") == ["a/9177337L.png", "b/9177337L.png"]
    assert images("**/*.png") == ["a/9177337L.png", "b/9177337L.png", "damaged.png"]
    assert images("b", "a/9177337L.png", "b") == ["b/9177337L.png", "a/9177337L.png"]
    assert images("a/[x].PNG") == ["a/[x].PNG"]  # a file's own name comes before the pattern
    assert images("*/*.dcm", "b") == ["*/*.dcm", "b/9177337L.png"]
    assert {".png", ".jpg", ".tif", ".dcm"} <= SUFFIXES


def test_the_side_can_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "knee.png"
    shutil.copy(KNEE, path)
    table = tmp_path / "grades.csv"

    kellgren("grade", path, "--csv", table, "--side", "R")
    assert rows(table)[0]["side"] == "R"
    kellgren("grade", KNEE, "--csv", table, "--side", "R")
    assert rows(table)[0]["side"] == ""
    assert "side unknown" in rows(table)[0]["warnings"]
    assert "warning: " in capsys.readouterr().err


def test_exit_codes(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert kellgren("grade", study / "a") == 0
    assert kellgren("grade", study) == 1
    assert kellgren("grade", study, "--side", "both") == 2
    assert kellgren("grade", study, "--bogus") == 2
    assert kellgren("grade") == 2
    assert kellgren("grade", study, "--csv", tmp_path) == 2
    assert kellgren("grade", study, "--precision", "bf16") == 2
    assert kellgren("grade", study / "damaged.png", tmp_path / "no.png") == 4
    assert kellgren("grade", tmp_path / "empty") == 4
    capsys.readouterr()

    assert kellgren("grade", study, "--model", tmp_path / "empty") == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {tmp_path / 'empty'}: is no bundle")
    assert len(said.err.splitlines()) == 1


def test_a_damaged_model_is_refused(study: Path, tmp_path: Path, bundle: Bundle) -> None:
    copy = tmp_path / "model"
    shutil.copytree(bundle.folder, copy)
    network = bytearray((copy / "member.onnx").read_bytes())
    network[len(network) // 2] ^= 1
    (copy / "member.onnx").write_bytes(network)

    assert kellgren("grade", study, "--model", copy) == 3


def test_a_process_of_its_own_imports_no_torch_and_colours_no_pipe() -> None:
    script = (
        "import sys\nfrom kellgren.cli import main\n"
        "try:\n    main()\nfinally:\n    print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = finished([sys.executable, "-c", script, "grade", str(KNEE)])  # the shipped model

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert f"{KNEE}  left" in done.stdout  # not folded to the width of a terminal
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "torchvision", "timm", "sklearn", "onnx", "matplotlib", "pydicom"}


@pytest.mark.parametrize("no_colour", [False, True])
def test_colour_is_for_terminals_without_no_color(no_colour: bool, bundle: Bundle) -> None:
    extra = {"TERM": "xterm-256color", "KELLGREN_MODEL": str(bundle.folder), "COLUMNS": "200"}
    env = environment(**extra, **({"NO_COLOR": "1"} if no_colour else {}))
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            command("grade", KNEE), stdout=theirs, stderr=subprocess.PIPE, env=env, text=True
        )
        _, said = process.communicate(timeout=PATIENCE)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)

    assert process.returncode == 0, said
    assert "9177337L.png" in shown
    assert bool(re.search(r"\x1b\[[0-9;]*[34]8;", shown)) is not no_colour
    assert "\x1b" not in said


def test_a_reader_who_leaves_early_is_no_crash(bundle: Bundle) -> None:
    env = environment(KELLGREN_MODEL=str(bundle.folder))
    process = subprocess.Popen(
        command("grade", EXAMPLES, "--csv", "-"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with io.TextIOWrapper(process.stderr, "utf-8") as stderr:
        said = stderr.read()

    assert process.wait(PATIENCE) in (0, 1)
    assert "Traceback" not in said


def test_a_grade_that_is_not_named_is_seen_everywhere(tmp_path: Path, capsys) -> None:
    """One of the examples is in doubt: never silently, never without its probabilities."""
    picture, table = EXAMPLES / "9637958L.png", tmp_path / "grades.csv"
    command = ("grade", picture, "--csv", table, "--json", tmp_path / "grades.json")
    assert kellgren(*command, "--model", default_bundle()) == 0
    told = capsys.readouterr()
    assert "not sure (2?)" in told.out
    assert "not sure enough to name a grade: the 90 % set holds 3 grades" in " ".join(
        told.err.split()
    )
    [row] = rows(table)
    assert (row["grade"], row["most_probable"], row["name"]) == ("", "2", "")
    assert (row["set_low"], row["set_high"]) == ("1", "3")
    assert float(row["p2"]) > 0.5
    [reading] = json.loads((tmp_path / "grades.json").read_text())["readings"]
    assert (reading["grade"], reading["named"]) == (2, False)

    labels = tmp_path / "labels.csv"
    labels.write_text(f"image,patient,grade\n{picture},9637958,2\n")
    scores = tmp_path / "scores.json"
    assert kellgren("evaluate", table, "--labels", labels, "--json", scores) == 0
    scored = json.loads(scores.read_text())
    assert scored["accuracy"]["value"] == 1.0
    assert (scored["naming"]["unnamed"], scored["coverage"]["refused"]) == (1, 0)


def test_a_grade_can_be_asked_for_whatever_the_doubts(tmp_path: Path) -> None:
    table = tmp_path / "grades.csv"
    picture = EXAMPLES / "9637958L.png"
    command = ("grade", picture, "--csv", table, "--model", default_bundle())
    assert kellgren(*command, "--always-grade", "--level", "0.8") == 0
    [row] = rows(table)
    assert (row["grade"], row["note"], row["set_level"]) == ("2", "", "0.8")
    assert row["doubts"] == "the 90 % set holds 3 grades"
    assert int(row["set_high"]) - int(row["set_low"]) < 2
    assert kellgren(*command, "--level", "0.85") != 0
