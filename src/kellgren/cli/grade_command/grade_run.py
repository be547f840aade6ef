"""How `kellgren grade` runs a batch: folders, journal, tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kellgren.batch.pairing import Known
    from kellgren.batch.picture_folder import ReadingFolder
    from kellgren.ensemble import Ensemble
    from kellgren.grades import Side
    from kellgren.output.pseudonym import Pseudonyms
    from kellgren.reading_schema import ReadingRow


def pseudonyms_of(key: str | None) -> Pseudonyms | None:
    """The pseudonyms that the option `--pseudonym` asks for."""
    if key is None:
        return None
    from kellgren.output.pseudonym import Pseudonyms

    return Pseudonyms.from_option(key)


def write_fhir(rows: list[ReadingRow], target: Path, *, named: bool) -> None:
    """Write observations; their subject is a pseudonym or nobody, never a name."""
    from kellgren.output.fhir import write_observations

    if named:
        rows = [row.model_copy(update={"patient": None}) for row in rows]
    write_observations(rows, target)


def output_folders(
    places: dict[str, str],
    overlay: Path | None,
    dicom_out: Path | None,
    mapped: int | None,
    frame: int | None,
) -> list[ReadingFolder]:
    """The folders of `--overlay` and `--dicom-out`, made where they are not there."""
    from kellgren.batch.picture_folder import OverlayFolder
    from kellgren.grades import Grade

    folders: list[ReadingFolder] = []
    if overlay is not None:
        folders.append(OverlayFolder(overlay, places, None if mapped is None else Grade(mapped)))
    if dicom_out is not None:
        from kellgren.output.dicom.answer import AnswerFolder

        folders.append(AnswerFolder(dicom_out, frame))
    return folders


def graded_batch(
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
    from kellgren.batch.batch import grade_batch
    from kellgren.batch.journal import Journal
    from kellgren.batch.picture_folder import OverlayFolder
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


def report_written(*written: Path | None) -> None:
    """Name the files that were written, on standard error."""
    from kellgren.cli import terminal

    kept = [str(path) for path in written if path is not None and str(path) != "-"]
    if kept:
        terminal.note(f"written: {', '.join(kept)}")
