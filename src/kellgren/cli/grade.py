"""`kellgren grade`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from kellgren.cli.benching.engine_options import DeviceName, EngineName, PrecisionName, engine_of
from kellgren.cli.exit_codes import ExitCode
from kellgren.cli.inputs import AlwaysGrade, Fast, ModelFolder, SetLevel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kellgren.batch.batch import ReadingFolder
    from kellgren.batch.pairing import Known
    from kellgren.ensemble import Ensemble
    from kellgren.grades import Side
    from kellgren.imaging.search import Skipped
    from kellgren.output.pseudonym import Pseudonyms
    from kellgren.reading_schema import ReadingRow

EXAMPLES = (
    "kellgren grade knee.png · kellgren grade examples --overlay overlays · "
    "kellgren grade 'study/**/*.dcm' --csv grades.csv --dicom-out answers"
)

Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH...", help="Files, folders, glob patterns, or a manifest.csv."),
]
CsvTable = Annotated[
    Path | None, typer.Option("--csv", help="Write a table, one row per joint; - prints it.")
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write all readings as JSON; - prints it.")
]
OverlayPictures = Annotated[
    Path | None, typer.Option(help="Folder for pictures of each joint, graded ones with their map.")
]
Workers = Annotated[
    int,
    typer.Option(min=0, max=64, help="Files at a time; 0: as remembered, or one per core."),
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
Mirror = Annotated[bool, typer.Option(help="Average over the knee and its mirror image.")]
Force = Annotated[bool, typer.Option("--force", help="Grade what a check refuses too.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume an interrupted --csv or --json batch.")
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
    fast: Fast = False,
    engine: EngineName = None,
    precision: PrecisionName = None,
    device: DeviceName = None,
    mirror: Mirror = True,
    single: Single = False,
    level: SetLevel = 0.9,
    always_grade: AlwaysGrade = False,
    mapped: MappedGrade = None,
    smooth_maps: SmoothMaps = False,
    grad_cam_maps: GradCamMaps = False,
    workers: Workers = 0,
    resume: Resume = False,
    force: Force = False,
    schema: Schema = False,
) -> None:
    """Grade knee X-rays: PNG, JPEG, TIFF or DICOM; a film of both knees, or one knee."""
    from kellgren.cli.inputs import chosen_bundle, expanded, files_of
    from kellgren.cli.manners.endings import batch_into
    from kellgren.ensemble import Ensemble
    from kellgren.grades import Side

    paths, known, named = expanded(paths, csv, json)
    collected = files_of(paths, csv, json, overlay, dicom_out)
    patients = _pseudonyms(pseudonym)
    bundle = chosen_bundle(model, fast)
    chosen = engine_of(bundle, engine, precision, device, workers)
    busy = min(chosen.workers, len(collected.places))
    ensemble = Ensemble.open(
        bundle,
        engine=chosen.engine,
        precision=chosen.precision,
        device=chosen.device,
        threads=1 if busy > 1 else 0,
        workers=busy,
        mirror=mirror,
        pair=not single,
        frame=frame,
        smooth_maps=smooth_maps,
        grad_cam_maps=grad_cam_maps,
        level=level,
        always_grade=always_grade,
    )
    folders = _folders(collected.places, overlay, dicom_out, mapped, frame)
    images, sides, whose = collected.images, (Side(side or ""), known), (named, patients)
    with batch_into(csv, json):
        rows = _graded(ensemble, images, sides, csv, json, folders, busy, resume, force, whose)
    written = (csv, json, overlay, dicom_out, fhir)
    _finish(rows, collected.skipped, written, named=patients is None)


def _finish(
    rows: list[ReadingRow],
    skipped: Sequence[Skipped],
    written: tuple[Path | None, ...],
    *,
    named: bool,
) -> NoReturn:
    """Write FHIR, show the readings, and end with the batch's exit code."""
    from kellgren.cli import terminal

    csv, json, _, _, fhir = written
    if fhir is not None:
        _write_fhir(rows, fhir, named=named)
    terminal.show_readings(rows, table="-" not in (str(csv), str(json)))
    terminal.show_skipped(skipped)
    _report_written(*written)
    raise typer.Exit(ExitCode.of_batch(sum(row.grade is None for row in rows), len(rows)))


