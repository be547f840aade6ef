"""Tells waiting requests that cases changed."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Notifier:
    """Wakes tasks of an event loop, from any thread, when something changed.

    Attributes:
        has_ended: whether the server ends, so that waiting is of no use.
    """

    def __init__(self) -> None:
        self.has_ended = False
        self._next = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop whose tasks wait; to be called before the first `notify`."""
        self._loop = loop

    def notify(self) -> None:
        """Wake all subscribers; from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and its tasks with it
                self._loop.call_soon_threadsafe(self._notify)

    def end(self) -> None:
        """Wake all subscribers for the last time."""
        self.has_ended = True
        self.notify()

    def subscribe(self) -> asyncio.Event:
        """An event that the next `notify` sets; take it before checking, so that none is missed."""
        return self._next

    def _notify(self) -> None:
        current, self._next = self._next, asyncio.Event()
        current.set()
