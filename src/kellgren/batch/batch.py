"""Many files: grade them in parallel, keep finished rows, go on after a bad file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from kellgren.batch.journal import Journal
from kellgren.batch.pairing import Known, in_pairs
from kellgren.batch.picture_folder import ReadingFolder
from kellgren.batch.units import Outcome, grade_unit
from kellgren.ensemble import Ensemble
from kellgren.file_names import shown_name
from kellgren.grades import Side
from kellgren.reading_schema import GradedRow, ReadingRow


def grade_files(
    ensemble: Ensemble,
    images: Iterable[str],
    *,
    side: Side = Side.UNKNOWN,
    known: Known | None = None,
    workers: int = 1,
    force: bool = False,
) -> Iterator[Outcome]:
    """Grade files in parallel; outcomes come in the order of files, those of a pair together.

    At most two files or pairs per worker are in memory.

    Args:
        ensemble: its engine should use one thread when there are several workers.
        images: paths.
        side: of every knee, if the caller knows it.
        known: patient and side of some files, if the caller knows them one by one.
        workers: how many files at a time.
        force: grade what a check refuses too.
    """
    units = _units(ensemble, list(images), side, known)
    yield from _grade_units(ensemble, units, _side_of(side, known), workers, force)


def _units(
    ensemble: Ensemble, images: Sequence[str], side: Side, known: Known | None
) -> list[tuple[str, ...]]:
    """The files graded together: a pair where the contralateral knee counts, else one file."""
    if ensemble.both_knees is None or side is not Side.UNKNOWN:
        return [(image,) for image in images]
    return in_pairs(images, known)


def _side_of(side: Side, known: Known | None) -> Callable[[str], Side]:
    """The side of a file that the caller states."""
    table = known or {}
    return lambda image: table[image][1] if image in table else side


def _grade_units(
    ensemble: Ensemble,
    units: Sequence[tuple[str, ...]],
    side_of: Callable[[str], Side],
    workers: int,
    force: bool,
) -> Iterator[Outcome]:
    waiting = iter(units)
    with ThreadPoolExecutor(workers) as pool:

        def submit(count: int) -> list[Future[list[Outcome]]]:
            return [
                pool.submit(grade_unit, ensemble, unit, side_of, force)
                for unit in islice(waiting, count)
            ]

        under_way = submit(2 * workers)
        while under_way:
            yield from under_way.pop(0).result()
            under_way += submit(1)


def grade_batch(
    ensemble: Ensemble,
    images: Sequence[str],
    journal: Journal,
    *,
    side: Side = Side.UNKNOWN,
    known: Known | None = None,
    folders: Sequence[ReadingFolder] = (),
    workers: int = 1,
    force: bool = False,
    on_rows: Callable[[Sequence[ReadingRow]], None] = lambda rows: None,
) -> list[ReadingRow]:
    """Grade the files that the journal does not hold yet; a pair is graded as a whole.

    Args:
        ensemble: grades.
        images: paths, in the order of the result.
        journal: keeps each file's rows as soon as the file is graded.
        side: of every knee, if the caller knows it.
        known: patient and side of some files, if the caller knows them one by one.
        folders: for pictures and DICOM objects of the readings.
        workers: files at a time.
        force: grade what a check refuses too.
        on_rows: called with each file's rows.

    Returns:
        All rows in the order of the images.
    """
    units = _units(ensemble, images, side, known)
    unfinished = [unit for unit in units if not _is_done(unit, journal)]
    try:
        journal.forget({shown_name(image) for unit in unfinished for image in unit})
        for outcome in _grade_units(ensemble, unfinished, _side_of(side, known), workers, force):
            for folder in folders:
                outcome = outcome.warned(folder.save(outcome.readings, outcome.refused))
            on_rows(journal.add(outcome.rows()))
    finally:
        journal.close()
    place = {shown_name(image): position for position, image in enumerate(images)}
    return sorted((r for r in journal.rows if r.image in place), key=lambda r: place[r.image])


def _is_done(unit: tuple[str, ...], journal: Journal) -> bool:
    """Whether every file of a unit was graded, and with no other contralateral knee than now."""
    names = [shown_name(image) for image in unit]
    graded = [r for r in journal.rows if isinstance(r, GradedRow) and r.image in names]
    return {row.image for row in graded} == set(names) and all(
        row.read_with in (None, *names) for row in graded
    )
