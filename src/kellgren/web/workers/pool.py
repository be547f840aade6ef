"""Feeds waiting cases to grader processes, replaces failed processes, and stores the answers.

Each grader has a thread. A case whose grader ends or exceeds its time becomes a failed case with
the reason; the next case gets a new grader.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from kellgren.reading_schema import ModelRecord, UngradedRow
from kellgren.web.settings import Settings
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.messages import (
    GRADER_MESSAGE,
    Answer,
    AnswerHeader,
    GraderReady,
    InvalidMessage,
    Job,
    decoded_answer,
)

START_SECONDS = 120.0  # for a grader to open its model, on a machine that does other things too
_log = logging.getLogger("kellgren.web")
_LARGEST_ANSWER = 2**28


class GraderFailed(Exception):
    """The process ended, exceeded a limit or sent an invalid message; the text says which."""


class GraderProcess:
    """One grader process, as its parent sees it.

    Args:
        model: folder of its bundle; ``None``: the default.
        memory: bytes of address space it may use.

    Raises:
        GraderFailed: it did not start.
    """

    def __init__(self, model: Path | None, memory: int) -> None:
        arguments = [sys.executable, "-m", "kellgren.web.workers.grader", str(memory)]
        self._process = subprocess.Popen(
            arguments if model is None else [*arguments, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a decoder's messages may quote a header
            bufsize=0,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        self._buffer = b""
        with self._stopped_on_failure():
            ready = self._message(time.monotonic() + START_SECONDS)
            if not isinstance(ready, GraderReady):
                raise InvalidMessage("an answer before it was ready")
        self.model = ready.model

    def read(self, job: Job, seconds: float) -> Answer:
        """Have a case read within some seconds.

        Raises:
            GraderFailed: it did not answer; the process has been stopped.
        """
        deadline = time.monotonic() + seconds
        assert self._process.stdin is not None
        with self._stopped_on_failure():
            try:
                self._process.stdin.write(job.model_dump_json().encode() + b"\n")
            except OSError:
                raise GraderFailed("the grader was gone") from None
            header = self._message(deadline)
            if not isinstance(header, AnswerHeader) or sum(header.sizes) > _LARGEST_ANSWER:
                raise InvalidMessage("no answer, or too long")
            while len(self._buffer) < sum(header.sizes):
                self._receive(deadline)
            return decoded_answer(header, [self._take(size) for size in header.sizes])

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    @contextmanager
    def _stopped_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (InvalidMessage, ValidationError):
            self.stop()
            raise GraderFailed("the grader's answer is invalid") from None
        except GraderFailed:
            self.stop()
            raise

    def _message(self, deadline: float) -> GraderReady | AnswerHeader:
        while b"\n" not in self._buffer:
            self._receive(deadline)
        return GRADER_MESSAGE.validate_json(self._take(self._buffer.index(b"\n") + 1))

    def _take(self, size: int) -> bytes:
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._output], [], [], left)[0]:
            raise GraderFailed("it took longer than the time limit")
        block = os.read(self._output, 2**20)
        if not block:
            raise GraderFailed("reading it ended the grader: the file is damaged or far too large")
        self._buffer += block
        if len(self._buffer) > _LARGEST_ANSWER:
            raise InvalidMessage("too long")


class GraderPool:
    """Grader processes, each with a thread that feeds it.

    Args:
        store: where cases wait and answers go.
        settings: how many graders, and their limits.
        on_answer: called after each answer, from any thread.
    """

    def __init__(
        self, store: CaseStore, settings: Settings, on_answer: Callable[[], None] = lambda: None
    ) -> None:
        self._store, self._settings, self._on_answer = store, settings, on_answer
        self._changed, self._wake_calls, self._stopping = threading.Condition(), 0, False
        self._ready: dict[int, GraderProcess] = {}
        self.failures = 0
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
        """Graders that can take a case."""
        return len(self._ready)

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
            thread.join(timeout=10)

    def _work(self, place: int) -> None:
        pause = 1.0
        while not self._stopping:
            try:
                grader = self._ready.get(place) or self._start_grader(place)
                pause = 1.0
            except (GraderFailed, OSError) as error:
                _log.error("a grader did not start: %s; next try in %.0f s", error, pause)
                with self._changed:
                    self._changed.wait(pause)
                pause = min(2 * pause, 60.0)
                continue
            calls = self._wake_calls
            job = self._store.claim()
            if job is not None:
                self._grade(place, grader, job)
                continue
            with self._changed:
                if not self._stopping and self._wake_calls == calls:
                    self._changed.wait(5.0)

    def _start_grader(self, place: int) -> GraderProcess:
        grader = GraderProcess(self._settings.model, self._settings.limits.grader_bytes)
        self._ready[place] = grader
        return grader

    def _grade(self, place: int, grader: GraderProcess, job: Job) -> None:
        began = time.monotonic()
        try:
            answer = grader.read(job, self._settings.limits.case_seconds)
        except (GraderFailed, OSError, ValueError) as error:
            self._ready.pop(place, None)
            grader.stop()
            if self._stopping:
                self._store.release(job.id)
                return
            self.failures += 1
            _log.warning("case %s: %s", job.id, error)
            answer = _failed_answer(job, grader.model, str(error), time.monotonic() - began)
        try:
            self._store.finish(job.id, answer)
        except Exception:
            _log.exception("case %s: its answer could not be stored; it waits again", job.id)
            self._store.release(job.id)
            time.sleep(1.0)
        self._on_answer()


def _failed_answer(job: Job, model: ModelRecord, reason: str, seconds: float) -> Answer:
    note = f"could not be read: {reason}. Export the picture again, or cut out the knee."
    row = UngradedRow(image=job.image, side="", grade=None, note=note)
    return Answer("failed", (row,), note, model, seconds=round(seconds, 3))
