"""Versions of the package and its libraries, and which extras are installed."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import requires

from kellgren.diagnosis.fact import Fact
from kellgren.libraries import installed_version

_REQUIREMENT = re.compile(r"^([\w.-]+)")
# Packages that bring the same module, built for more devices.
_IN_PLACE_OF = {"onnxruntime": ("onnxruntime-gpu",)}
_EXTRA = re.compile(r"extra\s*==\s*['\"](\w+)['\"]")


def package_facts() -> Iterator[Fact]:
    """Versions of the package and its libraries, and which extras are installed."""
    needed, extras = requirements()
    yield Fact("versions", "kellgren", installed_version("kellgren"))
    yield Fact("versions", "Python", f"{platform.python_version()} ({platform.machine()})")
    found = {name: _version(name) for name in needed}
    there = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    yield Fact("versions", "libraries", there)
    missing = [name for name, number in found.items() if not number]
    if missing:
        remedy = "install the package again"
        yield Fact("versions", "missing", f"{', '.join(missing)}: {remedy}", broken=True)
    for extra, names in extras.items():
        yield _extra(extra, names)


def requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Names of the libraries that are always needed, and of those that each extra adds."""
    needed: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in requires("kellgren") or ():
        named, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if named is not None:
            (extras.setdefault(extra[1], []) if extra else needed).append(named[1])
    return needed, extras


def _extra(extra: str, names: list[str]) -> Fact:
    found = {name: _version(name) for name in names}
    if all(found.values()):
        words = ", ".join(f"{name} {number}" for name, number in found.items())
    else:
        missing = ", ".join(name for name, number in found.items() if not number)
        words = f"not installed (without {missing})"
    return Fact("extras", extra, words)


def _version(name: str) -> str:
    found = map(installed_version, (name, *_IN_PLACE_OF.get(name, ())))
    return next(filter(None, found), "")
