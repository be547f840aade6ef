"""A bell that graders ring and requests wait for."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Bell:
    """Tells the event loop, from any thread, that something changed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def hang(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to a loop, before anyone rings."""
        self._loop = loop

    def ring(self) -> None:
        """Wake whoever waits."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and all who wait with it
                self._loop.call_soon_threadsafe(self._ring)

    @property
    def next_ring(self) -> asyncio.Event:
        """Set at the next ring; take it before looking, so that no ring is missed."""
        return self._next

    def _ring(self) -> None:
        rung, self._next = self._next, asyncio.Event()
        rung.set()
