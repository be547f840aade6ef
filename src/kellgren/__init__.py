"""Kellgren-Lawrence grades of knee X-rays: the grade, how sure it is, and where it looked.

Research software, not a medical device.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("kellgren")
__all__ = ["Ensemble", "Grade", "KellgrenError", "KneeReading", "Side", "__version__"]

if TYPE_CHECKING:
    from kellgren.ensemble import Ensemble
    from kellgren.errors import KellgrenError
    from kellgren.grades import Grade, Side
    from kellgren.reading import KneeReading

_HOMES = {
    "Ensemble": "kellgren.ensemble",
    "KneeReading": "kellgren.reading",
    "Grade": "kellgren.grades",
    "Side": "kellgren.grades",
    "KellgrenError": "kellgren.errors",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: `kellgren --help` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kellgren' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
