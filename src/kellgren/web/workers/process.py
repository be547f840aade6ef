"""A grader process, as its server sees it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from pydantic import ValidationError

from kellgren.web.storage.messages import (
    GRADER_MESSAGE,
    Answer,
    AnswerHeader,
    GraderReady,
    InvalidMessage,
    Job,
    decoded_answer,
)
from kellgren.web.workers.confinement import grader_environment

START_SECONDS = 120.0  # for a grader to open its model, on a machine that does other things too
TRY_AGAIN = 75
"""Exit code of a grader that the machine keeps from working: no space for a temporary file."""
_LARGEST_ANSWER = 2**28
_FROM_OUTSIDE = frozenset(
    getattr(signal, name, 0) for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
) - {0}


class Blame(IntEnum):
    """How far the failure of a grader speaks against the film it read; at `PROVEN` it fails.

    A film that is not at fault is tried again, after all others that wait; one that ends two
    graders is.
    """

    NONE = 0
    """Somebody killed the process, an administrator or the system, or the machine was at fault."""
    LIKELY = 5
    """The process crashed, or answered what is no answer."""
    PROVEN = 10
    """It took longer than the limit."""


class GraderFailed(Exception):
    """The process ended, exceeded a limit or sent an invalid message; the text says which.

    Args:
        text: what happened.
        weight: of the failure as evidence against the film; see `Blame`.
    """

    def __init__(self, text: str, weight: int = Blame.PROVEN) -> None:
        super().__init__(text)
        self.weight = weight


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
        try:
            self._process = subprocess.Popen(
                arguments if model is None else [*arguments, str(model)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a decoder's messages may quote a header
                bufsize=0,
                env=grader_environment(os.environ),
            )
        except OSError as error:
            raise GraderFailed(f"no process could be started ({error.strerror})") from None
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
                raise GraderFailed("the grader was gone", Blame.NONE) from None
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

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def _death(self) -> GraderFailed:
        """What ended the process, and what that says about the film it was reading."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return GraderFailed("the grader closed its output", Blame.LIKELY)
        if code == TRY_AGAIN:
            return GraderFailed("the grader could not work on this machine now", Blame.NONE)
        if -code in _FROM_OUTSIDE:
            return GraderFailed("the grader was killed while it read the file", Blame.NONE)
        reason = "reading it ended the grader: the file is damaged or far too large"
        return GraderFailed(reason, Blame.LIKELY)

    @contextmanager
    def _stopped_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (InvalidMessage, ValidationError):
            self.stop()
            raise GraderFailed("the grader's answer is invalid", Blame.LIKELY) from None
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
            raise self._death()
        self._buffer += block
        if len(self._buffer) > _LARGEST_ANSWER:
            raise InvalidMessage("too long")
