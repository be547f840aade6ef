"""`kellgren grade`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from kellgren.batch.batch import ReadingFolder
    from kellgren.batch.pairing import Known
    from kellgren.ensemble import Ensemble
    from kellgren.grades import Grade, Side
    from kellgren.output.pseudonym import Pseudonyms
    from kellgren.reading_tables import Row

EXAMPLES = (
    "kellgren grade knee.png · kellgren grade examples --overlay overlays · "
    "kellgren grade 'study/**/*.dcm' --csv grades.csv --dicom-out answers"
)

Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH...", help="Files, folders, glob patterns, or a manifest.csv."),
]
CsvTable = Annotated[
    Path | None, typer.Option("--csv", help="Write a table, one row a knee; - prints it.")
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write all readings as JSON; - prints it.")
]
OverlayPictures = Annotated[
    Path | None, typer.Option(help="Folder for pictures of each knee with its map.")
]
Workers = Annotated[
    int, typer.Option(min=0, max=64, help="Files at a time; 0: one a processor core.")
]
DicomFolder = Annotated[
    Path | None,
    typer.Option(help="Folder for answers in DICOM: report, pictures, segments, presentation."),
]
FhirTarget = Annotated[
    Path | None,
    typer.Option(help="FHIR R4 Observations: a Bundle in FILE.json, or a file a knee in DIR."),
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
    int | None, typer.Option(min=1, help="Which one of a DICOM file that holds several.")
]
SideOfAll = Annotated[Literal["L", "R"] | None, typer.Option(help="Side of every knee named here.")]
ModelFolder = Annotated[
    Path | None, typer.Option(envvar="KELLGREN_MODEL", help="Folder of another bundle.")
]
EngineName = Annotated[Literal["onnxruntime", "openvino"], typer.Option(envvar="KELLGREN_ENGINE")]
PrecisionName = Annotated[
    Literal["fp32", "bf16"], typer.Option(help="bf16: with --engine openvino only.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted --csv or --json batch.")
]
Single = Annotated[
    bool, typer.Option("--single", help="Read every knee without the patient's other one.")
]
MappedGrade = Annotated[
    int | None,
    typer.Option("--grade", min=0, max=4, help="Show this grade's map in the pictures."),
]


def grade(
    paths: Paths,
    csv: CsvTable = None,
    json: JsonFile = None,
    overlay: OverlayPictures = None,
    dicom_out: DicomFolder = None,
    fhir: FhirTarget = None,
    pseudonym: PseudonymKey = None,
    frame: Frame = None,
    side: SideOfAll = None,
    model: ModelFolder = None,
    engine: EngineName = "onnxruntime",
    precision: PrecisionName = "fp32",
    mirror: Annotated[bool, typer.Option(help="Average with the look at the mirror image.")] = True,
    single: Single = False,
    mapped: MappedGrade = None,
    workers: Workers = 0,
    resume: Resume = False,
    force: Annotated[bool, typer.Option("--force", help="Grade what a gate refuses too.")] = False,
) -> None:
    """Grade knee X-rays: PNG, JPEG, TIFF or DICOM; a film of both knees, or one knee."""
    from kellgren.cli import terminal
    from kellgren.ensemble import Ensemble
    from kellgren.grades import Grade, Side
    from kellgren.grading.bundle import default_bundle

    paths, known = _listed(paths)
    images = collected(paths, csv, json, overlay, dicom_out)
    patients = _pseudonyms(pseudonym)
    busy = min(workers or cores(), len(images))
    ensemble = Ensemble.open(
        model or default_bundle(),
        engine=engine,
        precision=precision,
        threads=1 if busy > 1 else 0,
        mirror=mirror,
        pair=not single,
        frame=frame,
    )
    folders = _folders(images, overlay, dicom_out, None if mapped is None else Grade(mapped), frame)
    rows = _graded(
        ensemble,
        images,
        (Side(side or ""), known),
        csv,
        json,
        folders,
        busy,
        resume,
        force,
        patients,
    )
    if fhir is not None:
        _write_fhir(rows, fhir)
    terminal.show_readings(rows, table="-" not in (str(csv), str(json)))
    _tell_where(csv, json, overlay, dicom_out, fhir)
    failed = sum(row["grade"] is None for row in rows)
    raise typer.Exit(0 if not failed else 4 if failed == len(rows) else 1)


def _listed(paths: list[str]) -> tuple[list[str], Known]:
    """The paths with each manifest's images in its place, and whose knees it says they are.

    Raises:
        InvalidManifest: a CSV among the paths is none.
    """
    from kellgren.data.manifest import read_manifest

    found: list[str] = []
    known: dict[str, tuple[str, Side]] = {}
    for path in paths:
        if not path.lower().endswith(".csv"):
            found.append(path)
            continue
        knees = read_manifest(Path(path), graded=False)
        found += [str(knee.image) for knee in knees]
        known |= {str(knee.image): (knee.patient, knee.side) for knee in knees}
    return found, known


def collected(
    paths: list[str], csv: Path | None, json: Path | None, *folders: Path | None
) -> list[str]:
    """The files to grade; refuses outputs that would end up inside each other or on an input."""
    from kellgren.batch.batch import collect
    from kellgren.cli import terminal

    if str(csv) == str(json) == "-":
        raise typer.BadParameter("only one of --csv and --json can go to standard output")
    for written in (csv, json):
        if written is not None and written.is_dir():
            raise typer.BadParameter(f"{written} is a folder; name a file in it")
    images = collect(paths)
    for folder in folders:
        if folder is not None and any(_same_folder(folder, Path(image)) for image in images):
            raise typer.BadParameter(f"{folder} holds pictures to be graded; name another folder")
    if not images:
        terminal.err.print("No PNG, JPEG, TIFF or DICOM files found there.", style="bold red")
        raise typer.Exit(4)
    return images


def _pseudonyms(key: str | None) -> Pseudonyms | None:
    if key is None:
        return None
    from kellgren.output.pseudonym import Pseudonyms

    return Pseudonyms.from_option(key)


def _write_fhir(rows: list[Row], target: Path) -> None:
    from kellgren.output.fhir import write_observations

    write_observations(rows, target)


def _folders(
    images: list[str],
    overlay: Path | None,
    dicom_out: Path | None,
    mapped: Grade | None,
    frame: int | None,
) -> list[ReadingFolder]:
    from kellgren.batch.batch import OverlayFolder

    folders: list[ReadingFolder] = []
    if overlay is not None:
        folders.append(OverlayFolder(overlay, images, mapped))
    if dicom_out is not None:
        from kellgren.output.dicom.answer import AnswerFolder

        folders.append(AnswerFolder(dicom_out, frame))
    return folders


def _same_folder(folder: Path, image: Path) -> bool:
    return folder.resolve() == image.parent.resolve()


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _graded(
    ensemble: Ensemble,
    images: list[str],
    said: tuple[Side, Known],
    csv: Path | None,
    json: Path | None,
    folders: list[ReadingFolder],
    workers: int,
    resume: bool,
    force: bool,
    patients: Pseudonyms | None,
) -> list[Row]:
    """Grade under a bar, keeping a journal until the tables are written."""
    from kellgren.batch.batch import grade_batch
    from kellgren.batch.journal import Journal
    from kellgren.cli import terminal
    from kellgren.reading_tables import write_csv, write_json

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
            side=said[0],
            known=said[1],
            folders=folders,
            workers=workers,
            force=force,
            tell=lambda rows: bar.advance(task),
        )
    if patients is not None:
        rows = [{**row, "patient": patients.of(row["image"])} for row in rows]
    if csv is not None:
        write_csv(rows, csv)
    if json is not None:
        write_json(rows, ensemble.model, json)
    journal.discard()
    return rows


def _tell_where(*written: Path | None) -> None:
    from kellgren.cli import terminal

    kept = [str(path) for path in written if path is not None and str(path) != "-"]
    if kept:
        terminal.err.print(f"written: {', '.join(kept)}", style="dim", markup=False, soft_wrap=True)
