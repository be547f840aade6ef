"""How `kellgren grade` ends, and that it writes nothing where it ends before grading."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from bundle_factory import make_bundle
from command_line import EXAMPLES, finished, kellgren, rows
from kellgren.batch.listing import Listing
from kellgren.cli import extras
from kellgren.cli.exit_codes import ExitCode
from kellgren.ensemble import Ensemble
from kellgren.errors import MissingExtra

KNEE = EXAMPLES / "9177337L.png"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny").folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films").mkdir()
    shutil.copy(KNEE, tmp_path / "films")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--csv", "-", "--json", "-"], "only one of --csv and --json"),
        (["--overlay", "films"], "holds pictures to be graded"),
        (["--dicom-out", "films"], "holds pictures to be graded"),
        (["--json", "films"], "is a folder; name a file in it"),
        (["--pseudonym", "short"], "the key has fewer than 16 characters"),
        (["--pseudonym", "@none.key"], "the key file none.key cannot be read"),
        (["--csv", "t.csv", "--precision", "bf16"], "openvino"),
        (["--csv", "t.csv", "--json", "films/../t.csv"], "two outputs go to one file"),
        (["--csv", "s3://bucket/t.csv"], "is a URL; results are written to files"),
        (["--fhir", "file:///t.json"], "is a URL; results are written to files"),
        (["s3://bucket/films"], "is a URL, which a Ray cluster reads: add --ray"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_grades_and_writes_nothing(
    folder: Path,
    model: Path,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "300")
    assert kellgren("grade", "films", "--model", model, *words) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert [path.name for path in folder.rglob("*")] == ["films", KNEE.name]


def remove_card(model: Path) -> None:
    (model / "card.json").unlink()


def remove_network(model: Path) -> None:
    (model / "member.onnx").unlink()


def cut_card(model: Path) -> None:
    card = model / "card.json"
    card.write_bytes(card.read_bytes()[:-20])


def change_head(model: Path) -> None:
    with (model / "member.head.npz").open("ab") as stream:
        stream.write(b"\0")


def newer_format(model: Path) -> None:
    card = model / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text("utf-8")) | {"format": 10**6}))


@pytest.mark.parametrize(
    "harm", [shutil.rmtree, remove_card, remove_network, cut_card, change_head, newer_format]
)
def test_a_missing_or_damaged_model_ends_before_anything_is_written(
    folder: Path,
    model: Path,
    harm: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = folder / "model"
    shutil.copytree(model, copy)
    harm(copy)
    given = ("grade", folder / "films", "--model", copy, "--csv", folder / "t.csv")
    assert kellgren(*given, "--overlay", folder / "pictures") == ExitCode.MODEL_MISSING
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {copy}")
    assert printed.err.count("\n") == 1
    assert {path.name for path in folder.iterdir()} <= {"films", "model"}


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["good.png"], ExitCode.DONE),
        (["good.png", "bad.png"], ExitCode.SOME_FAILED),
        (["bad.png", "absent.png"], ExitCode.NOTHING_GRADED),
        (["nothing-*.png"], ExitCode.NOTHING_GRADED),
    ],
)
def test_the_code_says_how_many_were_graded_and_each_has_its_row(
    tmp_path: Path, model: Path, names: list[str], code: ExitCode
) -> None:
    shutil.copy(KNEE, tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(KNEE.read_bytes()[:500])
    given = [tmp_path / name for name in names]
    written = ("--csv", tmp_path / "t.csv", "--fhir", tmp_path / "fhir.json")
    assert kellgren("grade", *given, "--model", model, *written) == code
    table = rows(tmp_path / "t.csv")
    assert [row["image"] for row in table] == [str(path) for path in given]
    assert [bool(row["grade"]) for row in table] == [name == "good.png" for name in names]
    assert all(bool(row["grade"]) != bool(row["note"]) for row in table)
    graded = json.loads((tmp_path / "fhir.json").read_text("utf-8"))["entry"]
    assert len(graded) == names.count("good.png")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".journal")]


def test_a_table_that_cannot_be_written_is_told_of_before_films_are_graded(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ensemble, "read_film", lambda *_, **__: pytest.fail("a film was read"))
    monkeypatch.chdir(folder)
    Path("file").write_text("")
    given = ("grade", "films", "--model", model, "--csv", "t.csv")
    for option, target in (
        ("--json", Path("file/t.json")),
        ("--parquet", folder / "file" / "t.parquet"),
        ("--fhir", Path("file/more/t.json")),
    ):
        assert kellgren(*given, option, target) == ExitCode.CANNOT_WRITE
        assert f"error: {target}: cannot be written" in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"films", "file"}


def test_a_batch_that_a_full_disk_ends_says_how_to_go_on(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("grade", folder / "films", "--model", model, "--csv", folder / "t.csv")
    with monkeypatch.context() as patch:
        patch.setattr(Listing, "files", full_disk)
        assert kellgren(*given) == ExitCode.CANNOT_WRITE
    kept, error = capsys.readouterr().err.strip().splitlines()[-2:]
    assert kept == f"finished files are kept beside {folder / 't.csv'}; the same command with " + (
        "--resume goes on"
    )
    assert error.startswith(f"error: {folder / 't.csv'}: cannot be written (No space left")
    assert (folder / ".t.csv.journal").read_text("utf-8").count("\n") == 1
    assert kellgren(*given, "--resume") == ExitCode.DONE


def full_disk(_: Listing) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_table_that_cannot_be_written_is_no_traceback(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("")
    given = ("grade", folder / "films", "--model", model, "--csv", folder / "file" / "t.csv")
    assert kellgren(*given) == ExitCode.CANNOT_WRITE
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith(f"error: {folder / 'file'}")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_no_utf8_is_graded_like_any_other(folder: Path, model: Path) -> None:
    odd = os.fsencode(folder) + b"/films/\xff.png"
    shutil.copy(KNEE, odd)
    given = ["grade", os.fsdecode(odd), "--model", str(model), "--csv", str(folder / "t.csv")]
    ended = finished([sys.executable, "-m", "kellgren", *given, "--overlay", str(folder / "o")])
    assert ended.returncode == 0, ended.stderr
    assert "\\udcff.png" in ended.stdout
    (row,) = rows(folder / "t.csv")
    assert row["image"].endswith("\\udcff.png")
    assert os.listdir(os.fsencode(folder / "o")) == [b"\xff.png"]


def test_a_csv_of_names_with_line_ends_has_a_row_each(folder: Path, model: Path) -> None:
    names = ["two\nlines.png", "carriage\rreturn.png"]
    for name in names:
        shutil.copy(KNEE, folder / name)
    given = [folder / name for name in names]
    assert kellgren("grade", *given, "--model", model, "--csv", folder / "t.csv") == 0
    with (folder / "t.csv").open(newline="", encoding="utf-8") as stream:
        assert [row["image"] for row in csv.DictReader(stream)] == [str(path) for path in given]


@pytest.mark.parametrize(
    ("guard", "module", "remedy"),
    [
        (extras.needs_train_extra, "torch", "pip install '.[train]'"),
        (extras.needs_train_extra, "sklearn.metrics", "pip install '.[train]'"),
        (extras.needs_report_extra, "matplotlib.pyplot", "pip install '.[report]'"),
    ],
)
def test_a_missing_library_is_a_missing_extra(
    guard: Callable[[], object], module: str, remedy: str
) -> None:
    with pytest.raises(MissingExtra) as caught, guard():  # type: ignore[attr-defined]
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert remedy in caught.value.remedy
    assert module.split(".")[0] in caught.value.problem


@pytest.mark.parametrize("guard", [extras.needs_train_extra, extras.needs_report_extra])
def test_another_missing_module_is_a_defect_and_stays_one(guard: Callable[[], object]) -> None:
    with pytest.raises(ModuleNotFoundError, match="kellgren"), guard():  # type: ignore[attr-defined]
        raise ModuleNotFoundError("No module named 'kellgren.gone'", name="kellgren.gone")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no names here")
def test_a_pipe_is_no_place_for_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe")
    assert kellgren("grade", folder / "films", "--csv", folder / "pipe") == ExitCode.USAGE
    assert "name a file, or - for" in " ".join(capsys.readouterr().err.split())
    assert sorted(os.listdir(folder)) == ["films", "pipe"]
