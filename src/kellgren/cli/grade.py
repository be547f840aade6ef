"""`kellgren grade`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

EXAMPLES = (
    "kellgren grade knee.png · kellgren grade examples --overlay overlays · "
    "kellgren grade 'study/**/*.dcm' --csv grades.csv --json grades.json"
)


def grade(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders or glob patterns.")
    ],
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write a table, one row a knee; - prints it.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write all readings as JSON; - prints it.")
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Folder for pictures of each knee with its map.")
    ] = None,
    side: Annotated[
        Literal["L", "R"] | None, typer.Option(help="Side of every knee named here.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(envvar="KELLGREN_MODEL", help="Folder of another bundle.")
    ] = None,
    engine: Annotated[
        Literal["onnxruntime", "openvino"], typer.Option(envvar="KELLGREN_ENGINE")
    ] = "onnxruntime",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="bf16: with --engine openvino only.")
    ] = "fp32",
    mirror: Annotated[bool, typer.Option(help="Average with the look at the mirror image.")] = True,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Files at a time; 0: one a processor core.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted --csv or --json batch.")
    ] = False,
) -> None:
    """Grade knee X-rays: PNG, JPEG, TIFF or DICOM, one knee a picture."""
    from kellgren import terminal
    from kellgren.batch import (
        Journal,
        OverlayFolder,
        collect,
        grade_batch,
        write_csv,
        write_json,
    )
    from kellgren.bundle import default_bundle
    from kellgren.grades import Side
    from kellgren.pipeline import Ensemble

    images = collect(paths)
    if not images:
        terminal.err.print("No PNG, JPEG, TIFF or DICOM files found there.", style="bold red")
        raise typer.Exit(4)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    busy = min(workers or cores or 1, len(images))
    ensemble = Ensemble.open(
        model or default_bundle(),
        engine=engine,
        precision=precision,
        threads=1 if busy > 1 else 0,
        mirror=mirror,
    )
    target = next((path for path in (csv, json) if path is not None and str(path) != "-"), None)
    journal = Journal(
        None if target is None else target.with_name(f".{target.name}.journal"),
        resume=resume,
        model=ensemble.model,
    )
    with terminal.progress("grading") as bar:
        task = bar.add_task("", total=len(images), completed=len(journal.done), now="")
        rows = grade_batch(
            ensemble,
            images,
            journal,
            side=Side(side or ""),
            overlays=None if overlay is None else OverlayFolder(overlay),
            workers=busy,
            tell=lambda rows: bar.advance(task),
        )
    if csv is not None:
        write_csv(rows, csv)
    if json is not None:
        write_json(rows, ensemble.model, json)
    terminal.show_readings(rows, table="-" not in (str(csv), str(json)))
    _tell_where(csv, json, overlay)
    failed = sum(row["grade"] is None for row in rows)
    raise typer.Exit(0 if not failed else 4 if failed == len(rows) else 1)


def _tell_where(*written: Path | None) -> None:
    from kellgren import terminal

    kept = [str(path) for path in written if path is not None and str(path) != "-"]
    if kept:
        terminal.err.print(f"written: {', '.join(kept)}", style="dim")
