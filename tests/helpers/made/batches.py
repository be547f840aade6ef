"""Small batches: all rows of a list of files, and the pairs among their names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from kellgren.batch.batch import rows_in_order, run_batch
from kellgren.batch.collecting import Found
from kellgren.batch.crews import Workers
from kellgren.batch.journal import Journal
from kellgren.batch.listing import Listing
from kellgren.batch.pairing import Known, Pairing
from kellgren.ensemble import Ensemble
from kellgren.grades import Side
from kellgren.reading_schema import ReadingRow
from kellgren.scratch import scratch_database


def grade_batch(ensemble: Ensemble, images: Sequence[str], journal: Journal) -> list[ReadingRow]:
    """Grade the files in a thread, keep their rows in the journal, and give back all rows."""
    found = (Found(image, Path(image).name) for image in images)
    with closing(Listing(found)) as listing:
        run_batch(Workers(ensemble, 1, False, ()), listing, journal, side=Side.UNKNOWN)
        return [row for _, rows in rows_in_order(listing, journal) for row in rows]


def in_pairs(images: Sequence[str], known: Known | None = None) -> list[tuple[str, ...]]:
    """Files in the order of their first, those of one patient's left and right knee together."""
    with closing(scratch_database()) as database:
        pairing = Pairing(database)
        for position, image in enumerate(images):
            pairing.add(position, image, (known or {}).get(image))
        pairing.match()
        units = (pairing.of(position) for position in range(len(images)))
        return [tuple(images[position] for position in unit) for unit in units if unit]
