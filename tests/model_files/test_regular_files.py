"""A file is read by one opening of its path, and nothing endless is read; memory is bounded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kellgren.model_files.memory import unusable, with_memory_errors
from kellgren.model_files.regular import read_regular

_BEYOND_THE_BOUND = """
import resource
import numpy as np
from kellgren.model_files.memory import bounded_memory

before = resource.getrlimit(resource.RLIMIT_DATA)
with bounded_memory(2**28):
    np.empty(2**20)
    try:
        np.empty(2**29, dtype=np.uint8)
    except MemoryError:
        pass
    else:
        raise AssertionError("512 MiB where 256 MiB are the most")
    assert resource.getrlimit(resource.RLIMIT_DATA)[1] == before[1]
assert resource.getrlimit(resource.RLIMIT_DATA) == before
assert np.empty(2**29, dtype=np.uint8).nbytes == 2**29
"""


def test_a_regular_file_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "none").write_bytes(b"")
    assert read_regular(tmp_path / "file", 7) == read_regular(tmp_path / "link", 8) == b"content"
    assert read_regular(tmp_path / "none", 0) == b""
    with pytest.raises(ValueError, match="it has 7 bytes, 6 are the most possible"):
        read_regular(tmp_path / "file", 6)


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "folder", "link to /dev/zero"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    match kind:
        case "pipe":
            os.mkfifo(path)  # nobody will ever write into it
        case "folder":
            path.mkdir()
        case "link to /dev/zero":
            path.symlink_to("/dev/zero")
        case _:
            path = Path(kind)
    with pytest.raises(OSError, match=r"regular|directory"):
        read_regular(path, 100)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces the limit")
def test_memory_beyond_the_bound_is_refused_and_the_limit_ends_with_the_block() -> None:
    # In a process of its own: one that has freed much uses that again, and nothing grows.
    subprocess.run([sys.executable, "-c", _BEYOND_THE_BOUND], check=True, timeout=60)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("it has no output logits"), "it has no output logits"),
        (MemoryError(), "it needs over 4 GiB of memory"),
        (RuntimeError("at x.cpp:3\nstd::bad_alloc\n"), "it needs over 4 GiB of memory"),
        (RuntimeError("/home/someone/x.cpp: bad node"), "RuntimeError"),
    ],
)
def test_a_runtimes_own_words_are_not_repeated(error: Exception, words: str) -> None:
    problem = f"is not a network this version can run ({words})"
    assert unusable(Path("a.onnx"), error, "Restore it").reason == f"{problem}. Restore it."


def test_a_network_is_not_blamed_for_the_memory_that_a_process_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (300 * 2**20, resource.RLIM_INFINITY))
    found = unusable(Path("a.onnx"), RuntimeError("Failed to allocate memory"), "Restore it")
    assert found.reason == (
        "cannot be opened: this process may take 300 MiB of memory. Raise its limit, which"
        " ulimit -v shows."
    )
    assert "RuntimeError" in unusable(Path("a.onnx"), RuntimeError("bad node"), "Restore it").reason


def test_a_runtime_without_memory_raises_memory_error() -> None:
    def run(error: Exception) -> None:
        raise error

    with pytest.raises(MemoryError):
        with_memory_errors(run)(RuntimeError("[ONNXRuntimeError] Failed to allocate memory"))
    with pytest.raises(RuntimeError, match="bad node"):
        with_memory_errors(run)(RuntimeError("bad node"))
