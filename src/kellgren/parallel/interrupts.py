"""Ctrl-C while threads work: heard at once, heeded where no lock is held.

Python raises ``KeyboardInterrupt`` wherever the main thread happens to be, which may be between
taking a lock of `concurrent.futures` and the block that gives it back. Nobody gives it back then:
the threads that need it for their results wait for ever, and the program for them.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Heed = Callable[[], None]
"""Raises ``KeyboardInterrupt`` where Ctrl-C was pressed since the last call."""
_LOOK_S = 0.1  # between two looks whether Ctrl-C was pressed


class _Interrupts:
    """Handles the signal of Ctrl-C in place of another handler.

    Args:
        before: the handler that it was.
    """

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self._before = before
        self._heard = self._to_heed = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; whoever presses Ctrl-C again does not want to wait."""
        if self._heard:
            self._before(number, frame)
        else:
            self._heard = self._to_heed = True

    def heed(self) -> None:
        """Do what the handler before does."""
        if self._to_heed:
            self._to_heed = False
            self._before(signal.SIGINT, None)

    def end(self) -> None:
        """Give the signal back, unless somebody else has it by now, and heed what was noted.

        A generator that nobody closed ends whenever it is collected, in any thread.
        """
        self._heard = True  # whoever still calls this handler reaches the one before at once
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) == self.hear:
            signal.signal(signal.SIGINT, self._before)
        self.heed()


@contextmanager
def interrupts_noted() -> Iterator[Heed]:
    """Note Ctrl-C within this block, for it to be heeded where that is safe.

    Outside the main thread, and where Ctrl-C is ignored, nothing changes.

    Yields:
        To be called where no lock is held; called at the end of the block too.
    """
    before = signal.getsignal(signal.SIGINT)
    outer = getattr(before, "__self__", None)
    if isinstance(outer, _Interrupts):
        yield outer.heed
        return
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    interrupts = _Interrupts(before)
    signal.signal(signal.SIGINT, interrupts.hear)
    try:
        yield interrupts.heed
    finally:
        interrupts.end()


def first_done(futures: Sequence[Future[Result]], heed: Heed) -> set[Future[Result]]:
    """Wait until at least one of some futures is done; all that are, and none of none.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    heed()
    while not (done := wait(futures, _LOOK_S, FIRST_COMPLETED).done) and futures:
        heed()
    return done


def mapped(
    pool: Executor, function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[Result]:
    """Results of a function for each of some items, in their order, from the threads of a pool.

    Where it is left before its end, by Ctrl-C too, items that are not begun are given up.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    with interrupts_noted() as heed:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in futures:
                first_done([future], heed)
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
