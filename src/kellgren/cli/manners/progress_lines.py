"""Progress where there is no terminal to draw a bar on: a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.progress import Progress, TaskID

EVERY_SECONDS = 30.0
EVERY_FILES = 1000


class ProgressLines(Progress):
    """Bars in a terminal; elsewhere a line every 1 000 files or 30 seconds, whichever is first.

    Args:
        *columns: of the bars.
        doing: what is done, such as ``grading``; empty: no lines.
        now: seconds on a clock that only goes forward.
        **settings: of the bars; ``disable`` where there is no terminal.
    """

    def __init__(
        self, *columns: Any, doing: str, now: Callable[[], float] = time.monotonic, **settings: Any
    ) -> None:
        super().__init__(*columns, **settings)
        self._doing = doing
        self._now = now
        self._told_at, self._told = now(), 0

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """One file further."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """As far as that."""
        super().update(task_id, **changes)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        if not (self.disable and self._doing):
            return
        task = self._tasks[task_id]
        done, now = int(task.completed), self._now()
        if now - self._told_at < EVERY_SECONDS and done - self._told < EVERY_FILES:
            return
        self._told_at, self._told = now, done
        of = f" {task.fields.get('now', '')}" if task.total is None else f" of {int(task.total)}"
        self.console.print(f"{self._doing}: {done}{of}".rstrip(), markup=False, soft_wrap=True)
