"""A bound on the memory that opening a network may take."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

try:
    import resource as _module
except ImportError:  # Windows has no such limits
    resource: ModuleType | None = None
else:
    resource = _module

MOST_MEMORY = 4 * 2**30
"""Bytes. A network of this package takes under 1 GiB to open and to try."""

_lock = threading.Lock()
_STATUS = Path("/proc/self/status")


@contextmanager
def bounded_memory(most: int = MOST_MEMORY) -> Iterator[None]:
    """Let this process's memory grow by so much in this block; beyond it, allocations fail.

    A graph of a hundred bytes can state a constant of a terabyte, which a runtime computes while
    it opens the graph. Where the system does not enforce such a limit (elsewhere than on Linux)
    nothing is bounded. A tighter limit that the process has already stays.

    Args:
        most: bytes beyond what the process has now.
    """
    used = _data_bytes()
    if resource is None or used is None:
        yield
        return
    with _lock:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [used + most, *(x for x in (soft, hard) if x != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def reason(error: Exception) -> str:
    """Why a network could not be opened, as one clause.

    Args:
        error: a `ValueError` of this package, whose message is such a clause, or whatever a native
            runtime raised: its message is of many lines and may quote anything, so of it only the
            kind is said, and that memory was short.
    """
    if type(error) is ValueError:
        return str(error)
    if isinstance(error, MemoryError) or re.search("bad_alloc|allocate|overflow", str(error)):
        return f"it needs over {MOST_MEMORY // 2**30} GiB of memory"
    return type(error).__name__


def _data_bytes() -> int | None:
    """Private writable memory of this process; ``None`` where the system does not tell."""
    try:
        lines = _STATUS.read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmData:")]
    return int(sizes[0]) * 1024 if sizes else None
