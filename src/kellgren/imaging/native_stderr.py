"""Silence for native libraries that write to stderr by themselves."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_lock = threading.Lock()


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Discard what is written to the process's stderr, for one caller at a time.

    libtiff reports damage there, past every Python setting. What other threads write
    meanwhile is lost too, so only the call into such a library belongs inside.
    """
    with _lock:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # a program without stderr has nothing to silence
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, _STDERR)
        os.close(null)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
