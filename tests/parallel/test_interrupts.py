"""Ctrl-C at the worst moment: while the main thread holds a lock that others wait for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from command_line import EXAMPLES, finished
from kellgren.cli.exit_codes import ExitCode

AT_A_LOCK = """
import signal, sys, threading, time
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from kellgren.cli import main
from kellgren.parallel.interrupts import mapped
enter, press_at, taken = threading.Condition.__enter__, int(sys.argv[1]), 0
def pressed_inside(condition):
    global taken
    entered = enter(condition)
    if threading.get_ident() == threading.main_thread().ident and begun():
        taken += 1
        if taken == press_at:
            signal.raise_signal(signal.SIGINT)
    return entered
threading.Condition.__enter__ = pressed_inside
"""
MAPPED = """
done = []
def begun():
    return done
try:
    with ThreadPoolExecutor(2) as pool:
        for result in mapped(pool, lambda item: time.sleep(0.01), range(1000)):
            done.append(result)
except KeyboardInterrupt:
    print(len(done))
"""
GRADED = """
def begun():
    return journal.exists() and journal.read_bytes().count(b"\\n") > 2
journal = Path(sys.argv[2])
sys.argv[1:] = sys.argv[3:]
main()
"""


@pytest.mark.parametrize("lock", [1, 2, 3, 4])
def test_what_threads_do_ends(lock: int) -> None:
    ended = finished([sys.executable, "-c", AT_A_LOCK + MAPPED, str(lock)])

    assert 0 < int(ended.stdout) < 100


@pytest.mark.parametrize(("workers", "lock"), [(1, 1), (1, 2), (2, 1), (2, 3)])
def test_a_batch_ends_and_keeps_what_is_done(
    bundle: Path, tmp_path: Path, workers: int, lock: int
) -> None:
    for number in range(64):
        (tmp_path / f"{number}.png").symlink_to(EXAMPLES / "9103968L.png")
    target, journal = tmp_path / "table.csv", tmp_path / ".table.csv.journal"
    grade = ["grade", str(tmp_path), "--model", str(bundle), "--csv", str(target)]

    program = [sys.executable, "-c", AT_A_LOCK + GRADED, str(lock), str(journal)]
    ended = finished([*program, *grade, "--workers", str(workers)])

    assert ended.returncode == ExitCode.INTERRUPTED
    assert "--resume goes on" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert 2 < journal.read_bytes().count(b"\n") < 64
