"""The graders of a batch on a cluster: what `run_batch` takes instead of this machine's workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kellgren.batch.units import FileToGrade, Outcome, Unit
from kellgren.cluster.actors import MOST_DEATHS, Actors, Work
from kellgren.cluster.ray_driver import check_address, connected
from kellgren.cluster.remote_grader import Job
from kellgren.cluster.sources import is_url
from kellgren.ensemble import Ensemble
from kellgren.errors import UnreadableRadiograph
from kellgren.reading_schema import ReadingRow


@dataclass(frozen=True)
class ClusterWorkers:
    """How units are graded on a cluster.

    Attributes:
        ensemble: as this machine opened it; the nodes must open the same.
        address: of the cluster, see `connected`.
        job: what the actors are told.
        cores: of a cluster that is started for this batch.
        say: called with what a person should know.

    Raises:
        ClusterError: nobody answers at the address.
        MissingExtra: Ray is not installed.
    """

    ensemble: Ensemble
    address: str
    job: Job
    cores: int = 1
    say: Callable[[str], None] = lambda words: None

    def __post_init__(self) -> None:
        check_address(self.address)

    def graded(
        self, units: Iterator[Unit | None], list_more: Callable[[], bool] = lambda: False
    ) -> Iterator[list[ReadingRow]]:
        """Grade units; the rows of each file, as soon as its unit is done.

        Args:
            units: ``None`` where the next one is not known yet.
            list_more: called while the actors work; whether it is of use to call it again.

        Raises:
            ClusterError: there is no such cluster, a node is not like this machine, or none works.
        """
        with connected(self.address, self.cores) as ray:
            for work, rows in Actors(ray, self.job, self.say).graded(units, list_more):
                for position, file in enumerate(work.unit):
                    found = rows[position] if rows else _given_up(file, work).rows()
                    yield list(_told_apart(found, file))


def _given_up(file: FileToGrade, work: Work) -> Outcome:
    problem = (
        f"ended the process that read it, {work.deaths} times"
        if work.deaths >= MOST_DEATHS
        else f"was lost {work.tries} times with the process or node that read it"
    )
    remedy = "Grade it by itself on one machine with more memory"
    return Outcome(file.image, note=UnreadableRadiograph(file.image, problem, remedy).reason)


def _told_apart(rows: Sequence[ReadingRow], file: FileToGrade) -> Iterator[ReadingRow]:
    """The rows, with other words for a file that is missing on a node and not here."""
    missing = UnreadableRadiograph(file.image, "does not exist", "Check the spelling of the path")
    for row in rows:
        if row.note == missing.reason and not is_url(file.image) and os.path.exists(file.image):
            elsewhere = UnreadableRadiograph(
                file.image,
                "is on this machine and not on the node that was to read it",
                "Put films on storage that every node has under the same path, or name a URL",
            )
            row = row.model_copy(update={"note": elsewhere.reason})
        yield row
