"""Units of work side by side: in threads of this process, and in processes beside it.

The networks let go of Python's lock while they compute, all else of a knee does not: threads serve
a few files, processes many. This process always grades too, so that nothing waits for the others
to start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from kellgren.batch.reader_processes import IN_HAND, Opening, ReaderProcesses, UnitRows
from kellgren.batch.units import ReadingFolder, Unit, unit_rows
from kellgren.ensemble import Ensemble


class Crew(Protocol):
    """Workers that take units; what becomes of each is known by its future."""

    def submit(self, unit: Unit) -> Future[UnitRows]:
        """Take one unit."""

    def result(self, future: Future[UnitRows]) -> Iterator[tuple[Unit, UnitRows]]:
        """What became of units whose future is done; of all in hand, where their process ended."""

    def close(self) -> None:
        """End the workers; units that are not begun are given up."""

    capacity: int
    in_hand: dict[Future[UnitRows], Unit]


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
        self.capacity = IN_HAND * count
        self.in_hand: dict[Future[UnitRows], Unit] = {}
        self._pool = ThreadPoolExecutor(count)
        self._work = (ensemble, force, folders)

    def submit(self, unit: Unit) -> Future[UnitRows]:
        """Take one unit."""
        ensemble, force, folders = self._work
        return self._pool.submit(unit_rows, ensemble, unit, force=force, folders=folders)

    def result(self, future: Future[UnitRows]) -> Iterator[tuple[Unit, UnitRows]]:
        """The rows of the unit that is done."""
        yield self.in_hand.pop(future), future.result()

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
    ) -> Iterator[tuple[Unit, UnitRows]]:
        """Grade units, see `Workers.graded`."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How units are graded on this machine.

    Attributes:
        ensemble: of this process; of one thread where several units are graded at a time.
        count: units at a time.
        force: grade what a check refuses too.
        folders: to which pictures and DICOM objects of the readings are written.
        opening: opens the same ensemble in another process; ``None``: all are threads.
    """

    ensemble: Ensemble
    count: int = 1
    force: bool = False
    folders: Sequence[ReadingFolder] = ()
    opening: Opening | None = None

    def graded(
        self, units: Iterator[Unit | None], list_more: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Unit, UnitRows]]:
        """Grade units; each comes as soon as it is done, with the rows of its files.

        Args:
            units: ``None`` where the next one is not known yet.
            list_more: called while the workers work; whether it is of use to call it again.
        """
        crews = self._crews()
        try:
            yield from _handed_out(units, list_more, crews)
        finally:
            for crew in crews:
                crew.close()

    def _crews(self) -> list[Crew]:
        threads = self.count if self.opening is None else 1
        crews: list[Crew] = [
            ReaderThreads(threads, self.ensemble, force=self.force, folders=self.folders)
        ]
        if self.opening is not None and self.count > 1:
            crews.append(
                ReaderProcesses(
                    self.count - 1, self.opening, force=self.force, folders=self.folders
                )
            )
        return crews


def _handed_out(
    units: Iterator[Unit | None], list_more: Callable[[], bool], crews: Sequence[Crew]
) -> Iterator[tuple[Unit, UnitRows]]:
    """Give each crew as many units as it has room for, and list files while they work."""
    ended = False
    while True:
        for crew in crews:
            while not ended and len(crew.in_hand) < crew.capacity:
                unit = next(units, ())
                ended = unit == ()
                if not unit:
                    break
                crew.in_hand[crew.submit(unit)] = unit
        under_way = [future for crew in crews for future in crew.in_hand]
        if ended and not under_way:
            return
        more = list_more()
        done = wait(under_way, 0 if more else None, FIRST_COMPLETED).done
        for crew in crews:
            for future in [it for it in crew.in_hand if it in done]:
                if future in crew.in_hand:
                    yield from crew.result(future)
