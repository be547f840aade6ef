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

HANDED_ON = """
import signal
from kellgren.parallel.interrupts import interrupts_noted
heard = []
press = lambda: signal.raise_signal(signal.SIGINT)
signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
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


@pytest.mark.parametrize(
    "program",
    [
        """
with interrupts_noted() as heed:  # the handler of before hears each once
    press()
    assert not heard
    heed()
    heed()
    assert len(heard) == 1
    press()  # whoever presses again does not want to wait
    assert len(heard) == 2
press()
assert len(heard) == 3
""",
        """
with interrupts_noted(), interrupts_noted():  # what nobody heeded is heard at the end
    press()
    assert not heard
assert len(heard) == 1
""",
        """
late = interrupts_noted()  # as a batch that is not read to its end, when it is collected
late.__enter__()
before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(-number))
late.__exit__(None, None, None)
press()
assert heard == [-signal.SIGINT]
signal.signal(signal.SIGINT, before)  # hands it on to the one before at once
press()
assert heard == [-signal.SIGINT, signal.SIGINT]
""",
    ],
    ids=["each once", "at the end", "late"],
)
def test_a_signal_is_handed_on(program: str) -> None:
    """In a process of its own: a worker of the tests may have had other handlers."""
    ended = finished([sys.executable, "-c", HANDED_ON + program])
    assert (ended.returncode, ended.stderr) == (0, "")
