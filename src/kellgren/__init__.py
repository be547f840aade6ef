"""Kellgren-Lawrence grades of knee X-rays, with probabilities, checks and class-activation maps.

Research software, not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kellgren.default_ensemble import read
    from kellgren.ensemble import Ensemble
    from kellgren.errors import (
        BundleError,
        CannotKeep,
        ClusterError,
        InvalidCampaign,
        InvalidManifest,
        InvalidOption,
        InvalidPack,
        InvalidPredictions,
        InvalidRecipe,
        KellgrenError,
        MissingExtra,
        NotAKneeFilm,
        TrainingError,
        UnanswerableSource,
        UnreadableRadiograph,
        WeightsUnavailable,
    )
    from kellgren.grades import Grade, Side
    from kellgren.knee import KneeCrop, Region
    from kellgren.localisation.check import Check
    from kellgren.reading import KneeReading

    __version__: str

__all__ = [
    "BundleError",
    "CannotKeep",
    "Check",
    "ClusterError",
    "Ensemble",
    "Grade",
    "InvalidCampaign",
    "InvalidManifest",
    "InvalidOption",
    "InvalidPack",
    "InvalidPredictions",
    "InvalidRecipe",
    "KellgrenError",
    "KneeCrop",
    "KneeReading",
    "MissingExtra",
    "NotAKneeFilm",
    "Region",
    "Side",
    "TrainingError",
    "UnanswerableSource",
    "UnreadableRadiograph",
    "WeightsUnavailable",
    "__version__",
    "read",
]

# Every public name that is not listed here comes from `kellgren.errors`.
_MODULES = {
    "Check": "kellgren.localisation.check",
    "Ensemble": "kellgren.ensemble",
    "Grade": "kellgren.grades",
    "KneeCrop": "kellgren.knee",
    "KneeReading": "kellgren.reading",
    "Region": "kellgren.knee",
    "Side": "kellgren.grades",
    "read": "kellgren.default_ensemble",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562): `kellgren --help` needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module 'kellgren' has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("kellgren")
    else:
        from importlib import import_module

        value = getattr(import_module(_MODULES.get(name, "kellgren.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
