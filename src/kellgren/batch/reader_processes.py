"""Processes that grade units of a batch: one that ends takes no file with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from kellgren.batch.units import FileToGrade, Outcome, ReadingFolder, Unit, unit_rows
from kellgren.ensemble import Ensemble
from kellgren.errors import InvalidOption, KellgrenError, UnreadableRadiograph
from kellgren.libraries import silence_dicom_loggers
from kellgren.parallel.blas_threads import one_blas_thread
from kellgren.parallel.interrupts import mapped
from kellgren.reading_schema import ReadingRow

Opening = Callable[[], Ensemble]
"""Opens an ensemble of one thread in another process: it can be pickled."""
Units = tuple[Unit, ...]
_Work = tuple[Ensemble, bool]
_work: list[_Work] = []  # of this process, where it is a worker


@dataclass(frozen=True, slots=True)
class Graded:
    """What came of units.

    Attributes:
        rows: of each of their files.
        seconds: that it took.
        processor_seconds: of the process that graded them, where it did nothing else meanwhile.
    """

    rows: list[list[ReadingRow]]
    seconds: float
    processor_seconds: float = 0.0


def graded_units(
    ensemble: Ensemble, units: Units, *, force: bool, folders: Sequence[ReadingFolder]
) -> Graded:
    """Grade units one after the other."""
    began = time.monotonic()
    rows = unit_rows(ensemble, units, force=force, folders=folders)
    return Graded(rows, time.monotonic() - began)


class ReaderProcesses:
    """Processes that open an ensemble each, at once, and grade units.

    Where one ends in the middle, killed or by a crash of a decoder, the units in hand are graded
    again, one file at a time: the file that ends its process once more is refused.

    Args:
        count: of processes.
        opening: opens the ensemble.
        force: grade what a check refuses too.
        folders: to which pictures and DICOM objects of the readings are written.

    Attributes:
        count: see above.
        folders: likewise; they may be set until units are taken.
        in_hand: the units that it has, by what tells of their end.
        processor_seconds: that all units given so far took.
    """

    def __init__(
        self, count: int, opening: Opening, *, force: bool, folders: Sequence[ReadingFolder] = ()
    ) -> None:
        self.count = count
        self.folders = folders
        self.in_hand: dict[Future[Graded], Units] = {}
        self.processor_seconds = 0.0
        self._begin = (opening, force)
        self._pool: ProcessPoolExecutor | None = _started(count, self._begin)

    def wait_until_up(self) -> None:
        """Wait until each process has opened its ensemble; units may be taken before that.

        Raises:
            InvalidOption: one ended before.
        """
        up: set[int] = set()
        with _told_if_none_begins():
            while len(up) < self.count:
                up |= set(mapped(self._started(), _number, range(self.count)))

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = _started(self.count, self._begin)
        return self._pool

    def take(self, units: Units) -> None:
        """Take units, which one process grades one after the other."""
        future: Future[Graded]
        try:
            future = self._started().submit(_graded_here, units, self.folders)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        self.in_hand[future] = units

    def give(self, future: Future[Graded]) -> Iterator[Graded]:
        """The rows of units that are done, or of all in hand where a process ended."""
        try:
            graded = future.result()
        except BrokenProcessPool:
            self.close()
            lost = [unit for units in self.in_hand.values() for unit in units]
            self.in_hand.clear()
            yield from self._one_by_one(lost)
            return
        del self.in_hand[future]
        self.processor_seconds += graded.processor_seconds
        yield graded

    def _one_by_one(self, units: Sequence[Unit]) -> Iterator[Graded]:
        pool = _pool(1, self._begin)
        try:
            for unit in units:
                # Where both files of a pair were in hand, each is graded alone then.
                for part in (unit, *((file,) for file in unit if len(unit) > 1)):
                    _wait_until_up(pool)
                    try:
                        graded = pool.submit(_graded_here, (part,), self.folders).result()
                    except BrokenProcessPool:
                        pool.shutdown()
                        pool = _pool(1, self._begin)
                        if len(part) > 1:
                            continue
                        graded = Graded([_ended_its_reader(part[0]).rows()], 0.0)
                    yield graded
                    if part is unit:
                        break
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End the processes; units that are not begun are given up."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _ended_its_reader(file: FileToGrade) -> Outcome:
    refused = UnreadableRadiograph(
        file.image, "ended the process that read it, twice", "Export or copy the picture again"
    )
    return Outcome(file.image, note=refused.reason)


def _begin_quiet_tracker() -> None:
    """Begin Python's own process that removes semaphores of a killed one, to do so in silence.

    What it says of them would look like an error of a batch that `--resume` goes on with.
    """
    if sys.platform == "win32":
        return
    from multiprocessing import resource_tracker

    before = os.environ.get("PYTHONWARNINGS")
    wanted = "ignore:resource_tracker:UserWarning"
    os.environ["PYTHONWARNINGS"] = wanted if before is None else f"{before},{wanted}"
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _pool(count: int, begin: tuple[Opening, bool]) -> ProcessPoolExecutor:
    _begin_quiet_tracker()
    # A copy of this process would hold locks of the engine's threads, which it does not have.
    own = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, own, initializer=_begin_work, initargs=begin)


def _started(count: int, begin: tuple[Opening, bool]) -> ProcessPoolExecutor:
    """A pool whose processes begin now, not with the first units: they take a second."""
    pool = _pool(count, begin)
    with _deaf_to_interrupts(), suppress(BrokenProcessPool):
        for _ in range(count):  # a task that finds no idle process begins one
            pool.submit(_is_up)
    return pool


def _begin_work(opening: Opening, force: bool) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    silence_dicom_loggers()
    one_blas_thread()
    try:
        _work.append((opening(), force))
    except KellgrenError:
        os._exit(1)  # what started this process opens the same, and tells why it cannot


def _end_with_parent() -> None:
    """A killed batch leaves no process behind that waits for work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _wait_until_up(pool: ProcessPoolExecutor) -> None:
    """Tell a process that cannot begin from one that a file ends."""
    with _told_if_none_begins():
        with _deaf_to_interrupts():
            up = pool.submit(_is_up)
        up.result()


@contextmanager
def _told_if_none_begins() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise InvalidOption(
            "workers", "are processes that cannot start here", "Try fewer, or --workers 1"
        ) from None


def _is_up() -> bool:
    return bool(_work)


def _number(_: int) -> int:
    time.sleep(0.02)  # an idle process takes the next question meanwhile
    return os.getpid()


def _graded_here(units: Units, folders: Sequence[ReadingFolder]) -> Graded:
    ((ensemble, force),) = _work
    began = time.process_time()
    graded = graded_units(ensemble, units, force=force, folders=folders)
    return replace(graded, processor_seconds=time.process_time() - began)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal: those that begin within this do not hear it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
