"""The processor of this machine: its name, what it computes in, and the cores that may be used."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
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
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def first_value(path: Path, key: str) -> str:
    """The first value of a key in a file of the system's lines ``key : value``; empty: none."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    values = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in values if name.strip() == key), "")
