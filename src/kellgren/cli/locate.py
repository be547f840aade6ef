"""`kellgren locate`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from kellgren.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from kellgren.batch.locate import Location

EXAMPLES = "kellgren locate film.png --overlay boxes · kellgren locate 'study/**/*.dcm' --csv -"


def locate(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders or glob patterns.")
    ],
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write a table, one row per joint; - prints it.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write all joints as JSON; - prints it.")
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Folder for pictures of each film with its knees' squares.")
    ] = None,
    side: Annotated[
        Literal["L", "R"] | None, typer.Option(help="Side of every knee named here.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Show what a check refuses too, marked as refused.")
    ] = False,
) -> None:
    """Show where the knees of a film lie, their sides and checks, without grading them."""
    from kellgren.batch.locate import locate_file, write_csv, write_json
    from kellgren.cli import terminal
    from kellgren.cli.inputs import files_of
    from kellgren.grades import Side
    from kellgren.localisation.knee_detector import Localiser

    collected = files_of(paths, csv, json, overlay)
    images = collected.images
    localiser = Localiser()
    given_side = Side(side or "")
    with terminal.progress("locating") as bar:
        task = bar.add_task("", total=len(images), now="")
        locations = []
        for image in images:
            locations.append(locate_file(image, given_side, localiser, force=force))
            bar.advance(task)
    for path, write in ((csv, write_csv), (json, write_json)):
        if path is not None:
            _write(locations, path, write)
    if overlay is not None:
        _draw(locations, overlay, collected.places)
    rows = [row for location in locations for row in location.rows()]
    terminal.show_locations(rows, table="-" not in (str(csv), str(json)))
    terminal.show_skipped(collected.skipped)
    raise typer.Exit(ExitCode.of_batch(sum(bool(row.note) for row in rows), len(rows)))


def _write(
    locations: list[Location], path: Path, write: Callable[[list[Location], IO[str]], None]
) -> None:
    from kellgren.atomic_files import written_whole

    if str(path) == "-":
        write(locations, sys.stdout)
        return
    with written_whole(path) as stream:
        write(locations, stream)


def _draw(locations: list[Location], folder: Path, places: dict[str, str]) -> None:
    from kellgren.atomic_files import replaced_whole
    from kellgren.batch.picture_folder import distinct_names
    from kellgren.cli import terminal
    from kellgren.imaging.search import OWN, why_skipped

    names = distinct_names(places)
    for location in locations:
        path = folder / f"{names[location.image]}.png"
        if not location.knees:
            continue
        if path.exists() and why_skipped(path) != OWN:
            terminal.warn(f"warning: no picture: {path} is there and was not drawn by kellgren")
            continue
        with replaced_whole(path) as temporary:
            temporary.write_bytes(location.picture())
