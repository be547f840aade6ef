"""Units of work on a cluster: what `grade_batch` runs instead of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kellgren.batch.batch import Outcome, Unit, UnitRunner
from kellgren.cluster.crew import MOST_DEATHS, Crew, Job, Work
from kellgren.cluster.remote_grader import Film
from kellgren.cluster.sources import is_url, place_of
from kellgren.errors import UnreadableRadiograph
from kellgren.grades import Side
from kellgren.reading_schema import ReadingRow, UngradedRow


@dataclass(frozen=True, slots=True)
class RemoteOutcome(Outcome):
    """The result of one file that another machine graded: its rows, without pictures."""

    graded_there: tuple[ReadingRow, ...] = ()

    def rows(self) -> list[ReadingRow]:
        """The rows, as that machine made them."""
        return list(self.graded_there)


def runner_on(
    ray: Any,
    job: Job,
    side_of: Callable[[str], Side],
    say: Callable[[str], None] = lambda words: None,
) -> UnitRunner:
    """A runner of units, for `grade_batch`.

    Args:
        ray: the module, connected.
        job: what the actors are told.
        side_of: the side of a file, as far as the caller knows it.
        say: called with what a person should know.
    """

    def run(units: Sequence[Unit]) -> Iterator[Outcome]:
        works = (
            Work(tuple(Film(image, place_of(image), side_of(image)) for image in unit))
            for unit in units
        )
        for work, rows in Crew(ray, job, say).run(works):
            for position, film in enumerate(work.films):
                found = rows[position] if rows else (_given_up(film, work),)
                yield RemoteOutcome(film.image, graded_there=tuple(_checked(found, film)))

    return run


def _given_up(film: Film, work: Work) -> UngradedRow:
    problem = (
        f"ended the process that read it, {work.deaths} times"
        if work.deaths >= MOST_DEATHS
        else f"was lost {work.tries} times with the process or node that read it"
    )
    remedy = "Grade it by itself on one machine with more memory"
    note = UnreadableRadiograph(film.image, problem, remedy).reason
    return UngradedRow(image=film.image, side="", grade=None, note=note)


def _checked(rows: Sequence[ReadingRow], film: Film) -> Iterator[ReadingRow]:
    """The rows, with other words for a file that is missing on a node and not here."""
    missing = UnreadableRadiograph(film.image, "does not exist", "Check the spelling of the path")
    for row in rows:
        if row.note == missing.reason and not is_url(film.place) and os.path.exists(film.place):
            elsewhere = UnreadableRadiograph(
                film.image,
                "is on this machine and not on the node that was to read it",
                "Put films on storage that every node has under the same path, or name a URL",
            )
            row = row.model_copy(update={"note": elsewhere.reason})
        yield row
