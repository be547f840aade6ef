"""A film whose reading did not end is read alone: in a process of its own, limited and watched.

Several films and everything else of a station share one process, so its death proves nothing about
any of them. Here the film is alone with its process, and how that ends tells who was at fault.

Run as a module, this file is that process: a JSON line on standard input; on standard output a line
when it begins to read, and one with the outcome.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from kellgren.ensemble import Ensemble
from kellgren.libraries import silence_dicom_loggers
from kellgren.pacs.answering import Outcome, read_film
from kellgren.web.settings import Limits
from kellgren.web.workers.confinement import confine, grader_environment

_DISK_TROUBLE = 75
_FROM_OUTSIDE = frozenset(
    getattr(signal, name, 0) for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
) - {0}
_START_S, _STEP_S = 120.0, 0.2
_LIMITS = Limits()


class ReadingFailed(Exception):
    """The process ended without an answer.

    Args:
        text: what happened.
        at_fault: the film was the cause beyond doubt: its process crashed, or took too long.
    """

    def __init__(self, text: str, *, at_fault: bool) -> None:
        super().__init__(text)
        self.at_fault = at_fault


def read_alone(
    ensemble: Ensemble,
    film: Path,
    folder: Path,
    *,
    refusals: bool,
    is_stopping: Callable[[], bool],
    seconds: float = _LIMITS.case_seconds,
) -> Outcome:
    """Read a film as `read_film` does, in a process of its own.

    Args:
        ensemble: that the process opens again, with one thread.
        film: a DICOM file.
        folder: of the answer, empty.
        refusals: see `read_film`.
        is_stopping: asked now and then; where it is true the process is ended.
        seconds: that it may take once its process has begun.

    Raises:
        ReadingFailed: it did not end as it should.
        OSError: the disk is full, or broken; or no process can be started.
    """
    words = [sys.executable, "-m", "kellgren.pacs.alone"]
    task = {
        "bundle": str(ensemble.bundle.folder),
        "model": ensemble.model,
        "film": str(film),
        "folder": str(folder),
        "refusals": refusals,
    }
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=grader_environment(os.environ),
        )
    except OSError as error:
        text = f"no process could be started ({error.strerror})"
        raise ReadingFailed(text, at_fault=False) from None
    with child:
        begun, _, said = _awaited(child, json.dumps(task), seconds, is_stopping).partition("\n")
    if child.returncode == _DISK_TROUBLE:
        raise OSError(*json.loads(said))
    if child.returncode:
        raise _death(child.returncode, has_begun=bool(begun))
    return Outcome(**json.loads(said))


def _awaited(
    child: subprocess.Popen[bytes], task: str, seconds: float, is_stopping: Callable[[], bool]
) -> str:
    """All that the process says; it has ended."""
    assert child.stdin is not None
    assert child.stdout is not None
    said, end = b"", time.monotonic() + _START_S
    with suppress(OSError):  # it is gone already
        child.stdin.write(task.encode() + b"\n")
        child.stdin.close()
    while time.monotonic() < end:
        if select.select([child.stdout], [], [], _STEP_S)[0]:
            block = os.read(child.stdout.fileno(), 2**16)
            if not block:
                child.wait()
                return said.decode()
            if not said:  # it begins to read
                end = time.monotonic() + seconds
            said += block
        if is_stopping():
            child.kill()
            raise ReadingFailed("the station stops", at_fault=False)
    child.kill()
    if not said:
        raise ReadingFailed("its process did not begin in time", at_fault=False)
    raise ReadingFailed(f"it took longer than {seconds:g} s", at_fault=True)


def _death(code: int, *, has_begun: bool) -> ReadingFailed:
    if -code in _FROM_OUTSIDE:
        return ReadingFailed("its process was killed from outside", at_fault=False)
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    if not has_begun:  # the model could not be opened, say
        return ReadingFailed(f"its process ended before it, with {how}", at_fault=False)
    return ReadingFailed(f"its process ended with {how}", at_fault=True)


def _opened(folder: str, model: dict[str, str]) -> Ensemble:
    return Ensemble.open(
        folder,
        engine=cast(Any, model["engine"]),
        precision=cast(Any, model["precision"]),
        threads=1,
        mirror=model["mirror"] == "averaged",
        pair=model["other_knee"] == "used",
        level=float(model["level"]),
        always_grade=model["naming"] == "always",
    )


def main() -> None:
    """Read the film that standard input names."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # native libraries print where they like
    confine(_LIMITS.grader_bytes)
    silence_dicom_loggers()
    task = json.loads(sys.stdin.readline())
    film, folder = Path(task["film"]), Path(task["folder"])
    ensemble = _opened(task["bundle"], task["model"])
    if ensemble.model != task["model"]:  # the bundle was replaced meanwhile
        sys.exit(1)
    answers.write("reading\n")
    answers.flush()
    try:
        outcome = read_film(ensemble, film, folder, refusals=task["refusals"])
    except OSError as error:
        with answers:
            json.dump([error.errno, error.strerror], answers)
        sys.exit(_DISK_TROUBLE)
    with answers:
        json.dump(asdict(outcome), answers)


if __name__ == "__main__":
    main()
