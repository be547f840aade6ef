"""Feeds waiting cases to grader processes, replaces those that die, and keeps their answers.

One thread stands beside each grader. A case whose grader dies or exceeds its time becomes a failed
case with its reason; the next one gets a new grader.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kellgren.web.entries import Answer, Job, KneePictures
from kellgren.web.settings import Settings
from kellgren.web.store import Store

START_SECONDS = 120.0  # for a grader to open its model, on a machine that does other things too
_log = logging.getLogger("kellgren.web")
_LARGEST_ANSWER = 2**28


class GraderDied(Exception):
    """The process ended, broke its limits or answered nonsense; the text says which."""


class Grader:
    """One grader process, from this side.

    Args:
        model: folder of its bundle; ``None``: the default.
        memory: bytes of address space it may use.

    Raises:
        GraderDied: it did not start.
    """

    def __init__(self, model: Path | None, memory: int) -> None:
        words = [sys.executable, "-m", "kellgren.web.grader", str(memory)]
        self._process = subprocess.Popen(
            words if model is None else [*words, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a decoder's last words may quote a header
            bufsize=0,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None
        self._answers = self._process.stdout.fileno()
        self._buffer = b""
        self.model: dict[str, str] = self._answer(START_SECONDS)[0]["model"]

    def read(self, job: Job, seconds: float) -> Answer:
        """Have a case read.

        Raises:
            GraderDied: it did not answer; this grader is of no use any more.
        """
        words = {
            **{"content": str(job.content.resolve()), "file": job.file},
            **{"image": job.image, "side": job.side},
        }
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(words).encode() + b"\n")
        except OSError:
            raise GraderDied("the grader was gone") from None
        found, pictures = self._answer(seconds)
        try:
            return _checked_answer(found, pictures)
        except (KeyError, TypeError, ValueError, IndexError):
            raise GraderDied("the grader's answer made no sense") from None

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def _answer(self, seconds: float) -> tuple[dict[str, Any], list[bytes]]:
        deadline = time.monotonic() + seconds
        try:
            while b"\n" not in self._buffer:
                self._more(deadline)
            line, _, self._buffer = self._buffer.partition(b"\n")
            found = json.loads(line)
            sizes = [int(size) for size in found["sizes"]]
            if min(sizes, default=0) < 0 or sum(sizes) > _LARGEST_ANSWER:
                raise ValueError("sizes")
            while len(self._buffer) < sum(sizes):
                self._more(deadline)
        except (ValueError, KeyError, TypeError):
            self.stop()
            raise GraderDied("the grader's answer made no sense") from None
        except GraderDied:
            self.stop()
            raise
        pictures = []
        for size in sizes:
            pictures.append(self._buffer[:size])
            self._buffer = self._buffer[size:]
        return found, pictures

    def _more(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._answers], [], [], left)[0]:
            raise GraderDied("it took longer than the time limit")
        block = os.read(self._answers, 2**20)
        if not block:
            raise GraderDied("reading it ended the grader: the file is damaged or far too large")
        self._buffer += block
        if len(self._buffer) > _LARGEST_ANSWER:
            raise ValueError("too long")


def _checked_answer(found: dict[str, Any], pictures: list[bytes]) -> Answer:
    if found["state"] not in ("graded", "refused"):
        raise ValueError(found["state"])
    knees: list[KneePictures] = []
    for (grade, certainty), similar in zip(found["knees"], found["similar"], strict=True):
        picture, layer, overlay = pictures[3 * len(knees) : 3 * len(knees) + 3]
        near = tuple((int(number), float(far)) for number, far in similar)
        knees.append(KneePictures(int(grade), str(certainty), picture, layer, overlay, near))
    return Answer(
        state=found["state"],
        rows=[dict(row) for row in found["rows"]],
        note=str(found["note"]),
        model=dict(found["model"]),
        knees=tuple(knees),
        report=pictures[-1] if found["report"] else None,
        seconds=found["seconds"],
    )


class Pool:
    """Graders at work.

    Args:
        store: where cases wait and answers go.
        settings: how many graders, and their limits.
        tell: called after each answer, from any thread.
    """

    def __init__(
        self, store: Store, settings: Settings, tell: Callable[[], None] = lambda: None
    ) -> None:
        self._store, self._settings, self._tell = store, settings, tell
        self._wake, self._calls, self._stopping = threading.Condition(), 0, False
        self._ready: dict[int, Grader] = {}
        self.deaths = 0
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
        """There are new cases."""
        with self._wake:
            self._calls += 1
            self._wake.notify_all()

    def stop(self) -> None:
        """End all graders; cases in their hands wait again for the next start."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for grader in list(self._ready.values()):
            grader.stop()
        for thread in self._threads:
            thread.join(timeout=10)

    def _work(self, place: int) -> None:
        pause = 1.0
        while not self._stopping:
            try:
                grader = self._ready.get(place) or self._hire(place)
                pause = 1.0
            except (GraderDied, OSError) as error:
                _log.error("a grader did not start: %s; next try in %.0f s", error, pause)
                with self._wake:
                    self._wake.wait(pause)
                pause = min(2 * pause, 60.0)
                continue
            calls = self._calls
            job = self._store.claim()
            if job is not None:
                self._grade(place, grader, job)
                continue
            with self._wake:
                if not self._stopping and self._calls == calls:
                    self._wake.wait(5.0)

    def _hire(self, place: int) -> Grader:
        grader = Grader(self._settings.model, self._settings.limits.grader_bytes)
        self._ready[place] = grader
        return grader

    def _grade(self, place: int, grader: Grader, job: Job) -> None:
        began = time.monotonic()
        try:
            answer = grader.read(job, self._settings.limits.case_seconds)
        except (GraderDied, OSError, ValueError) as error:
            self._ready.pop(place, None)
            grader.stop()
            if self._stopping:
                self._store.release(job.id)
                return
            self.deaths += 1
            _log.warning("case %s: %s", job.id, error)
            answer = _failure(job, grader.model, str(error), time.monotonic() - began)
        try:
            self._store.finish(job.id, answer)
        except Exception:
            _log.exception("case %s: its answer could not be kept; it waits again", job.id)
            self._store.release(job.id)
            time.sleep(1.0)
        self._tell()


def _failure(job: Job, model: dict[str, str], reason: str, seconds: float) -> Answer:
    note = f"could not be read: {reason}. Export the picture again, or cut out the knee."
    row = {"image": job.image, "side": "", "grade": None, "note": note}
    return Answer("failed", [row], note, model, seconds=round(seconds, 3))
