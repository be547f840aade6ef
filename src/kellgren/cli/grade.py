"""`kellgren grade`."""

from __future__ import annotations

from functools import partial
from typing import Any

import typer

from kellgren.cli.benching.engine_options import DeviceName, EngineName, PrecisionName, engine_of
from kellgren.cli.grade_command.grade_options import (
    CsvTable,
    DicomFolder,
    FhirTarget,
    Force,
    Frame,
    GradCamMaps,
    JointSpaceUse,
    JsonFile,
    MappedGrade,
    Mirror,
    OverlayPictures,
    ParquetFile,
    PathList,
    Paths,
    PseudonymKey,
    Resume,
    Schema,
    SideOfAll,
    Single,
    SmoothMaps,
    Workers,
)
from kellgren.cli.grade_command.grade_targets import Targets
from kellgren.cli.grade_command.ray_option import RayAddress
from kellgren.cli.inputs import AlwaysGrade, Fast, ModelFolder, SetLevel, chosen_bundle
from kellgren.cli.manners.starting import starting

EXAMPLES = (
    "kellgren grade knee.png · kellgren grade examples --overlay overlays · "
    "kellgren grade 'study/**/*.dcm' --csv grades.csv --dicom-out answers"
)


def grade(
    paths: Paths = None,
    path_list: PathList = None,
    csv: CsvTable = None,
    json: JsonFile = None,
    parquet: ParquetFile = None,
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
    mirror: Mirror = None,
    single: Single = False,
    level: SetLevel = 0.9,
    always_grade: AlwaysGrade = False,
    mapped: MappedGrade = None,
    smooth_maps: SmoothMaps = False,
    grad_cam_maps: GradCamMaps = False,
    joint_space: JointSpaceUse = None,
    workers: Workers = 0,
    ray: RayAddress = None,
    resume: Resume = False,
    force: Force = False,
    schema: Schema = False,
) -> None:
    """Grade knee X-rays: PNG, JPEG, TIFF or DICOM; a film of both knees, or one knee."""
    with starting():
        from kellgren.cli.grade_command import given_files, grade_run
        from kellgren.ensemble import Ensemble
        from kellgren.grades import Side

    targets = Targets(csv, json, parquet, overlay, dicom_out, fhir)
    bundle = chosen_bundle(model, fast)
    measured = joint_space or ("off" if fast else "measure")
    chosen = engine_of(bundle, engine, precision, device, workers)
    reading: dict[str, Any] = {"mirror": mirror, "pair": not single, "frame": frame}
    reading |= {"engine": chosen.engine, "precision": chosen.precision, "device": chosen.device}
    reading |= {"smooth_maps": smooth_maps, "grad_cam_maps": grad_cam_maps}
    reading |= {"level": level, "always_grade": always_grade, "joint_space": measured != "off"}
    options = grade_run.BatchOptions(
        partial(Ensemble.open, bundle, **reading),
        chosen.workers if ray is None else workers,
        chosen.device == "cuda",
        ray,
        Side(side or ""),
        mapped,
        joint_space == "draw",
        frame,
        grade_run.pseudonyms_of(pseudonym),
        resume,
        force,
    )
    listing = given_files.listing_of(paths, path_list, targets, ray=ray, urls=pseudonym is None)
    raise typer.Exit(grade_run.run(listing, targets, options))
