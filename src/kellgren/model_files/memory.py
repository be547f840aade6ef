"""A bound on the memory that opening a network may take."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from kellgren.errors import BundleError, cause

try:
    import resource as _module
except ImportError:  # Windows has no such limits
    resource: ModuleType | None = None
else:
    resource = _module

MOST_MEMORY = 4 * 2**30
"""Bytes. A network of this package takes under 1 GiB to open and to try."""

_Given = TypeVar("_Given")
_Computed = TypeVar("_Computed")
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


def unusable(network: Path, error: Exception, remedy: str) -> BundleError:
    """The error of a network that could not be opened, or that this process has no memory for.

    Args:
        network: its file.
        error: as of `reason`.
        remedy: where the network is at fault.
    """
    allowed = _allowed()
    if is_shortage(error) and allowed < MOST_MEMORY:
        problem = f"cannot be opened: this process may take {allowed // 2**20} MiB of memory"
        return BundleError(network, problem, "Raise its limit, which ulimit -v shows")
    problem = f"is not a network this version can run ({reason(error)})"
    return BundleError(network, problem, remedy)


def reason(error: Exception) -> str:
    """Why a network could not be opened, as one clause.

    Args:
        error: a `ValueError` of this package, whose message is such a clause, or whatever a native
            runtime raised: its message is of many lines and may quote anything, so of it only the
            kind is said, and that memory was short.
    """
    if type(error) is ValueError:
        return str(error)
    if is_shortage(error) or "overflow" in str(error):
        return f"it needs over {MOST_MEMORY // 2**30} GiB of memory"
    return cause(error)


def is_shortage(error: Exception) -> bool:
    """Whether memory was short; native runtimes raise errors of their own for that."""
    return isinstance(error, MemoryError) or bool(re.search("bad_alloc|allocate", str(error)))


def with_memory_errors(infer: Callable[[_Given], _Computed]) -> Callable[[_Given], _Computed]:
    """A network's run, which raises `MemoryError` where its runtime found no memory."""

    def run(given: _Given) -> _Computed:
        try:
            return infer(given)
        except Exception as error:  # the C++ libraries have no exception tree of their own
            if is_shortage(error):
                raise MemoryError from None
            raise

    return run


def _allowed() -> float:
    """Bytes that this process may take, by its own limits; infinite without any."""
    if resource is None:
        return math.inf
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return min((most for most in limits if most != resource.RLIM_INFINITY), default=math.inf)


def _data_bytes() -> int | None:
    """Private writable memory of this process; ``None`` where the system does not tell."""
    try:
        lines = _STATUS.read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmData:")]
    return int(sizes[0]) * 1024 if sizes else None
