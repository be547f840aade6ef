from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kellgren.atomic_files import (
    CannotWrite,
    remove_left_behind,
    replaced_whole,
    taken_alone,
    written_whole,
)


def test_a_file_is_written_and_its_folder_made(tmp_path: Path) -> None:
    with written_whole(tmp_path / "new/table.csv") as stream:
        stream.write("Gonarthrose, geprüft\n")
    assert (tmp_path / "new/table.csv").read_bytes() == "Gonarthrose, geprüft\n".encode()
    assert os.listdir(tmp_path / "new") == ["table.csv"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with written_whole(path) as stream:
        stream.write("new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_what_a_killed_process_left_of_a_file_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = [".[a] table.0123abcd.csv", ".[a] table.ffffffff.csv"]
    others = ["[a] table.csv", ".[a] table.notes.csv", ".table.0123abcd.csv", ".a.0123abcd.csv"]
    for name in (*left, *others):
        (tmp_path / name).touch()
    remove_left_behind(tmp_path / "[a] table.csv")
    assert sorted(os.listdir(tmp_path)) == sorted(others)


@pytest.mark.parametrize("crash", [ValueError, KeyboardInterrupt, OSError(28, "disk full")])
def test_a_crash_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, crash: BaseException | type[BaseException]
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def interrupted() -> None:
        with written_whole(path) as stream:
            stream.write("half")
            raise crash

    with pytest.raises((ValueError, KeyboardInterrupt, OSError)):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_crash_before_the_first_file_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with replaced_whole(tmp_path / "model.onnx") as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    script = (
        "import sys, time, pathlib\n"
        "from kellgren.atomic_files import written_whole\n"
        "with written_whole(pathlib.Path(sys.argv[1])) as stream:\n"
        "    stream.write('half'); stream.flush(); print('writing', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    left = [name for name in os.listdir(tmp_path) if name != "table.csv"]
    assert all(name.startswith(".table.") for name in left), "an index skips hidden files"


def test_the_temporary_lies_beside_the_file_with_its_suffix(tmp_path: Path) -> None:
    with replaced_whole(tmp_path / "model.onnx") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".onnx")
        temporary.write_bytes(b"whole")
    assert (tmp_path / "model.onnx").read_bytes() == b"whole"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_others_may_read_the_file_as_the_umask_allows(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with written_whole(tmp_path / "table.csv") as stream:
            stream.write("x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "table.csv").stat().st_mode) == 0o640


def test_a_lock_is_one_holders_until_it_is_closed_or_its_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    held = taken_alone(path)
    assert held is not None
    assert taken_alone(path) is None
    path.unlink()  # as its holder does at its end
    held.close()
    hold = (
        "import sys, time\nfrom pathlib import Path\n"
        "from kellgren.atomic_files import taken_alone\n"
        "held = taken_alone(Path(sys.argv[1]))\n"
        "print(held is not None, flush=True); time.sleep(600)"
    )
    words = [sys.executable, "-c", hold, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert taken_alone(path) is None
        process.kill()
    again = taken_alone(path)
    assert again is not None
    again.close()


def test_a_pipe_or_device_is_left_where_it_is(tmp_path: Path) -> None:
    """Renamed over `/dev/null`, a table would take it away from the whole machine."""
    pipe, link = tmp_path / "pipe", tmp_path / "stdout"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        refused = pytest.raises(CannotWrite, match="a device, a pipe or a socket")
        with refused as caught, written_whole(path):
            raise AssertionError("nothing is written")
        assert str(path) in str(caught.value)
    assert stat.S_ISFIFO(link.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["pipe", "stdout"]


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    for letter in ("n", "\N{LATIN SMALL LETTER E WITH ACUTE}"):
        name = letter * (251 // len(letter.encode())) + ".csv"
        with written_whole(tmp_path / name) as stream:
            stream.write("1")
        assert (tmp_path / name).read_text() == "1"
