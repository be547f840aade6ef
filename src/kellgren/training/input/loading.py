"""Knees as a network trains on them: decoded once for each input size, then shared."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.grading.engines.processor import usable_cores
from kellgren.grading.preprocess import Preprocess
from kellgren.home import cache_folder
from kellgren.training.input.cache import Advance, Store, cached_store, memory_store
from kellgren.training.input.decoding import Planes
from kellgren.training.recipe import Targets

__all__ = ["Planes", "load_planes", "load_store", "target_table"]

FEW = 64
"""Below so many knees, starting processes and keeping a file costs more than decoding does."""
_MOST_PROCESSES = 16


def load_planes(
    knees: Sequence[Knee], preprocess: Preprocess, advance: Advance = lambda done, of: None
) -> Planes:
    """Read, orient and resize every knee exactly as grading does; once a machine, see `load_store`.

    Args:
        knees: of the manifest.
        preprocess: of the member; its ``size`` S decides the shape.
        advance: called with how many of how many are done; not at all where they are cached.

    Returns:
        ``(N, S, S)`` uint8: a quarter of the memory of float32, a step of 1/255 away from it.
        It may be a map of a file; writing to it does not change the file.

    Raises:
        UnreadableRadiograph: an image that does not decode.
        TrainingError: the planes do not fit in memory, or a decoding process was killed.
    """
    return load_store(knees, preprocess, advance).planes


def load_store(
    knees: Sequence[Knee], preprocess: Preprocess, advance: Advance = lambda done, of: None
) -> Store:
    """The same with what rounding to 1/255 leaves out.

    From 64 knees on they are decoded by processes into a file in `cache_folder` that all jobs and
    runners share. Where it cannot be written, memory serves, with a warning.

    Raises:
        UnreadableRadiograph: an image that does not decode.
        TrainingError: the planes do not fit in memory, or a decoding process was killed.
    """
    if len(knees) >= FEW:
        folder = cache_folder()
        try:
            return cached_store(knees, preprocess, folder, advance, _processes())
        except OSError as error:
            warnings.warn(
                f"{folder}: decoded knees cannot be kept there ({error.strerror or error}); this "
                "job decodes them into memory for itself. Free some disk space, or name another "
                "folder in KELLGREN_HOME.",
                RuntimeWarning,
                stacklevel=2,
            )
    try:
        return memory_store(knees, preprocess, advance)
    except MemoryError:
        raise TrainingError(
            f"{len(knees)} knees at {preprocess.size} pixels",
            "do not fit in memory",
            "Train at a smaller size or on a larger machine",
        ) from None


def _processes() -> int:
    return min(usable_cores(), _MOST_PROCESSES)


def target_table(targets: Targets, grades: int) -> npt.NDArray[np.float32]:
    """The distribution that stands for each labelled grade: ``(grades, grades)``, rows sum to 1."""
    rank = np.arange(grades)
    if targets.kind == "ordinal":
        mass = np.exp(-targets.sharpness * np.abs(rank[:, None] - rank[None, :]))
    else:
        mass = np.full((grades, grades), targets.smoothing / grades)
        mass += np.eye(grades) * (1.0 - targets.smoothing)
    return np.asarray(mass / mass.sum(axis=1, keepdims=True), dtype=np.float32)
