"""`kellgren grade --ray`: what it refuses, the films that it finds, and the runner of its units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kellgren.batch.batch import UnitRunner
    from kellgren.batch.pairing import Known
    from kellgren.ensemble import Ensemble
    from kellgren.grades import Side
    from kellgren.imaging.search import Skipped

RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="auto|local|HOST:PORT",
        help="Grade on a Ray cluster; paths on shared storage, or URLs such as s3://.",
    ),
]


def urls_expanded(
    paths: list[str], ray: str | None, pseudonym: str | None, *folders: Path | None
) -> tuple[list[str], list[Skipped]]:
    """The paths with the files behind URLs in their place, and what was skipped there.

    Args:
        paths: as they were given.
        ray: address of the cluster; without one, nothing is changed.
        pseudonym: key of pseudonyms, which this machine makes from the files.
        *folders: for pictures and DICOM objects, which a cluster does not return.

    Raises:
        typer.BadParameter: an option that goes without a cluster only.
        MissingExtra: fsspec is not installed.
    """
    from kellgren.cluster.sources import is_url, with_urls_expanded

    if ray is None:
        return paths, []
    if any(folder is not None for folder in folders):
        raise typer.BadParameter(
            "returns rows and no pictures; leave out --overlay and --dicom-out, and make them "
            "without --ray for the films that you choose from the table",
            param_hint="--ray",
        )
    if pseudonym is not None and any(is_url(path) for path in paths):
        raise typer.BadParameter(
            "reads headers on this machine, and no URLs; name films by paths",
            param_hint="--pseudonym",
        )
    return with_urls_expanded(paths)


@contextmanager
def on_cluster(
    address: str | None,
    ensemble: Ensemble,
    options: Mapping[str, Any],
    sides: tuple[Side, Known],
    force: bool,
    workers: int,
) -> Iterator[UnitRunner | None]:
    """The runner of a batch's units on a cluster, while this block lasts.

    Args:
        address: of the cluster; without one, there is no runner.
        ensemble: as opened here; the nodes must open the same.
        options: that it was opened with.
        sides: of all files, and of some one by one.
        force: grade what a check refuses too.
        workers: actors; 0: one for each core of the cluster.
    """
    if address is None:
        yield None
        return
    from kellgren.batch.batch import side_of_each
    from kellgren.cli import terminal
    from kellgren.cli.inputs import cores
    from kellgren.cluster.cluster_batch import runner_on
    from kellgren.cluster.connection import connected
    from kellgren.cluster.crew import Job
    from kellgren.cluster.parcel import packed

    job = Job(options, ensemble.model, packed(ensemble.bundle), force, workers)
    with connected(address, workers or cores()) as ray:
        yield runner_on(ray, job, side_of_each(*sides), terminal.warn)
