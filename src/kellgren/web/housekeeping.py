"""What a store needs while it is in use: watched, kept in bounds, and what is too old deleted."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from pathlib import Path

from kellgren.web.erasing import Eraser
from kellgren.web.settings import Settings
from kellgren.web.storage.audit_log import AuditLog
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.opening import LOST, in_quarantine, is_of_the_disk

WATCH_SECONDS, TIDY_SECONDS = 2.0, 60.0
DAY_S = 86_400
NEARLY_FULL = "the disk is nearly full"
_BATCH = 100
_SERVER = "server"
_log = logging.getLogger("kellgren.web")


class Housekeeper:
    """A thread beside the graders.

    Args:
        store: that it looks after.
        eraser: of the store.
        audit: likewise.
        settings: how long and how much to keep.

    Attributes:
        audit: of the store.
        trouble: why cases cannot be kept now, as a clause; empty: they can.
    """

    def __init__(
        self, store: CaseStore, eraser: Eraser, audit: AuditLog, settings: Settings
    ) -> None:
        self._store, self._eraser, self._settings = store, eraser, settings
        self.audit = audit
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="housekeeping", daemon=True)
        self._room_lock, self._bytes = threading.Lock(), 0
        self.trouble = ""

    @property
    def refusal(self) -> str:
        """Why no film is taken now, but for a full disk, which every upload looks at anew."""
        return "" if self.trouble == NEARLY_FULL else self.trouble

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _work(self) -> None:
        tidied = -TIDY_SECONDS
        while not self._stopping.is_set():
            try:
                self.watch()
                if not self.trouble and time.monotonic() - tidied >= TIDY_SECONDS:
                    self.tidy()
                    tidied = time.monotonic()
            except Exception as error:  # nothing may end this thread unseen
                if not is_of_the_disk(error):
                    _log.exception("housekeeping failed; it is tried again")
            self._stopping.wait(WATCH_SECONDS)

    def watch(self) -> None:
        """Look whether the store can be written to; write a database anew that was removed."""
        found = self._store.database.trouble()
        if found == LOST and self._store.database.rescue():
            _log.error("%s; it was written anew, with all that was in it", LOST)
            self.audit.write("database written anew", _SERVER)
            found = self._store.database.trouble()
        if not found and _free_bytes(self._store.folder) < self._settings.limits.free_bytes:
            found = NEARLY_FULL
        if found and found != self.trouble:
            _log.error("no cases are taken: %s", found)
        elif self.trouble and not found:
            _log.error("cases are taken again")
        self.trouble = found

    def tidy(self) -> None:
        """Delete what is too old or too much, and end deletions that were incomplete."""
        if self._eraser.is_incomplete:
            self._eraser.finish()
        if self._settings.keep_days is not None:
            self._delete_old(self._settings.keep_days)
        if self._settings.max_bytes is not None:
            self.make_room(0)

    def make_room(self, incoming: int) -> bool:
        """Delete answered cases, oldest first, until some bytes more fit; False where they do not.

        Cases of reading studies are kept.
        """
        limit = self._settings.max_bytes
        if limit is None:
            return True
        with self._room_lock:
            if not incoming or self._bytes + incoming > limit:
                self._bytes = self._store.blobs.total_bytes()
            while self._bytes + incoming > limit:
                oldest = self._store.oldest_answered()
                if oldest is None:
                    return False
                self._eraser.delete_case(oldest, _SERVER, why="max-gb")
                _log.warning("case %s was deleted: the store is full (--max-gb)", oldest)
                self._bytes = self._store.blobs.total_bytes()
            self._bytes += incoming
        return True

    def _delete_old(self, days: float) -> None:
        limit = time.time() - days * DAY_S
        while old := self._store.answered_before(limit, _BATCH):
            for identifier in old:
                self._eraser.delete_case(identifier, _SERVER, why="keep-days")
            _log.warning("cases deleted: %d older than --keep-days", len(old))
        for path in in_quarantine(self._store.folder):
            if path.stat().st_mtime < limit:
                path.unlink()
                self.audit.write("quarantined file deleted", _SERVER, why="keep-days")


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