def _pseudonyms(key: str | None) -> Pseudonyms | None:
    if key is None:
        return None
    from kellgren.output.pseudonym import Pseudonyms

    return Pseudonyms.from_option(key)


def _write_fhir(rows: list[ReadingRow], target: Path, *, named: bool) -> None:
    """Write observations; their subject is a pseudonym or nobody, never a name."""
    from kellgren.output.fhir import write_observations

    if named:
        rows = [row.model_copy(update={"patient": None}) for row in rows]
    write_observations(rows, target)


def _folders(
    places: dict[str, str],
    overlay: Path | None,
    dicom_out: Path | None,
    mapped: int | None,
    frame: int | None,
) -> list[ReadingFolder]:
    from kellgren.batch.batch import OverlayFolder
    from kellgren.grades import Grade

    folders: list[ReadingFolder] = []
    if overlay is not None:
        folders.append(OverlayFolder(overlay, places, None if mapped is None else Grade(mapped)))
    if dicom_out is not None:
        from kellgren.output.dicom.answer import AnswerFolder

        folders.append(AnswerFolder(dicom_out, frame))
    return folders


def _graded(
    ensemble: Ensemble,
    images: list[str],
    sides: tuple[Side, Known],
    csv: Path | None,
    json: Path | None,
    folders: list[ReadingFolder],
    workers: int,
    resume: bool,
    force: bool,
    patients: tuple[dict[str, str], Pseudonyms | None],
) -> list[ReadingRow]:
    """Grade with a progress bar and a journal, which is deleted once the tables are written."""
    from kellgren.batch.batch import OverlayFolder, grade_batch
    from kellgren.batch.journal import Journal
    from kellgren.cli import terminal
    from kellgren.reading_schema import ModelRecord
    from kellgren.reading_tables import write_csv, write_json

    model = ModelRecord.model_validate(ensemble.model)
    target = next((path for path in (csv, json) if path is not None and str(path) != "-"), None)
    journal = Journal(
        None if target is None else target.with_name(f".{target.name}.journal"),
        resume=resume,
        model=model,
    )
    if journal.left_behind:
        terminal.warn(
            f"{journal.left_behind} rows of the interrupted batch are not taken over, of files "
            "that were refused or read by another model or with other options: graded anew"
        )
    with terminal.progress("grading") as bar:
        task = bar.add_task("", total=len(images), completed=len(journal.done), now="")
        rows = grade_batch(
            ensemble,
            images,
            journal,
            side=sides[0],
            known=sides[1],
            folders=folders,
            workers=workers,
            force=force,
            on_rows=lambda rows: bar.advance(task),
        )
    rows = _with_patients(rows, images, *patients)
    for folder in folders:
        if isinstance(folder, OverlayFolder):
            rows = folder.naming(rows)
    if csv is not None:
        write_csv(rows, csv)
    if json is not None:
        write_json(rows, model, json)
    journal.discard()
    return rows


def _with_patients(
    rows: list[ReadingRow],
    images: list[str],
    named: dict[str, str],
    pseudonyms: Pseudonyms | None,
) -> list[ReadingRow]:
    """The rows with their patients: by name, as far as that is known, or by pseudonym."""
    from kellgren.file_names import shown_name

    patients = {shown_name(image): named.get(image) for image in images}
    if pseudonyms is not None:
        patients = {
            shown_name(image): pseudonyms.of(image) or pseudonyms.named(named.get(image, ""))
            for image in images
        }
    return [row.model_copy(update={"patient": patients[row.image]}) for row in rows]


def _report_written(*written: Path | None) -> None:
    from kellgren.cli import terminal

    kept = [str(path) for path in written if path is not None and str(path) != "-"]
    if kept:
        terminal.note(f"written: {', '.join(kept)}")
