"""Processes that grade units of a batch: one that ends takes no file with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from kellgren.batch.units import FileToGrade, ReadingFolder, Unit, unit_rows
from kellgren.ensemble import Ensemble
from kellgren.errors import InvalidOption, UnreadableRadiograph
from kellgren.library_messages import silence_dicom_loggers
from kellgren.reading_schema import ReadingRow, UngradedRow

Opening = Callable[[], Ensemble]
"""Opens an ensemble of one thread in another process: it can be pickled."""
UnitRows = list[list[ReadingRow]]
_Work = tuple[Ensemble, bool, Sequence[ReadingFolder]]
IN_HAND = 2
"""Units of a worker: the one that it grades, and the next."""
_work: list[_Work] = []  # of this process, where it is a worker


class ReaderProcesses:
    """Processes that open an ensemble each, and grade units.

    Where one ends in the middle, killed or by a crash of a decoder, the units in hand are graded
    again, one file at a time: the file that ends its process once more is refused.

    Args:
        count: of processes.
        opening: opens the ensemble.
        force: grade what a check refuses too.
        folders: to which pictures and DICOM objects of the readings are written.
    """

    def __init__(
        self, count: int, opening: Opening, *, force: bool, folders: Sequence[ReadingFolder]
    ) -> None:
        self.capacity = IN_HAND * count
        self.in_hand: dict[Future[UnitRows], Unit] = {}
        self._count = count
        self._begin = (opening, force, folders)
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, unit: Unit) -> Future[UnitRows]:
        """Take one unit."""
        if self._pool is None:
            self._pool = _pool(self._count, self._begin)
        try:
            with _deaf_to_interrupts():  # the processes begin here
                return self._pool.submit(_rows_here, unit)
        except BrokenProcessPool as error:
            failed: Future[UnitRows] = Future()
            failed.set_exception(error)
            return failed

    def result(self, future: Future[UnitRows]) -> Iterator[tuple[Unit, UnitRows]]:
        """The rows of the unit that is done, or of all in hand where a process ended."""
        try:
            rows = future.result()
        except BrokenProcessPool:
            self.close()
            lost, self.in_hand = list(self.in_hand.values()), {}
            yield from self._one_by_one(lost)
            return
        yield self.in_hand.pop(future), rows

    def _one_by_one(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, UnitRows]]:
        pool = _pool(1, self._begin)
        try:
            for unit in units:
                for part in (unit, *((file,) for file in unit if len(unit) > 1)):
                    _wait_until_up(pool)
                    try:
                        rows = pool.submit(_rows_here, part).result()
                    except BrokenProcessPool:
                        pool.shutdown()
                        pool = _pool(1, self._begin)
                        if len(part) > 1:
                            continue  # each of its files alone
                        rows = [[_ended_its_reader(part[0])]]
                    yield part, rows
                    if part is unit:
                        break
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End the processes; units that are not begun are given up."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _ended_its_reader(file: FileToGrade) -> UngradedRow:
    refused = UnreadableRadiograph(
        file.image, "ended the process that read it, twice", "Export or copy the picture again"
    )
    return UngradedRow(image=file.image, side="", grade=None, note=refused.reason)


def _pool(count: int, begin: tuple[Opening, bool, Sequence[ReadingFolder]]) -> ProcessPoolExecutor:
    # A copy of this process would hold locks of the engine's threads, which it does not have.
    own = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, own, initializer=_begin_work, initargs=begin)


def _begin_work(opening: Opening, force: bool, folders: Sequence[ReadingFolder]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    silence_dicom_loggers()
    _work.append((opening(), force, folders))


def _end_with_parent() -> None:
    """A killed batch leaves no process behind that waits for work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _wait_until_up(pool: ProcessPoolExecutor) -> None:
    """Tell a process that cannot begin from one that a file ends."""
    try:
        with _deaf_to_interrupts():
            up = pool.submit(_is_up)
        up.result()
    except BrokenProcessPool:
        raise InvalidOption(
            "workers", "are processes that cannot start here", "Try fewer, or --workers 1"
        ) from None


def _is_up() -> bool:
    return bool(_work)


def _rows_here(unit: Unit) -> UnitRows:
    ((ensemble, force, folders),) = _work
    return unit_rows(ensemble, unit, force=force, folders=folders)


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
