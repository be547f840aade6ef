"""How fast each engine grades the same films, and whether its grades are the reference's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from kellgren.engine_choice.engine_candidates import EngineChoice
from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError, NotAKneeFilm
from kellgren.grading.bundle import Bundle
from kellgren.parallel.blas_threads import one_blas_thread
from kellgren.parallel.interrupts import mapped

LEAST_AGREEMENT = 0.995
"""Share of equal grades that an engine needs to be chosen."""
WORTH = 0.95
"""Of the reference's time: what takes more is not chosen, for it may be chance."""
_FILMS_A_WORKER = 4  # else the last of them would decide

KneeProbabilities = Mapping[tuple[str, int], tuple[float, ...]]
"""By file and number of the knee in it: the five probabilities."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one engine takes for a knee, all of grading: decoding, finding, networks, maps.

    Attributes:
        choice: what was measured.
        start_seconds: to open the bundle.
        wall_seconds: of one knee, the fastest pass.
        processor_seconds: of one knee, all cores together, in that pass.
        knees: that both this engine and the reference graded.
        same_grades: share of them, 0..1, with the reference's grade.
        largest_shift: of a probability, from the reference's.
    """

    choice: EngineChoice
    start_seconds: float
    wall_seconds: float
    processor_seconds: float
    knees: int
    same_grades: float
    largest_shift: float


def measure_each(
    bundle: Bundle,
    images: Sequence[Path],
    choices: Iterable[EngineChoice],
    *,
    passes: int = 2,
    on_measured: Callable[[Measured], None] = lambda measured: None,
) -> list[Measured]:
    """Grade the same films with each engine.

    Args:
        bundle: already checked.
        images: files of knees.
        choices: the first is the reference.
        passes: over all films; the fastest counts.
        on_measured: called with each as it is measured.

    Raises:
        NotAKneeFilm: not one of the films could be graded.
        KellgrenError: an engine cannot be opened here.
    """
    reference: KneeProbabilities | None = None
    found = []
    for choice in choices:
        measured, told = _measure(bundle, images, choice, passes, reference)
        reference = told if reference is None else reference
        found.append(measured)
        on_measured(measured)
    return found


def fastest(measured: Sequence[Measured]) -> Measured:
    """The fastest whose grades agree; the reference's own engine where none is much faster.

    Args:
        measured: of the same films; the first is the reference.
    """
    first = measured[0].choice
    own = [m for m in measured if m.choice.name == first.name]
    best = min(own, key=lambda m: m.wall_seconds)
    agreeing = [m for m in measured if m.same_grades >= LEAST_AGREEMENT]
    other = min(agreeing, key=lambda m: m.wall_seconds)
    return other if other.wall_seconds < WORTH * best.wall_seconds else best


def _measure(
    bundle: Bundle,
    images: Sequence[Path],
    choice: EngineChoice,
    passes: int,
    reference: KneeProbabilities | None,
) -> tuple[Measured, KneeProbabilities]:
    began = time.perf_counter()
    ensemble = Ensemble(
        bundle,
        engine=choice.engine,
        precision=choice.precision,
        device=choice.device,
        threads=choice.threads,
        workers=choice.workers,
        pair=False,
    )
    opened = time.perf_counter() - began
    films = list(islice(cycle(images), max(len(images), _FILMS_A_WORKER * choice.workers)))
    with one_blas_thread(), ThreadPoolExecutor(choice.workers) as pool:
        told = _graded(ensemble, [images[0]] * choice.workers, pool)  # each worker's first is slow
        times = []
        for _ in range(passes):
            began, used = time.perf_counter(), time.process_time()
            told = _graded(ensemble, films, pool)
            times.append((time.perf_counter() - began, time.process_time() - used))
    shared = [key for key in told if reference is None or key in reference]
    if not shared:
        raise NotAKneeFilm(
            images[0].parent,
            f"has no knee that may be graded, in {len(images)} files",
            "Name a folder of knee radiographs",
        )
    wall, processor = (seconds * len(images) / len(films) / len(told) for seconds in min(times))
    own, other = (
        np.array([by_knee[key] for key in shared]) for by_knee in (told, reference or told)
    )
    same, shift = (own.argmax(axis=1) == other.argmax(axis=1)).mean(), np.abs(own - other).max()
    agreement = (len(shared), float(same), float(shift))
    return Measured(choice, opened, wall, processor, *agreement), told


def _graded(
    ensemble: Ensemble, images: Sequence[Path], pool: ThreadPoolExecutor
) -> KneeProbabilities:
    """The probabilities of each knee of some films; films that cannot be graded have none."""

    def read(image: Path) -> dict[tuple[str, int], tuple[float, ...]]:
        try:
            readings = ensemble.read_film(image)
        except KellgrenError:
            return {}
        return {(str(image), at): reading.probabilities for at, reading in enumerate(readings)}

    return {key: knee for film in mapped(pool, read, images) for key, knee in film.items()}
