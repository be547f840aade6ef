"""The readings that `kellgren watch` compares: of now, and of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kellgren.cli import terminal
from kellgren.cli.exit_codes import ExitCode
from kellgren.shift.reference import (
    ShiftReference,
    grading_checksum,
    is_reference,
    packaged_reference,
    read_reference,
)
from kellgren.shift.sample import Sample, one_per_patient
from kellgren.shift.tables import read_watched, watched
from kellgren.shift.two_samples import LEAST_PATIENTS

if TYPE_CHECKING:
    from kellgren.grading.bundle import Bundle
    from kellgren.reading_schema import ModelRecord
    from kellgren.shift.sample import WatchedKnees

_TABLES = (".csv", ".csv.gz", ".json")


@dataclass(frozen=True)
class Read:
    """Knees, and the model that graded them where that is stated."""

    knees: WatchedKnees
    model: ModelRecord | None


def later(paths: list[str], bundle: Bundle, workers: int) -> Read:
    """The readings of now: of a table or document, or of pictures, which are graded.

    Raises:
        InvalidPredictions: the table or document is none.
        typer.BadParameter: a table among other paths.
        typer.Exit: no knee is graded.
    """
    tables = [path for path in paths if path.lower().endswith(_TABLES)]
    if tables and len(paths) > 1:
        raise typer.BadParameter(f"{tables[0]} must be the only path; name one table, or pictures")
    read = Read(*read_watched(Path(paths[0]))) if tables else _graded(paths, bundle, workers)
    if not read.knees.patients:
        terminal.err.print("No knee of these is graded.", style="bold red")
        raise typer.Exit(ExitCode.NOTHING_GRADED)
    if read.knees.refused:
        terminal.warn(
            f"{read.knees.refused} joints or files beside {len(read.knees.patients)} graded knees "
            "were not graded, and are not compared; a share that grows is a change too"
        )
    _warn_nameless(read.knees, "now")
    return read


def earlier(reference: Path | None, now: Read, bundle: Bundle) -> Sample:
    """The reference's sample, without the patients of now where it has names.

    Raises:
        InvalidPredictions: it is no table of readings.
        InvalidOption: it is no reference.
        typer.BadParameter: it was graded by another bundle, or there is none.
    """
    if reference is not None and not is_reference(reference):
        knees, model = read_watched(reference)
        if model is not None and now.model is not None and model != now.model:
            raise typer.BadParameter(
                f"{reference} was graded by another bundle or with other options; grade its "
                "pictures again, so that only what changed in them is told"
            )
        _warn_nameless(knees, "of the reference")
        return one_per_patient(knees.without(now.knees.patients))
    found = packaged_reference(bundle.card) if reference is None else read_reference(reference)
    return _of_bundle(found, now, bundle)


def check_number(now: Sample, before: Sample, refused: int) -> None:
    """Refuse to say anything of a few patients.

    Raises:
        typer.BadParameter: with how many there are and are needed.
    """
    for sample, words in ((now, "to compare"), (before, "in the reference that are not there now")):
        if sample.patients < LEAST_PATIENTS:
            more = f" ({refused} joints or files were not graded)" if refused else ""
            raise typer.BadParameter(
                f"too few: {sample.patients} patients {words}, at least {LEAST_PATIENTS} are "
                f"needed{more}; take more weeks together"
            )


def _of_bundle(found: ShiftReference | None, now: Read, bundle: Bundle) -> Sample:
    name = bundle.card.name
    if found is None:
        raise typer.BadParameter(
            f"the bundle {name} brings no reference; name readings of your own with --reference"
        )
    if found.grading != grading_checksum(bundle.card):
        raise typer.BadParameter(
            f"the reference was made by another bundle than {name}; name that bundle with --model, "
            "or make a reference anew with --write-reference"
        )
    if now.model is not None and now.model.checksum != bundle.checksum:
        raise typer.BadParameter(
            f"the readings are by another bundle ({now.model.name} {now.model.checksum[:8]}) than "
            f"{name} {bundle.checksum[:8]}; name that bundle with --model"
        )
    return found.sample


def _warn_nameless(knees: WatchedKnees, which: str) -> None:
    if knees.nameless:
        terminal.warn(
            f"warning: nothing names the patient of {knees.nameless} of {len(knees.patients)} "
            f"knees {which}: each file counts as a patient, and where two are of one there are "
            "more false alarms; grade with a manifest, or with --pseudonym"
        )


def _graded(paths: list[str], bundle: Bundle, workers: int) -> Read:
    from kellgren.cli.inputs import files_of, graded_rows
    from kellgren.ensemble import Ensemble
    from kellgren.reading_schema import ModelRecord

    images = files_of(paths, None, None).images
    ensemble = Ensemble(bundle, threads=1, joint_space=False)
    rows = graded_rows(ensemble, images, workers)
    return Read(watched(rows), ModelRecord.model_validate(ensemble.model))
