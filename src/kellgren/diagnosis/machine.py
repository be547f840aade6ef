"""The machine: system, processor, threads, memory and free space."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kellgren.diagnosis.fact import Fact
from kellgren.grading.engines.processor import (
    first_value,
    processor_features,
    processor_name,
    usable_cores,
)
from kellgren.home import data_folder

LEAST_FREE_BYTES = 100 * 10**6
"""Less is called broken: a batch could not keep its journal and pictures."""
_MEMORY_INFO = Path("/proc/meminfo")


def machine_facts() -> Iterator[Fact]:
    """System, processor, threads, memory and free space."""
    yield Fact("machine", "system", f"{platform.system()} {platform.release()}")
    yield Fact("machine", "processor", processor_name())
    features = " ".join(processor_features()) or "not known on this system"
    yield Fact("machine", "features", features)
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f", OMP_NUM_THREADS {threads}" if threads and threads.isdigit() else ""
    yield Fact("machine", "cores", f"{usable_cores()} of {os.cpu_count()} may be used{limit}")
    memory = first_value(_MEMORY_INFO, "MemAvailable")
    if memory:
        yield Fact("machine", "memory", f"{int(memory.split()[0]) / 1e6:.1f} GB free")
    yield _space("temporary folder", Path(tempfile.gettempdir()))
    yield _space("films and spools", data_folder("reading-room"))
    yield _space("working folder", Path.cwd())


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
