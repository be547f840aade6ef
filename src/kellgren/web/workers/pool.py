"""Feeds waiting cases to grader processes, replaces failed processes, and stores the answers.

Each grader has a thread that nothing ends but the end of the server: what cannot be stored because
the disk is full or the database locked is kept and stored as soon as it can be. A film whose grader
ended is tried again in a new one, after all others that wait, until it is likely that the film
itself is the cause.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from kellgren.reading_schema import ModelRecord, ReadingRow, UngradedRow
from kellgren.web.settings import Settings
from kellgren.web.storage.blobs import UnusableContent
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.messages import Answer, Job
from kellgren.web.storage.opening import is_of_the_disk, trouble_text
from kellgren.web.workers.process import Blame, GraderFailed, GraderProcess

_IDLE_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_STORE_PAUSE_S = 0.5, 60.0, 2.0
_log = logging.getLogger("kellgren.web")


class GraderPool:
    """Grader processes, each with a thread that feeds it.

    Args:
        store: where cases wait and answers go.
        settings: how many graders, and their limits.
        on_answer: called after each answer, from any thread.
        on_rows: is given the rows of each answer, likewise.

    Attributes:
        failures: graders that had to be replaced.
    """

    def __init__(
        self,
        store: CaseStore,
        settings: Settings,
        on_answer: Callable[[], None] = lambda: None,
        on_rows: Callable[[Sequence[ReadingRow]], None] = lambda rows: None,
    ) -> None:
        self._store, self._settings = store, settings
        self._on_answer, self._on_rows = on_answer, on_rows
        self._changed, self._wake_calls, self._stopping = threading.Condition(), 0, False
        self._ready: dict[int, GraderProcess] = {}
        self._blame: Counter[str] = Counter()
        self._answered = time.monotonic()
        self.failures = 0
        self._troubles: dict[int, str] = {}
        self._threads = [
            threading.Thread(target=self._work, args=(place,), name=f"grader-{place}", daemon=True)
            for place in range(settings.workers)
        ]

    def start(self) -> None:
        """Start the graders; they load their models in the background."""
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> int:
        """Graders that live and can take a case."""
        return sum(
            grader.is_alive and self._threads[place].is_alive()
            for place, grader in list(self._ready.items())
        )

    @property
    def trouble(self) -> str:
        """Why answers cannot be stored now, as a clause; empty: they can."""
        return next(iter(list(self._troubles.values())), "")

    @property
    def answered_seconds_ago(self) -> float:
        """Since the last answer was stored, or the start."""
        return time.monotonic() - self._answered

    def wake(self) -> None:
        """Have idle graders look for waiting cases."""
        with self._changed:
            self._wake_calls += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """End all graders; the cases they were reading wait for the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for grader in list(self._ready.values()):
            grader.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)
        for grader in list(self._ready.values()):  # that were started meanwhile
            grader.stop()

    def _work(self, place: int) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stopping:
            try:
                self._turn(place)
                pause = _FIRST_PAUSE_S
            except Exception as error:  # whatever it is, this thread goes on
                longest = self._note(place, error)
                self._wait(pause)
                pause = min(2 * pause, longest)

    def _note(self, place: int, error: Exception) -> float:
        """Log what went wrong outside of any film; the longest pause before the next try."""
        if isinstance(error, GraderFailed):
            _log.error("a grader did not start or was gone: %s", error)
            return _LONGEST_PAUSE_S
        if is_of_the_disk(error):
            self._cannot_store(place, error)
            return _LONGEST_STORE_PAUSE_S
        if not self._stopping:
            _log.exception("a grader's thread failed; it goes on")
        return _LONGEST_PAUSE_S

    def _turn(self, place: int) -> None:
        """Grade one case, or wait for one."""
        grader = self._live_grader(place)
        calls = self._wake_calls
        job = self._store.claim(last=list(self._blame))
        self._troubles.pop(place, None)
        if job is not None:
            try:
                self._grade(place, grader, job)
            except Exception:
                self._until_stored(place, lambda: self._store.release(job.id))
                raise
            return
        with self._changed:
            if not self._stopping and self._wake_calls == calls:
                self._changed.wait(_IDLE_S)

    def _live_grader(self, place: int) -> GraderProcess:
        grader = self._ready.get(place)
        if grader is not None and grader.is_alive:
            return grader
        if grader is not None:
            self._replace(place, grader)
        grader = GraderProcess(self._settings.model, self._settings.limits.grader_bytes)
        self._ready[place] = grader
        return grader

    def _replace(self, place: int, grader: GraderProcess) -> None:
        self._ready.pop(place, None)
        grader.stop()
        if not self._stopping:
            self.failures += 1

    def _grade(self, place: int, grader: GraderProcess, job: Job) -> None:
        began = time.monotonic()
        try:
            self._store.blobs.verify(job.content.name)
            answer = grader.read(job, self._settings.limits.case_seconds)
        except UnusableContent as error:
            answer = _failed_answer(job, grader.model, str(error), 0.0)
        except (GraderFailed, OSError, ValueError) as error:
            self._replace(place, grader)
            if self._stopping or not self._store.is_open(job.id):
                self._store.release(job.id)  # unless it was deleted meanwhile
                return
            if not self._is_at_fault(job, error):
                raise GraderFailed(str(error)) from None
            answer = _failed_answer(job, grader.model, str(error), time.monotonic() - began)
        self._finish(place, job, answer)
        self._answered = time.monotonic()
        self._blame.pop(job.id, None)
        self._on_rows(answer.rows)
        self._on_answer()

    def _is_at_fault(self, job: Job, error: Exception) -> bool:
        """Whether the film of a case is the likely cause of all that happened to it."""
        self._blame[job.id] += error.weight if isinstance(error, GraderFailed) else Blame.LIKELY
        at_fault = self._blame[job.id] >= Blame.PROVEN
        _log.warning("case %s: %s%s", job.id, error, "" if at_fault else "; it is tried again")
        return at_fault

    def _finish(self, place: int, job: Job, answer: Answer) -> None:
        try:
            self._until_stored(place, lambda: self._store.finish(job.id, answer))
        except Exception as error:  # an answer that no database would take
            _log.exception("case %s: its answer cannot be stored", job.id)
            reason = f"its answer cannot be stored ({type(error).__name__})"
            failed = _failed_answer(job, answer.model, reason, answer.seconds)
            self._until_stored(place, lambda: self._store.finish(job.id, failed))

    def _until_stored(self, place: int, change: Callable[[], object]) -> None:
        """Make a change, if need be as soon as the disk takes it; at the end of the server, never.

        Raises:
            Exception: not of the disk, which would come again.
        """
        pause = _FIRST_PAUSE_S
        while True:
            try:
                change()
            except Exception as error:
                if not is_of_the_disk(error):
                    raise
                if self._stopping:
                    return
                self._cannot_store(place, error)
                self._wait(pause)
                pause = min(2 * pause, _LONGEST_STORE_PAUSE_S)
            else:
                self._troubles.pop(place, None)
                return

    def _cannot_store(self, place: int, error: Exception) -> None:
        found = trouble_text(error)
        if found not in self._troubles.values():
            _log.error("answers cannot be stored: %s; tried again until they can be", found)
        self._troubles[place] = found

    def _wait(self, seconds: float) -> None:
        with self._changed:
            if not self._stopping:
                self._changed.wait(seconds)


def _failed_answer(job: Job, model: ModelRecord | None, reason: str, seconds: float) -> Answer:
    note = f"could not be read: {reason}. Export the picture again, or cut out the knee."
    row = UngradedRow(image=job.image, side="", grade=None, note=note)
    return Answer("failed", (row,), note, model, seconds=round(seconds, 3))
