"""Importing the package, and reading films in threads, leave the process as it was."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom import config

from command_line import EXAMPLES, finished
from dicom_factory import write_dicom
from kellgren.atomic_files import written_whole
from kellgren.imaging.radiograph import read_radiograph
from kellgren.libraries import library_messages_dropped

# Libraries change what they like when they are imported first, so the package is imported twice; in
# between, the process is put into a state that nobody would set by chance.
_IMPORT_TWICE = """
import importlib, json, locale, logging, os, pkgutil, signal, sys, threading, warnings

environment = dict(os.environ)

def import_all():
    import kellgren
    names = ["kellgren"] + [
        module.name for module in pkgutil.walk_packages(kellgren.__path__, "kellgren.")
        if not module.name.endswith("__main__")
    ]
    for name in names:
        importlib.import_module(name)
    return names

def loggers():
    known = list(logging.Logger.manager.loggerDict.items())
    return {"root": logging.getLogger(), **{
        name: logger for name, logger in known if isinstance(logger, logging.Logger)
    }}

def state():
    mask = os.umask(0)
    os.umask(mask)
    return {
        "logging": {
            name: [logger.level, str(logger.handlers), str(logger.filters), logger.propagate,
                   logger.disabled]
            for name, logger in loggers().items() if not name.startswith("kellgren")
        },
        "logging.disable": logging.root.manager.disable,
        "warnings": str(warnings.filters),
        "showwarning": str(warnings.showwarning),
        "umask": mask,
        "locale": locale.setlocale(locale.LC_ALL),
        "signals": str([signal.getsignal(number) for number in signal.valid_signals()]),
        "hooks": str([sys.excepthook, threading.excepthook, sys.unraisablehook]),
        "environment": dict(os.environ),
        "streams": str([sys.stdout, sys.stderr, sys.stdin]),
    }

import_all()
for logger in loggers().values():
    logger.handlers.clear()
    logger.filters.clear()
    logger.level, logger.propagate, logger.disabled = 7, True, False
warnings.resetwarnings()
os.umask(0o123)
locale.setlocale(locale.LC_ALL, "C.UTF-8")
sys.excepthook = threading.excepthook = sys.unraisablehook = lambda *_: None
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
    signal.signal(number, lambda *_: None)
os.environ.clear()
os.environ.update(environment)
for name in [name for name in sys.modules if name.split(".")[0] == "kellgren"]:
    del sys.modules[name]
before = state()
imported = import_all()
after = state()
changed = {key: [before[key], after[key]] for key in after if before[key] != after[key]}
print(json.dumps({"imported": imported, "changed": changed}))
"""
UNKNOWN_CHARACTERS = "ISO_IR 9741"
MARK = "9741"


@pytest.mark.skipif(os.name != "posix", reason="signals and modes are POSIX")
def test_importing_every_module_changes_nothing_of_the_process() -> None:
    done = finished([sys.executable, "-W", "ignore", "-c", _IMPORT_TWICE])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"kellgren.imaging.radiograph", "kellgren.training.member.loop"} <= set(
        found["imported"]
    )
    assert found["changed"] == {}


@pytest.fixture(autouse=True)
def loggers_as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of the command line, in this process before, have silenced them."""
    for name in ("pydicom", "pynetdicom"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """DICOM films with a value that pydicom warns of and logs, a broken one, and a PNG."""
    folder = tmp_path_factory.mktemp("films")
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 4096
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)
        noisy = write_dicom(
            folder / "noisy.dcm", pixels, bits=12, SpecificCharacterSet=UNKNOWN_CHARACTERS
        )
    return [noisy, EXAMPLES / "9177337R.png"]


@pytest.fixture
def records() -> Iterator[list[str]]:
    """Everything that any logger says, down to DEBUG."""
    told: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(f"{record.name}: {record.getMessage()}")

    recorder, root = Recorder(), logging.getLogger()
    level = root.level
    root.addHandler(recorder)
    root.setLevel(logging.DEBUG)
    yield told
    root.removeHandler(recorder)
    root.setLevel(level)


def test_pydicom_warns_of_the_value_and_logs_it(films: list[Path], records: list[str]) -> None:
    """Without the block, both ways are open: else the tests below would prove nothing."""
    from kellgren.imaging.dicom.reader import read_dicom

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        read_dicom(films[0].read_bytes())
    assert any(MARK in str(one.message) for one in warned)
    assert any(MARK in record for record in records)


def test_threads_that_read_leave_warnings_and_logging_alone(
    films: list[Path], records: list[str]
) -> None:
    filters, showwarning = list(warnings.filters), warnings.showwarning
    logger = logging.getLogger("pydicom")
    before = (logger.level, list(logger.handlers), list(logger.filters), logger.propagate)
    reading = threading.Event()
    told_meanwhile = []

    def read(path: Path) -> int:
        reading.set()
        return int(read_radiograph(path).pixels.size)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        inside = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            done = [pool.submit(read, path) for path in films * 40]
            reading.wait()
            while not all(one.done() for one in done):
                warnings.warn("of this thread", UserWarning, stacklevel=1)
                logger.warning("of this thread")
                told_meanwhile.append(1)
            assert all(one.result() > 0 for one in done)
        assert list(warnings.filters) == inside

    assert list(warnings.filters) == filters
    assert warnings.showwarning is showwarning
    after = (logger.level, list(logger.handlers), list(logger.filters), logger.propagate)
    assert after == before
    assert told_meanwhile
    assert [str(one.message) for one in warned] == ["of this thread"] * len(told_meanwhile)
    assert records.count("pydicom: of this thread") == len(told_meanwhile)
    assert not any(MARK in record for record in records)


def test_no_warning_of_another_thread_is_lost_when_blocks_begin_and_end() -> None:
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with library_messages_dropped():
                pass

    interval = sys.getswitchinterval()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=read) for _ in range(4)]
        try:
            sys.setswitchinterval(1e-6)
            for thread in threads:
                thread.start()
            for _ in range(20_000):
                warnings.warn("of this thread", UserWarning, stacklevel=1)
        finally:
            sys.setswitchinterval(interval)
            ended.set()
            for thread in threads:
                thread.join()
    assert len(warned) == 20_000


def test_a_block_ends_for_its_thread_when_an_error_leaves_it() -> None:
    filters = list(warnings.filters)

    @library_messages_dropped()
    def nested() -> None:
        with library_messages_dropped():
            warnings.warn("dropped", UserWarning, stacklevel=1)
        warnings.warn("dropped too", UserWarning, stacklevel=1)
        raise ValueError("once")

    with pytest.raises(ValueError, match="once"):
        nested()
    assert list(warnings.filters) == filters
    with pytest.warns(UserWarning, match="told"):
        warnings.warn("told", UserWarning, stacklevel=1)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_writing_a_file_never_asks_for_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(mask: int) -> int:
        raise AssertionError(f"the umask was set to {mask:o} for the whole process")

    monkeypatch.setattr(os, "umask", changed)
    with written_whole(tmp_path / "table.csv") as stream:
        stream.write("x")
    assert (tmp_path / "table.csv").read_text() == "x"
