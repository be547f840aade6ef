"""The files that `kellgren grade` is given: listed as they are found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kellgren.cli.grade_command.grade_targets import Targets
from kellgren.cli.grade_command.ray_option import refuse_urls_alone, refuse_with_ray

if TYPE_CHECKING:
    from kellgren.batch.listing import Listing


def listing_of(
    paths: list[str] | None,
    path_list: Path | None,
    targets: Targets,
    *,
    ray: str | None = None,
    urls: bool = True,
) -> Listing:
    """The files that paths stand for, and those of a list; nothing is searched yet.

    Args:
        paths: files, folders, patterns and manifests.
        path_list: file with more of them but manifests, one a line; ``-`` is standard input.
        targets: what is written; refused where it would be written over what is read.
        ray: address of a cluster, whose nodes read URLs too.
        urls: whether they may be given to it: this machine reads none.

    Raises:
        typer.BadParameter: an output is among them, or one goes without a cluster only.
        InvalidManifest: a CSV among the paths is not a manifest, or contradicts itself.
        InvalidOption: the list cannot be read.
    """
    from kellgren.batch.collecting import found_files
    from kellgren.batch.listing import Listing
    from kellgren.cli.inputs import expanded, refuse_inputs
    from kellgren.cluster.sources import found_anywhere

    refuse_with_ray(ray, targets.overlay, targets.dicom_out)
    refuse_urls_alone(ray, paths or [])
    found = found_files if ray is None else partial(found_anywhere, urls=urls)
    refuse_inputs(targets.tables, (path_list,), tables=False)
    listed = iter(()) if path_list is None else _lines(path_list)
    given, known, patients = expanded(paths or [], *targets.tables)
    targets.refuse_at_once(given)
    return Listing(
        found(chain(given, listed)),
        named=targets.overlay is not None,
        known=known,
        patients=patients,
        on_found=targets.watch(),
    )


def _lines(path_list: Path) -> Iterator[str]:
    """The lines of a list, read when they are asked for; empty ones are left out."""
    from kellgren.errors import InvalidOption

    standard_input = str(path_list) == "-"
    if not standard_input and (path_list.is_dir() or not os.access(path_list, os.R_OK)):
        raise InvalidOption(path_list, "cannot be read", "Name a file with one path a line")
    return _lines_of(None if standard_input else path_list)


def _lines_of(path_list: Path | None) -> Iterator[str]:
    opened: AbstractContextManager[IO[bytes]] = (
        nullcontext(sys.stdin.buffer) if path_list is None else path_list.open("rb")
    )
    with opened as stream:
        for line in stream:
            path = line.rstrip(b"\r\n")
            if path:
                yield os.fsdecode(path)
