"""The processor of this machine: its name, what it computes in, and the cores that may be used."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# Those that decide how fast a network runs, oldest first.
_FEATURES = (
    *("sse4_2", "avx", "fma", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16"),
    *("amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve"),
)
_INT8 = {"avx512_vnni", "avx_vnni", "amx_int8"}
_ARM = ("arm64", "aarch64")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


def processor_name() -> str:
    """As the system states it."""
    return first_value(_CPU_INFO, "model name") or platform.processor() or platform.machine()


def processor_features() -> tuple[str, ...]:
    """Its instructions that decide how fast a network runs; empty where the system lists none."""
    listed = (first_value(_CPU_INFO, "flags") or first_value(_CPU_INFO, "Features")).split()
    return tuple(feature for feature in _FEATURES if feature in listed)


def computes_in_bf16() -> bool | None:
    """Whether it multiplies in bf16; ``None`` where the system does not tell."""
    features = processor_features()
    return bool(_BF16 & set(features)) if features else None


def sums_int8() -> bool:
    """Whether it sums products of int8 without loss.

    Older x86 processors sum them in pairs to 16 bits, which two large ones exceed. A processor
    of that kind whose system does not tell counts as old.
    """
    return platform.machine().lower() in _ARM or bool(_INT8 & set(processor_features()))


def usable_cores() -> int:
    """Processor cores that this process may use, and has the time of.

    A container may see all cores of its machine, and have the time of two.
    """
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def cpu_quota(own_groups: Path = _OWN_GROUPS, groups: Path = _GROUPS) -> float:
    """Cores whose time the control groups of this process have; infinite without a limit.

    Args:
        own_groups: the groups of this process, as Linux lists them.
        groups: folder of all groups. A container sees its own as the topmost one, so that the path
            that is listed need not be there: what holds is the least limit on the way up.
    """
    least = math.inf
    for line in _lines(own_groups):
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = groups / "cpu" if controllers else groups
        below = folder / path.lstrip("/")
        for group in (below, *below.parents):
            least = min(least, _quota(group))
            if group == folder:
                break
    return least


def _quota(group: Path) -> float:
    """The cores of one group, by version 2 of control groups or by version 1."""
    parts = (_lines(group / f"cpu.cfs_{part}_us") for part in ("quota", "period"))
    numbers = _lines(group / "cpu.max") or [" ".join(number for part in parts for number in part)]
    quota, _, period = numbers[0].partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else math.inf


def first_value(path: Path, key: str) -> str:
    """The first value of a key in a file of the system's lines ``key : value``; empty: none."""
    values = (line.partition(":") for line in _lines(path))
    return next((value.strip() for name, _, value in values if name.strip() == key), "")


def _lines(path: Path) -> list[str]:
    """Of a file of the system; none where there is no such file."""
    try:
        return path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
