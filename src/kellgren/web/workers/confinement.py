"""What a grader may have: no secret of its server, no new rights, bounded memory and files."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

NICENESS = 5  # so that HTTP is answered while every core grades
_FILE_BYTES, _OPEN_FILES = 2**28, 256
# All that a grader needs of its server's environment: where programs and libraries are.
_PASSED = frozenset(
    {
        *("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
        *("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
        *("SYSTEMROOT", "WINDIR", "USERPROFILE", "LOCALAPPDATA"),
        *("KELLGREN_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"),
    }
)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38


def grader_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that a grader gets; one thread for each."""
    return {name: given[name] for name in _PASSED & given.keys()} | {"OMP_NUM_THREADS": "1"}


def confine(memory: int) -> None:
    """Give up what reading a film does not need; to be called by the grader itself.

    Args:
        memory: bytes of address space that it may use.
    """
    if sys.platform == "win32":
        return
    import resource

    os.nice(NICENESS)
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        resource.setrlimit(limit, (most, most))
    hide_memory()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_memory() -> None:
    """Keep other processes of this user from reading this one's memory and environment (Linux)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
