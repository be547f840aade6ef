"""`kellgren grade --ray`: what it refuses, and the workers of its batch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kellgren.cluster.cluster_workers import ClusterWorkers
    from kellgren.ensemble import Ensemble

RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="auto|local|HOST:PORT",
        help="Grade on a Ray cluster; paths on shared storage, or URLs such as s3://.",
    ),
]


def refuse_with_ray(ray: str | None, *folders: Path | None) -> None:
    """Refuse what goes without a cluster only.

    Args:
        ray: address of the cluster; without one, nothing is refused.
        *folders: for pictures and DICOM objects, which a cluster does not return.

    Raises:
        typer.BadParameter: with what to do instead.
    """
    if ray is not None and any(folder is not None for folder in folders):
        raise typer.BadParameter(
            "returns rows and no pictures; leave out --overlay and --dicom-out, and make them "
            "without --ray for the films that you choose from the table",
            param_hint="--ray",
        )


def refuse_urls_alone(ray: str | None, given: Iterable[str]) -> None:
    """Refuse URLs where no cluster reads them.

    Args:
        ray: address of the cluster; with one, nothing is refused.
        given: paths, folders, patterns and URLs.

    Raises:
        typer.BadParameter: with what to do instead.
    """
    from kellgren.cluster.sources import is_url

    url = next(filter(is_url, given), None) if ray is None else None
    if url is not None:
        raise typer.BadParameter(
            f"{url} is a URL, which a Ray cluster reads: add --ray local or the address of one, or "
            "copy the films to this machine"
        )


def cluster_workers(
    address: str, opening: partial[Ensemble], force: bool, workers: int
) -> ClusterWorkers:
    """The workers of a batch on a cluster.

    Args:
        address: of the cluster.
        opening: opens the ensemble, here and on the nodes, with a number of threads.
        force: grade what a check refuses too.
        workers: actors; 0: one for each core of the cluster.

    Raises:
        ClusterError: nobody answers at the address.
        typer.BadParameter: a GPU is to compute.
    """
    if opening.keywords.get("device") == "cuda":
        raise typer.BadParameter(
            "grades on processors; leave out --device cuda, or --ray", param_hint="--ray"
        )
    from kellgren.cli import terminal
    from kellgren.cli.inputs import cores
    from kellgren.cluster.cluster_workers import ClusterWorkers
    from kellgren.cluster.parcel import packed
    from kellgren.cluster.remote_grader import Job

    ensemble = opening(threads=1)
    options = {**opening.keywords, "threads": 1}
    job = Job(options, ensemble.model, packed(ensemble.bundle), force, workers)
    return ClusterWorkers(ensemble, address, job, workers or cores(), terminal.warn)
