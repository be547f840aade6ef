"""How much an installation downloads, by system and extra, as the lock file has it.

    python benchmarks/install_size.py

For each extra on top of nothing: the sizes of the wheels that pip or uv would choose from
uv.lock, added up. Nothing is downloaded. What pip chooses without the lock may be newer.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

LOCK = Path(__file__).parents[1] / "uv.lock"
PYTHON = (3, 12)
SYSTEMS = {  # the markers' sys_platform, platform_system and platform_machine
    "Linux, x86-64": ("linux", "Linux", "x86_64"),
    "Linux, ARM": ("linux", "Linux", "aarch64"),
    "macOS, Apple silicon": ("darwin", "Darwin", "arm64"),
    "Windows, x86-64": ("win32", "Windows", "AMD64"),
}
Packages = dict[str, list[dict[str, Any]]]  # of the lock file, by name
GLIBC, MACOS = 39, 15  # newest manylinux_2_x and macOS that are counted


def environment(system: str) -> dict[str, str]:
    """The markers' variables on one system."""
    platform, name, machine = SYSTEMS[system]
    version = ".".join(map(str, PYTHON))
    return {
        **{"sys_platform": platform, "platform_system": name, "platform_machine": machine},
        **{"python_version": version, "python_full_version": f"{version}.0", "extra": ""},
        **{"os_name": "nt" if name == "Windows" else "posix", "platform_release": ""},
        **{"implementation_name": "cpython", "platform_python_implementation": "CPython"},
    }


def tags(system: str) -> list[Tag]:
    """The kinds of wheels that fit a system, the best first."""
    platform, _, machine = SYSTEMS[system]
    platforms = {
        "linux": [f"manylinux_2_{n}_{machine}" for n in range(GLIBC, 4, -1)]
        + [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")],
        "darwin": [*mac_platforms((MACOS, 0), machine)],
        "win32": [f"win_{machine.lower()}"],
    }[platform]
    return [
        *cpython_tags(PYTHON, platforms=platforms),
        *compatible_tags(PYTHON, "cp312", platforms),
    ]


def needed(packages: Packages, extra: str, system: str) -> Iterator[dict[str, Any]]:
    """Every package that an installation with one extra needs on a system, each once."""
    known = environment(system)
    waiting = [("kellgren", extra)]
    seen: set[tuple[str, str]] = set()
    reported: set[str] = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        package = next(
            p
            for p in packages[name]
            if not p.get("resolution-markers")
            or any(Marker(m).evaluate(known) for m in p["resolution-markers"])
        )
        if name not in reported:
            reported.add(name)
            yield package
        below = list(package.get("dependencies", []))
        below += package.get("optional-dependencies", {}).get(wanted, [])
        for dependency in below:
            if Marker(dependency.get("marker", "python_version > '3'")).evaluate(known):
                waiting += [(dependency["name"], e) for e in ("", *dependency.get("extra", []))]


def size(package: dict[str, Any], fitting: list[Tag]) -> int:
    """Bytes of the best wheel for a system.

    Raises:
        LookupError: there is none.
    """
    ranks = {tag: rank for rank, tag in enumerate(fitting)}
    sizes = []
    for wheel in package.get("wheels", []):
        file = wheel["url"].split("/")[-1]
        fits = [ranks[tag] for tag in parse_wheel_filename(file)[3] if tag in ranks]
        if fits:
            sizes.append((min(fits), wheel["size"]))
    if sizes:
        return int(min(sizes)[1])
    raise LookupError(package["name"])


def total(packages: Packages, extra: str, system: str) -> str:
    """Megabytes of an installation with one extra, or what has no wheel for a system."""
    fitting = tags(system)
    try:
        others = [p for p in needed(packages, extra, system) if p["name"] != "kellgren"]
        parts = [size(package, fitting) for package in others]
    except LookupError as missing:
        return f"no wheel of {missing.args[0]}"
    return f"{sum(parts) / 1e6:.0f} MB"


if __name__ == "__main__":
    packages: Packages = {}
    for package in tomllib.loads(LOCK.read_text("utf-8"))["package"]:
        packages.setdefault(package["name"], []).append(package)
    print("| | " + " | ".join(SYSTEMS) + " |")
    for extra in ("", *packages["kellgren"][0]["optional-dependencies"]):
        row = [total(packages, extra, system) for system in SYSTEMS]
        print(f"| {f'`[{extra}]`' if extra else 'without an extra'} | " + " | ".join(row) + " |")
