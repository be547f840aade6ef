"""How commands end where they cannot do what was asked: one line, the user's own file, a code."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, PATIENCE, command, environment, finished, kellgren
from kellgren.atomic_files import CannotWrite, replaced_whole, writing, written_whole
from kellgren.cli.exit_codes import ExitCode
from kellgren.cli.manners.endings import NOTHING_KEPT, code_of, endings, interrupted_leaves
from kellgren.errors import BundleError, CannotKeep, InvalidManifest

KNEE = EXAMPLES / "9177337L.png"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny").folder


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_of_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("before")
    with pytest.raises(CannotWrite) as caught, written_whole(path):
        full_disk()
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device). Free space there, or name another "
        "place."
    )
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["t.csv"]


def test_an_error_about_another_file_stays_about_that_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replaced_whole(tmp_path / "t.csv"):
        (tmp_path / "elsewhere" / "source.png").read_bytes()
    assert caught.value.filename == str(tmp_path / "elsewhere" / "source.png")


def test_an_error_about_a_journal_is_told_of_its_table(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite) as caught, writing(tmp_path / "t.csv"):
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / ".t.csv.journal"))
    assert caught.value.filename == str(tmp_path / "t.csv")
    assert "permissions" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BundleError("b", "is damaged", "Restore it"), ExitCode.MODEL_MISSING),
        (CannotKeep("c", "cannot be kept", "Free space"), ExitCode.CANNOT_WRITE),
        (CannotWrite(errno.ENOSPC, "full", "t.csv"), ExitCode.CANNOT_WRITE),
        (OSError(errno.EACCES, "denied", "folder"), ExitCode.CANNOT_WRITE),
        (OSError(errno.EIO, "input/output error", "disk"), ExitCode.SOME_FAILED),
        (InvalidManifest("m", "is empty", "Fill it"), ExitCode.USAGE),
    ],
)
def test_each_error_has_its_code(error: OSError, code: ExitCode) -> None:
    assert code_of(error) == code
    with pytest.raises(SystemExit) as end, endings():
        raise error
    assert end.value.code == code


def test_a_copy_to_a_full_disk_is_told_of_the_copy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, endings():  # as `shutil.copyfile` tells
        raise OSError(errno.ENOSPC, "No space left on device", "run/a.onnx", None, "model/a.onnx")
    assert end.value.code == ExitCode.CANNOT_WRITE
    assert capsys.readouterr().err.startswith("error: model/a.onnx: cannot be written (No space")


@LINUX
def test_standard_output_on_a_full_disk_is_no_traceback(model: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("grade", KNEE, "--model", model, "--csv", "-"),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == ExitCode.CANNOT_WRITE
    assert "error: standard output: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_table_whose_folder_is_a_file_ends_before_grading(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    table = tmp_path / "file" / "t.csv"
    given = ("grade", KNEE, "--model", model, "--csv", table)
    assert kellgren(*given) == ExitCode.CANNOT_WRITE
    assert capsys.readouterr().err.startswith(f"error: {table}: cannot be written (")
    assert kellgren("data", "index", EXAMPLES / "grades.csv", "-o", table) == ExitCode.CANNOT_WRITE


@pytest.mark.parametrize("option", ["--overlay", "--dicom-out"])
def test_a_folder_that_is_a_file_is_told_with_the_remedy(
    option: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    words = ("grade", EXAMPLES / "9177337R.png", "--model", model, option, tmp_path / "out")
    assert kellgren(*words) == ExitCode.CANNOT_WRITE
    said = capsys.readouterr().err
    assert f"{tmp_path / 'out'}: cannot be written (File exists)" in said
    assert "A file is where a folder is needed" in said
    assert (tmp_path / "out").read_text() == "mine"


def test_ctrl_c_says_what_this_command_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), endings(), interrupted_leaves("two epochs are kept"):
        sys.exit(ExitCode.INTERRUPTED)
    assert capsys.readouterr().err == "interrupted: two epochs are kept\n"
    with pytest.raises(SystemExit), endings():
        _interrupted_later()
    assert capsys.readouterr().err == f"interrupted: {NOTHING_KEPT}\n"
    with pytest.raises(SystemExit) as end, endings():
        raise KeyboardInterrupt
    assert end.value.code == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == f"interrupted: {NOTHING_KEPT}\n"


def _interrupted_later() -> None:
    with interrupted_leaves("two epochs are kept"):
        pass
    sys.exit(ExitCode.INTERRUPTED)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("table", [True, False])
def test_ctrl_c_in_a_batch_is_true_of_it(tmp_path: Path, model: Path, table: bool) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for number in range(400):
        shutil.copy(KNEE, films / f"{number:03}.png")
    csv = tmp_path / "t.csv"
    given = ["grade", films, "--model", model, "--workers", "1", "--overlay", tmp_path / "pictures"]
    if table:
        given += ["--csv", csv]
    process = subprocess.Popen(
        command(*given),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    begun = time.monotonic()
    while not list((tmp_path / "pictures").glob("*.png")) and time.monotonic() - begun < PATIENCE:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == ExitCode.INTERRUPTED
    assert out == ""
    assert "Traceback" not in err
    if table:
        assert err.endswith(
            f"interrupted: finished files are kept beside {csv}; the same command with --resume "
            "goes on\n"
        )
        assert csv.with_name(".t.csv.journal").is_file()
    else:
        assert err.endswith("interrupted: no row is kept without --csv FILE or --json FILE\n")
    assert not csv.exists()


def test_a_refusal_is_said_once(tmp_path: Path, model: Path) -> None:
    Image.new("L", (300, 300), 90).save(tmp_path / "blank.png")
    done = finished(command("grade", tmp_path / "blank.png", "--model", model))
    assert done.returncode == ExitCode.NOTHING_GRADED
    assert (done.stdout + done.stderr).count("every pixel has the same value") == 1
    assert (done.stdout + done.stderr).count("blank.png") == 1
