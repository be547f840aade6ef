"""Many files: grade them in parallel, keep finished rows, go on after a bad file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

from kellgren.batch.collecting import Found
from kellgren.batch.crews import Graders
from kellgren.batch.journal import Journal
from kellgren.batch.listing import Listed, Listing
from kellgren.batch.pairing import Known
from kellgren.batch.units import Outcome, Unit, grade_unit
from kellgren.ensemble import Ensemble
from kellgren.file_names import shown_name
from kellgren.grades import Side
from kellgren.parallel.interrupts import first_done, interrupts_noted
from kellgren.reading_schema import ReadingRow, RowCounts


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
        images: paths, none twice.
        side: of every knee, if the caller knows it.
        known: patient and side of some files, if the caller knows them one by one.
        workers: how many files at a time.
        force: grade what a check refuses too.
    """
    found = (Found(image, Path(image).name) for image in images)
    with (
        closing(Listing(found, known=known)) as listing,
        interrupts_noted() as heed,
        ThreadPoolExecutor(workers) as pool,
    ):
        listing.list_all()
        units = listing.units(pairs=reads_pairs(ensemble, side), side=side)
        waiting = (unit for unit in units if unit is not None)

        def submit(count: int) -> list[Future[list[Outcome]]]:
            return [
                pool.submit(grade_unit, ensemble, unit, force=force)
                for unit in islice(waiting, count)
            ]

        under_way = submit(2 * workers)
        while under_way:
            first_done(under_way[:1], heed)
            yield from under_way.pop(0).result()
            under_way += submit(1)


def reads_pairs(ensemble: Ensemble, side: Side) -> bool:
    """Whether the two knees of a patient are graded together: where the contralateral counts."""
    return ensemble.both_knees is not None and side is Side.UNKNOWN


def run_batch(
    workers: Graders,
    listing: Listing,
    journal: Journal,
    *,
    side: Side = Side.UNKNOWN,
    on_rows: Callable[[Sequence[ReadingRow]], None] = lambda rows: None,
) -> None:
    """Grade the files that the journal does not hold yet; a pair is graded as a whole.

    Memory does not grow with the number of files.

    Args:
        workers: grade.
        listing: the files, which are listed while the first are graded.
        journal: keeps each file's rows as soon as the file is graded, in no order; it is closed.
        side: of every knee, if the caller knows it.
        on_rows: called with each file's rows.
    """
    pairs = reads_pairs(workers.ensemble, side)
    try:
        resumed = journal.files > 0
        if resumed:
            journal.forget(_to_grade_again(listing, journal, side, pairs=pairs))
        units = listing.units(pairs=pairs, side=side)
        if resumed:
            units = (unit for unit in units if unit is None or not _is_done(unit, journal))
        for rows in workers.graded(units, listing.list_more):
            on_rows(journal.add(rows))
    finally:
        journal.close()


def _to_grade_again(
    listing: Listing, journal: Journal, side: Side, *, pairs: bool
) -> Iterable[str]:
    """Images, as rows name them, whose rows an earlier run kept and this one makes anew."""
    if not pairs:
        return journal.read_with_another()
    units = (unit for unit in listing.units(pairs=True, side=side) if unit is not None)
    return (name for unit in units if not _is_done(unit, journal) for name in _names_in_rows(unit))


def _is_done(unit: Unit, journal: Journal) -> bool:
    return journal.is_done(_names_in_rows(unit))


def _names_in_rows(unit: Unit) -> list[str]:
    return [shown_name(file.image) for file in unit]


def rows_in_order(listing: Listing, journal: Journal) -> Iterator[tuple[Listed, list[ReadingRow]]]:
    """The files of a batch in their order, each with its rows; read from disk one by one."""
    names = (shown_name(file.image) for file in listing.files())
    yield from zip(listing.files(), journal.by_file(names), strict=True)


def counts_of(listing: Listing, journal: Journal) -> RowCounts:
    """How many rows a batch has, and of how many files; its rows are not read for that."""
    files = graded = rows = 0
    for file in listing.files():
        of_file, graded_of_file = journal.counts(shown_name(file.image))
        files += of_file > 0
        rows += of_file
        graded += graded_of_file
    return RowCounts(files=files, graded=graded, not_graded=rows - graded)
