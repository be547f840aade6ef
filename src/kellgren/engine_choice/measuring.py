"""How fast each engine grades the same films, and whether its grades are the reference's.

Films are graded as in a batch of many: each worker but the first is a process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np

from kellgren.batch.batch import reads_pairs
from kellgren.batch.collecting import Found
from kellgren.batch.crews import Workers, opened_workers
from kellgren.batch.listing import Listing
from kellgren.batch.units import Unit
from kellgren.engine_choice.engine_candidates import EngineChoice
from kellgren.ensemble import Ensemble
from kellgren.errors import NotAKneeFilm
from kellgren.grades import Side
from kellgren.grading.bundle import Bundle
from kellgren.reading_schema import GradedRow

LEAST_AGREEMENT = 0.995
"""Share of equal grades that an engine needs to be chosen."""
WORTH = 0.95
"""Of the reference's time: what takes more is not chosen, for it may be chance."""
_FILMS_A_WORKER = 4  # else the last of them would decide

Knees = Mapping[tuple[str, int], GradedRow]
"""By file and number of the knee in it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one engine takes for a knee, all of grading: decoding, finding, networks, maps.

    Attributes:
        choice: what was measured.
        start_seconds: until the bundle was open in each process; in none of the other times.
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
    joint_space: bool = True,
    passes: int = 2,
    on_measured: Callable[[Measured], None] = lambda measured: None,
) -> list[Measured]:
    """Grade the same films with each engine.

    Args:
        bundle: already checked.
        images: files of knees.
        choices: the first is the reference.
        joint_space: whether it is measured too, as `kellgren grade` does without `--fast`.
        passes: over all films; the fastest counts.
        on_measured: called with each as it is measured.

    Raises:
        NotAKneeFilm: not one of the films could be graded.
        KellgrenError: an engine cannot be opened here.
    """
    reference: Knees | None = None
    found = []
    opening = partial(Ensemble.open, bundle.folder, joint_space=joint_space)
    for choice in choices:
        measured, knees = _measure(opening, images, choice, passes, reference)
        reference = knees if reference is None else reference
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
    opening: partial[Ensemble],
    images: Sequence[Path],
    choice: EngineChoice,
    passes: int,
    reference: Knees | None,
) -> tuple[Measured, Knees]:
    began = time.perf_counter()
    on = partial(opening, engine=choice.engine, precision=choice.precision, device=choice.device)
    with opened_workers(on, choice.workers, processes=choice.device == "cpu") as workers:
        if workers.processes is not None:
            workers.processes.wait_until_up()
        opened = time.perf_counter() - began
        units = _units(images, pairs=reads_pairs(workers.ensemble, Side.UNKNOWN))
        _graded(workers, units[:1] * (2 * choice.workers))  # each worker's first is slow
        rounds = ceil(_FILMS_A_WORKER * choice.workers / len(images))
        runs = [_graded(workers, units * rounds) for _ in range(passes)]
    best = min(runs, key=lambda run: run.seconds)
    shared = [key for key in best.knees if reference is None or key in reference]
    if not shared:
        raise NotAKneeFilm(
            images[0].parent,
            f"has no knee that may be graded, in {len(images)} files",
            "Name a folder of knee radiographs",
        )
    same, shift = _agreement(best.knees, reference or best.knees, shared)
    wall, processor = (s / best.graded for s in (best.seconds, best.processor_seconds))
    return Measured(choice, opened, wall, processor, len(shared), same, shift), best.knees


def _units(images: Sequence[Path], *, pairs: bool) -> list[Unit]:
    with closing(Listing(Found(str(image), image.name) for image in images)) as listing:
        listing.list_all()
        return [unit for unit in listing.units(pairs=pairs) if unit is not None]


@dataclass(frozen=True, slots=True)
class _Pass:
    """Over all films: how long it took, how many knees were graded, and each of these once."""

    seconds: float
    processor_seconds: float
    graded: int
    knees: Knees


def _graded(workers: Workers, units: Sequence[Unit]) -> _Pass:
    knees: dict[tuple[str, int], GradedRow] = {}
    graded = 0
    began, used = time.perf_counter(), _processor_seconds(workers)
    for rows in workers.graded(iter(units)):
        of_file = [row for row in rows if isinstance(row, GradedRow)]
        knees |= {(row.image, at): row for at, row in enumerate(of_file)}
        graded += len(of_file)
    seconds, processor = time.perf_counter() - began, _processor_seconds(workers) - used
    return _Pass(seconds, processor, graded, knees)


def _processor_seconds(workers: Workers) -> float:
    beside = workers.processes
    return time.process_time() + (0.0 if beside is None else beside.processor_seconds)


def _agreement(
    knees: Knees, reference: Knees, shared: Sequence[tuple[str, int]]
) -> tuple[float, float]:
    """The share of knees with the reference's grade, and the largest shift of a probability."""
    same = [knees[key].grade == reference[key].grade for key in shared]
    own, other = (np.array([of[key].probabilities for key in shared]) for of in (knees, reference))
    return float(np.mean(same)), float(np.abs(own - other).max())
