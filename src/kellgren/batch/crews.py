"""Units of work side by side: in threads of this process, and in processes beside it.

The networks let go of Python's lock while they compute, all else of a knee does not: threads serve
a few files, processes many. This process always grades too, so that nothing waits for the others
to start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from kellgren.batch.reader_processes import (
    Graded,
    ReaderProcesses,
    Units,
    graded_units,
)
from kellgren.batch.units import ReadingFolder, Unit
from kellgren.ensemble import Ensemble
from kellgren.parallel.blas_threads import one_blas_thread
from kellgren.parallel.interrupts import Heed, first_done, interrupts_noted
from kellgren.reading_schema import ReadingRow

_IN_HAND = 2  # handfuls of a worker: the one that it grades, and the next
_HANDFUL_S = 0.1  # how long a handful may take, so that none waits for another at the end
_MOST_UNITS = 64


class Crew(Protocol):
    """Workers that take units, a handful at a time."""

    count: int
    in_hand: dict[Future[Graded], Units]

    def take(self, units: Units) -> None:
        """Take units, which one worker grades one after the other."""

    def give(self, future: Future[Graded]) -> Iterator[Graded]:
        """What came of units whose future is done."""

    def close(self) -> None:
        """End the workers; units that are not begun are given up."""


class ReaderThreads:
    """Threads of this process, which share an ensemble.

    Args:
        count: of threads.
        ensemble: of one thread where there are several.
        force: grade what a check refuses too.
        folders: to which pictures and DICOM objects of the readings are written.
    """

    def __init__(
        self, count: int, ensemble: Ensemble, *, force: bool, folders: Sequence[ReadingFolder]
    ) -> None:
        self.count = count
        self.in_hand: dict[Future[Graded], Units] = {}
        self._pool = ThreadPoolExecutor(count)
        self._work = (ensemble, force, folders)

    def take(self, units: Units) -> None:
        """Take units, which one thread grades one after the other."""
        ensemble, force, folders = self._work
        future = self._pool.submit(graded_units, ensemble, units, force=force, folders=folders)
        self.in_hand[future] = units

    def give(self, future: Future[Graded]) -> Iterator[Graded]:
        """The rows of the units that are done."""
        del self.in_hand[future]
        yield future.result()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)


class Graders(Protocol):
    """What grades the units of a batch: `Workers` on this machine, or others elsewhere."""

    @property
    def ensemble(self) -> Ensemble:
        """As this machine opened it; the readings are those that it would make."""

    def graded(
        self, units: Iterator[Unit | None], list_more: Callable[[], bool] = lambda: False
    ) -> Iterator[list[ReadingRow]]:
        """Grade units, see `Workers.graded`."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How units are graded on this machine.

    Attributes:
        ensemble: of this process; of one thread where several units are graded at a time.
        count: units at a time.
        force: grade what a check refuses too.
        folders: to which pictures and DICOM objects of the readings are written.
        processes: that grade beside one thread of this one, and end with whoever began them;
            ``None``: all are threads.
    """

    ensemble: Ensemble
    count: int = 1
    force: bool = False
    folders: Sequence[ReadingFolder] = ()
    processes: ReaderProcesses | None = None

    def graded(
        self, units: Iterator[Unit | None], list_more: Callable[[], bool] = lambda: False
    ) -> Iterator[list[ReadingRow]]:
        """Grade units; the rows of each file, as soon as it is done.

        Args:
            units: ``None`` where the next one is not known yet.
            list_more: called while the workers work; whether it is of use to call it again.
        """
        crews: list[Crew] = []
        threads = self.count
        if self.processes is not None:
            self.processes.folders = self.folders
            threads -= self.processes.count
            crews.append(self.processes)
        own = ReaderThreads(threads, self.ensemble, force=self.force, folders=self.folders)
        with one_blas_thread(), interrupts_noted() as heed:
            try:
                yield from _Handing(units, list_more, [own, *crews], heed).rows()
            finally:
                own.close()


@contextmanager
def opened_workers(
    opening: partial[Ensemble], count: int, *, processes: bool, force: bool = False
) -> Iterator[Workers]:
    """Workers on this machine, until the block ends.

    Args:
        opening: opens the ensemble, here and in processes, with a number of threads, for a number
            of workers.
        count: files at a time.
        processes: whether each but the first is a process, as is worth its start for many files;
            they open their ensembles while this process opens its own.
        force: grade what a check refuses too.

    Raises:
        KellgrenError: the ensemble cannot be opened.
    """
    beside = None
    if processes and count > 1:
        beside = ReaderProcesses(count - 1, partial(opening, threads=1, workers=1), force=force)
    try:
        sharing = 1 if beside else count  # one ensemble
        ensemble = opening(threads=1 if count > 1 else 0, workers=sharing)
        yield Workers(ensemble, count, force, processes=beside)
    finally:
        if beside is not None:
            beside.close()


class _Handing:
    """Gives each crew as many units as it has room for, and lists files while they work."""

    def __init__(
        self,
        units: Iterator[Unit | None],
        list_more: Callable[[], bool],
        crews: Sequence[Crew],
        heed: Heed,
    ) -> None:
        self._units, self._list_more, self._crews, self._heed = units, list_more, crews, heed
        self._ended = False
        self._seconds = _HANDFUL_S  # of a unit, as the last ones took

    def rows(self) -> Iterator[list[ReadingRow]]:
        """The rows of each file that is done."""
        while True:
            for crew in self._crews:
                while len(crew.in_hand) < _IN_HAND * crew.count and (units := self._handful()):
                    crew.take(units)
            under_way = [future for crew in self._crews for future in crew.in_hand]
            if self._ended and not under_way:
                return
            more = self._list_more()
            self._heed()
            ready = [future for future in under_way if future.done()]
            done = ready if more else first_done(under_way, self._heed)
            for crew in self._crews:
                for future in done:
                    if future in crew.in_hand:
                        yield from self._given(crew, future)

    def _handful(self) -> Units:
        """Many of those that take little time: files that are refused cost more to hand out."""
        units: list[Unit] = []
        wanted = min(_MOST_UNITS, max(1, int(_HANDFUL_S / max(self._seconds, 1e-6))))
        while len(units) < wanted and not self._ended:
            unit = next(self._units, ())
            self._ended = unit == ()
            if not unit:
                break
            units.append(unit)
        return tuple(units)

    def _given(self, crew: Crew, future: Future[Graded]) -> Iterator[list[ReadingRow]]:
        units = len(crew.in_hand[future])
        for graded in crew.give(future):
            yield from graded.rows
            self._heed()
            self._seconds += 0.2 * (graded.seconds / units - self._seconds)
