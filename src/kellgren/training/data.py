"""Knees as a network trains on them: decoded once for each input size, then kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from kellgren.errors import TrainingError
from kellgren.localise import whole_knee
from kellgren.manifest import Knee
from kellgren.preprocess import Preprocess
from kellgren.radiograph import read_radiograph
from kellgren.recipe import Targets

Planes = npt.NDArray[np.uint8]
Advance = Callable[[int, int], None]


def load_planes(
    knees: Sequence[Knee], preprocess: Preprocess, advance: Advance = lambda done, of: None
) -> Planes:
    """Read, orient and resize every knee exactly as grading does.

    Args:
        knees: of the manifest.
        preprocess: of the member; its ``size`` S decides the shape.
        advance: told how many of how many are done.

    Returns:
        ``(N, S, S)`` uint8: a quarter of the memory of float32, a step of 1/255 away from it.

    Raises:
        UnreadableRadiograph: an image that does not decode.
        TrainingError: the planes do not fit in memory.
    """
    try:
        planes = np.empty((len(knees), preprocess.size, preprocess.size), dtype=np.uint8)
    except MemoryError:
        raise TrainingError(
            f"{len(knees)} knees at {preprocess.size} pixels",
            "do not fit in memory",
            "Train at a smaller size or on a larger machine",
        ) from None

    def load(position: int) -> None:
        knee = knees[position]
        crop = whole_knee(read_radiograph(knee.image), knee.side)
        planes[position] = np.rint(preprocess.plane(crop) * 255.0)

    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(load, range(len(knees))), start=1):
            advance(done, len(knees))
    return planes


def target_table(targets: Targets, grades: int) -> npt.NDArray[np.float32]:
    """The distribution that stands for each labelled grade: ``(grades, grades)``, rows sum to 1."""
    rank = np.arange(grades)
    if targets.kind == "ordinal":
        mass = np.exp(-targets.sharpness * np.abs(rank[:, None] - rank[None, :]))
    else:
        mass = np.full((grades, grades), targets.smoothing / grades)
        mass += np.eye(grades) * (1.0 - targets.smoothing)
    return np.asarray(mass / mass.sum(axis=1, keepdims=True), dtype=np.float32)
