"""What several files of tests share: how many threads they use, and a small world to train in."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kellgren.data.manifest import Knee

# Modules are compiled once and kept, also where the environment says otherwise: a hundred processes
# that each compile what they import took a fifth of the suite's processor time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Tests that import onnxruntime by themselves, not as the package does, must send nothing either.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.pop("COLUMNS", None)  # of the workers, 80: names of a test's folders are longer
if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: two threads each would only wait
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the tests in the background makes their children deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A file is one worker's. Begun last, one of these would keep it busy when the others have ended.
LONGEST_FIRST = (
    "tests/training/reproduction/test_paper_networks.py",
    "tests/web/test_web_page.py",
    "tests/house/test_house.py",
    "tests/training/architectures/test_architectures.py",
    "tests/output/test_anonymity.py",
    "tests/web/test_web_server.py",
    "tests/pacs/test_listen.py",
    "tests/batch/test_batch.py",
    "tests/training/runners/test_borrowed_machine.py",
    "tests/training/runners/test_campaign_team.py",
    "tests/doors/test_three_doors.py",
)
# In a fresh environment nothing is compiled, and workers that import the same at the same time each
# compile all of it: most of the time until the first test. So each begins with its own libraries.
FIRST_IMPORTS = (
    ("kellgren.training.runners.team",),  # torch
    ("sympy", "sklearn.model_selection", "matplotlib.figure", "schemathesis", "timm"),
    ("kellgren.cli", "kellgren.web.app", "kellgren.pacs.station", "kellgren.evaluation_report"),
)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: a quarter of their time they wait for servers and processes."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imports make a million objects that stay: a quarter of the time went into looking at them."""
    gc.disable()
    try:
        import_the_first()
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # libraries count what they leave


def import_the_first() -> None:
    """What this worker imports, and so compiles, before the others; the rest comes with tests."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    for name in FIRST_IMPORTS[int(worker[2:]) % len(FIRST_IMPORTS)] if worker else ():
        with suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others in their order."""
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


@pytest.fixture(scope="module")
def small_world() -> Iterator[None]:
    """The tiny network is known, and chance is put back after."""
    from tiny_training import tiny_world

    with tiny_world():
        yield


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not rendered: for tests that look at what is told beside them."""

    def savefig(_: object, stream: IO[Any], *, format: str, **__: object) -> None:
        stream.write("<svg />" if format == "svg" else b"")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)


@pytest.fixture(scope="session")
def knees(tmp_path_factory: pytest.TempPathFactory) -> list[Knee]:
    """Twelve graded knees of twelve patients."""
    from tiny_training import copied_knees

    return copied_knees(tmp_path_factory.mktemp("knees"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny bundle."""
    from bundle_factory import make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny").folder
