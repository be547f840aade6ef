"""Who did what and when: lines of JSON beside the database, without a name of a file or a patient.

A line holds the time, the event, who asked for it and from which address, and random identifiers of
cases and studies. Nothing here is ever deleted: a file that has grown is put aside under its date.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

LARGEST_BYTES = 16 * 2**20
MOST_A_MINUTE = 60
"""Lines about refused tokens: who floods the server must not fill its disk."""
_log = logging.getLogger("kellgren.web")


class AuditLog:
    """A file to which lines are added.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._minute, self._refused = 0, 0

    def write(self, event: str, who: str, **facts: str | int | list[str]) -> None:
        """Add a line; that it cannot be written goes to the server's log."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, "who": who}
        text = json.dumps(line | facts) + "\n"
        with self._lock:
            try:
                self._put_aside()
                handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                with os.fdopen(handle, "w") as stream:
                    stream.write(text)
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError as error:
                _log.error("the audit log lacks a line (%s): %s", error.strerror, text.strip())

    def write_refusal(self, event: str, who: str) -> None:
        """Add a line about a request that was refused, unless there are too many of them."""
        minute = int(time.time() // 60)
        if minute != self._minute:
            skipped = self._refused - MOST_A_MINUTE
            self._minute, self._refused = minute, 0
            if skipped > 0:
                self.write("more refused tokens", "many", lines=skipped)
        self._refused += 1
        if self._refused <= MOST_A_MINUTE:
            self.write(event, who)

    def _put_aside(self) -> None:
        if self.path.exists() and self.path.stat().st_size > LARGEST_BYTES:
            now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
            self.path.rename(self.path.with_name(f"{self.path.stem}-{now}{self.path.suffix}"))
