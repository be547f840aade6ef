"""The machine: system, processor, threads, memory and free space."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kellgren.diagnosis.fact import Fact
from kellgren.home import data_folder

LEAST_FREE_BYTES = 100 * 10**6
"""Less is called broken: a batch could not keep its journal and pictures."""
_CPU_INFO = Path("/proc/cpuinfo")
_MEMORY_INFO = Path("/proc/meminfo")
# Those that decide how fast a network runs, oldest first.
_FEATURES = (
    *("sse4_2", "avx", "fma", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16"),
    *("amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve"),
)


def machine_facts() -> Iterator[Fact]:
    """System, processor, threads, memory and free space."""
    yield Fact("machine", "system", f"{platform.system()} {platform.release()}")
    yield Fact("machine", "processor", _processor())
    yield Fact("machine", "features", _features())
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f", OMP_NUM_THREADS {threads}" if threads and threads.isdigit() else ""
    yield Fact("machine", "cores", f"{usable_cores()} of {os.cpu_count()} may be used{limit}")
    memory = _of(_MEMORY_INFO, "MemAvailable")
    if memory:
        yield Fact("machine", "memory", f"{int(memory.split()[0]) / 1e6:.1f} GB free")
    yield _space("temporary folder", Path(tempfile.gettempdir()))
    yield _space("films and spools", data_folder("reading-room"))
    yield _space("working folder", Path.cwd())


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    return _of(_CPU_INFO, "model name") or platform.processor() or platform.machine()


def _features() -> str:
    listed = (_of(_CPU_INFO, "flags") or _of(_CPU_INFO, "Features")).split()
    return " ".join(f for f in _FEATURES if f in listed) or "not known on this system"


def _of(path: Path, key: str) -> str:
    """The first value of a key in a file of the system's lines ``key : value``; empty: none."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    values = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in values if name.strip() == key), "")


def _space(name: str, folder: Path) -> Fact:
    """Free space of a folder that need not be there yet, without its path: it may name a user."""
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
    except (OSError, StopIteration) as error:
        return Fact("free space", name, f"cannot be told ({type(error).__name__})", broken=True)
    writable = os.access(there, os.W_OK)
    words = f"{free / 1e9:.1f} GB free" + ("" if writable else ", not writable")
    needed = name != "working folder"  # results may go elsewhere
    return Fact(
        *("free space", name, words), broken=needed and (free < LEAST_FREE_BYTES or not writable)
    )
