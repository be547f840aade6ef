"""The files that a command is given, and the processor cores that it may use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kellgren.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from kellgren.batch.pairing import Known
    from kellgren.grades import Side


def expanded(paths: list[str]) -> tuple[list[str], Known]:
    """The paths with the images of each manifest in its place, and their patients and sides.

    Raises:
        InvalidManifest: a CSV among the paths is not a manifest.
    """
    from kellgren.data.manifest import read_manifest

    images: list[str] = []
    known: dict[str, tuple[str, Side]] = {}
    for path in paths:
        if not path.lower().endswith(".csv"):
            images.append(path)
            continue
        knees = read_manifest(Path(path), graded=False)
        images += [str(knee.image) for knee in knees]
        known |= {str(knee.image): (knee.patient, knee.side) for knee in knees}
    return images, known


def files_of(
    paths: list[str], csv: Path | None, json: Path | None, *folders: Path | None
) -> list[str]:
    """The files to grade; refuses outputs that would end up inside each other or on an input."""
    from kellgren.batch.files import collect
    from kellgren.cli import terminal

    if str(csv) == str(json) == "-":
        raise typer.BadParameter("only one of --csv and --json can go to standard output")
    for written in (csv, json):
        if written is not None and written.is_dir():
            raise typer.BadParameter(f"{written} is a folder; name a file in it")
    sheets: list[str] = []
    images = collect(paths, sheets.append)
    if sheets:
        terminal.err.print(f"skipped: {len(sheets)} pictures that kellgren drew itself")
    for folder in folders:
        if folder is not None and any(_same_folder(folder, Path(image)) for image in images):
            raise typer.BadParameter(f"{folder} holds pictures to be graded; name another folder")
    if not images:
        terminal.err.print("No PNG, JPEG, TIFF or DICOM files found there.", style="bold red")
        raise typer.Exit(ExitCode.NOTHING_GRADED)
    return images


def _same_folder(folder: Path, image: Path) -> bool:
    return folder.resolve() == image.parent.resolve()


def cores() -> int:
    """Processor cores that this process may use."""
    from kellgren.diagnosis.machine import usable_cores

    return usable_cores()
