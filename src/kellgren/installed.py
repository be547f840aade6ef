"""Which version of a package is installed here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version(name: str) -> str:
    """Of a package by its name on the index; empty where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
