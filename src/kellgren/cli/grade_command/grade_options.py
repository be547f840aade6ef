"""The options of `kellgren grade`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def _or_a_list(context: typer.Context, paths: list[str] | None) -> list[str] | None:
    if not paths and context.params.get("path_list") is None and not context.resilient_parsing:
        raise typer.BadParameter("name files, folders or patterns, or a list of them by --list")
    return paths


Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH...",
        callback=_or_a_list,
        show_default=False,
        help="Files, folders, glob patterns, or a manifest.csv.",
    ),
]
PathList = Annotated[
    Path | None,
    typer.Option(
        "--list", is_eager=True, help="File with more paths, one a line; - reads standard input."
    ),
]
CsvTable = Annotated[
    Path | None, typer.Option("--csv", help="Write a table, one row per joint; - prints it.")
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write all readings as JSON; - prints it.")
]
ParquetFile = Annotated[
    Path | None,
    typer.Option("--parquet", help="Write a Parquet file with typed columns; extra parquet."),
]
OverlayPictures = Annotated[
    Path | None, typer.Option(help="Folder for pictures of each joint, graded ones with their map.")
]
Workers = Annotated[
    int,
    typer.Option(min=0, max=256, help="Files at a time; 0: as remembered, or one per core."),
]
DicomFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder for DICOM objects: report, pictures, segmentation, presentation state."
    ),
]
FhirTarget = Annotated[
    Path | None,
    typer.Option(help="FHIR R4 Observations: a Bundle in FILE.json, or one file per knee in DIR."),
]
PseudonymKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY|@FILE",
        envvar="KELLGREN_PSEUDONYM",
        help="Name patients by a keyed hash; keep the key in a file or the variable.",
    ),
]
Frame = Annotated[
    int | None,
    typer.Option(min=1, help="Frame to read, from 1, of a DICOM file that holds several."),
]
SideOfAll = Annotated[Literal["L", "R"] | None, typer.Option(help="Side of every knee named here.")]
Mirror = Annotated[
    bool | None,
    typer.Option(
        "--mirror/--no-mirror",
        help="Average over the knee and its mirror image; default: as the model's card has it.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Grade what a check refuses too.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume an interrupted --csv, --json or --parquet batch.")
]
Single = Annotated[
    bool, typer.Option("--single", help="Grade every knee without the patient's other knee.")
]


def _print_schema(wanted: bool) -> None:
    if wanted:
        from json import dumps

        from kellgren.reading_schema import readings_schema

        typer.echo(dumps(readings_schema(), indent=2))
        raise typer.Exit


Schema = Annotated[
    bool,
    typer.Option(
        "--schema",
        callback=_print_schema,
        is_eager=True,
        help="Print the JSON Schema of what --json writes, and stop.",
    ),
]
MappedGrade = Annotated[
    int | None,
    typer.Option("--grade", min=0, max=4, help="Show this grade's map in the pictures."),
]

SmoothMaps = Annotated[
    bool,
    typer.Option(
        "--smooth-maps", help="Average the pictures' maps over six looks at the knee; slower."
    ),
]
GradCamMaps = Annotated[
    bool,
    typer.Option(
        "--grad-cam-maps",
        help="Draw Grad-CAM before the last activation where a network has it so, as the paper.",
    ),
]
JointSpaceUse = Annotated[
    Literal["measure", "draw", "off"] | None,
    typer.Option(
        help="Measure widths; draw margins in the pictures too; or off. "
        "Default: measure, with --fast off."
    ),
]
