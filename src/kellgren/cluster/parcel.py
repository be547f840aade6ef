"""A bundle on its way to the nodes: its files as bytes, checked again where they arrive."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.ensemble import Ensemble
from kellgren.grading.bundle import CARD, Bundle, default_bundle

Parcel = Mapping[str, npt.NDArray[np.uint8]]
"""The content of each file by its name. Arrays, since a node shares their memory among actors."""


def packed(bundle: Bundle) -> Parcel | None:
    """A bundle's files; ``None`` for the one that every installation of the package has."""
    if bundle.folder == default_bundle():
        return None
    names = (CARD, *bundle.card.files)
    content = {name: bundle.path(name).read_bytes() for name in names[:1]}
    content |= {name: bundle.read(name) for name in names[1:]}
    return {name: np.frombuffer(data, np.uint8) for name, data in content.items()}


def opened_there(parcel: Parcel | None, options: Mapping[str, Any]) -> Ensemble:
    """Open the package's own bundle, or a parcel.

    A parcel's files lie in a folder that only this user may read, and only until the networks are
    in memory.

    Args:
        parcel: from `packed`.
        options: of `Ensemble.open`.

    Raises:
        BundleError: it is damaged or missing.
    """
    if parcel is None:
        return Ensemble.open(default_bundle(), **options)
    with tempfile.TemporaryDirectory(prefix="kellgren-") as folder:
        for name, data in parcel.items():
            (Path(folder) / Path(name).name).write_bytes(data.tobytes())
        return Ensemble.open(folder, **options)
