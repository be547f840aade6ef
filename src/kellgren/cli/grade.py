"""`kellgren grade`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from kellgren.cli.exit_codes import ExitCode
from kellgren.cli.grade_command.grade_options import (
    CsvTable,
    DicomFolder,
    FhirTarget,
    Force,
    Frame,
    GradCamMaps,
    JsonFile,
    MappedGrade,
    Mirror,
    OverlayPictures,
    Paths,
    PseudonymKey,
    Resume,
    Schema,
    SideOfAll,
    Single,
    SmoothMaps,
    Workers,
)
from kellgren.cli.inputs import AlwaysGrade, ModelFolder, SetLevel

EXAMPLES = (
    "kellgren grade knee.png · kellgren grade examples --overlay overlays · "
    "kellgren grade 'study/**/*.dcm' --csv grades.csv --dicom-out answers"
)

EngineName = Annotated[
    Literal["onnxruntime", "openvino"],
    typer.Option(
        envvar="KELLGREN_ENGINE",
        help="Library that runs the networks; openvino: with the extra fast.",
    ),
]
PrecisionName = Annotated[
    Literal["fp32", "bf16"],
    typer.Option(help="Number format of the networks; bf16: with --engine openvino only."),
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
    from kellgren.cli import terminal
    from kellgren.cli.grade_command import grade_run
    from kellgren.cli.inputs import cores, expanded, files_of
    from kellgren.cli.manners.endings import batch_into
    from kellgren.ensemble import Ensemble
    from kellgren.grades import Side
    from kellgren.grading.bundle import default_bundle

    paths, known, named = expanded(paths, csv, json)
    collected = files_of(paths, csv, json, overlay, dicom_out)
    patients = grade_run.pseudonyms_of(pseudonym)
    busy = min(workers or cores(), len(collected.places))
    ensemble = Ensemble.open(
        model or default_bundle(),
        engine=engine,
        precision=precision,
        threads=1 if busy > 1 else 0,
        mirror=mirror,
        pair=not single,
        frame=frame,
        smooth_maps=smooth_maps,
        grad_cam_maps=grad_cam_maps,
        level=level,
        always_grade=always_grade,
    )
    folders = grade_run.output_folders(collected.places, overlay, dicom_out, mapped, frame)
    images, sides, whose = collected.images, (Side(side or ""), known), (named, patients)
    with batch_into(csv, json):
        rows = grade_run.graded_batch(
            ensemble, images, sides, csv, json, folders, busy, resume, force, whose
        )
    if fhir is not None:
        grade_run.write_fhir(rows, fhir, named=patients is None)
    terminal.show_readings(rows, table="-" not in (str(csv), str(json)))
    terminal.show_skipped(collected.skipped)
    grade_run.report_written(csv, json, overlay, dicom_out, fhir)
    raise typer.Exit(ExitCode.of_batch(sum(row.grade is None for row in rows), len(rows)))
