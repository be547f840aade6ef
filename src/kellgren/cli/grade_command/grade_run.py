"""How `kellgren grade` runs a batch: workers, journal, progress, tables, and its summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kellgren.cli.exit_codes import ExitCode
from kellgren.cli.grade_command.grade_targets import Targets
from kellgren.cli.grade_command.ray_option import cluster_workers
from kellgren.cli.manners.starting import starting

if TYPE_CHECKING:
    from kellgren.batch.crews import Graders
    from kellgren.batch.journal import Journal
    from kellgren.batch.listing import Listing
    from kellgren.batch.picture_folder import OverlayFolder
    from kellgren.batch.units import ReadingFolder
    from kellgren.cli.manners.readings_summary import ReadingsSummary
    from kellgren.ensemble import Ensemble
    from kellgren.grades import Side
    from kellgren.output.pseudonym import Pseudonyms
    from kellgren.reading_schema import ModelRecord, ReadingRow

PROCESSES_FROM = 24
"""Files a worker from which processes are worth their start: about a second and a half each."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a batch is run.

    Attributes:
        opening: opens the ensemble with a number of threads, for a number of workers.
        workers: files at a time, at least 1; on a cluster 0 too: one per core there.
        in_one_process: whether all workers are threads, as a GPU wants them.
        ray: address of a cluster that grades; ``None``: this machine does.
        side: of every knee; unknown: as names and files state.
        mapped: the grade whose map is drawn; ``None``: of each reading.
        draws_joint_space: whether its margins are drawn.
        frame: that is read, of files that hold several.
        pseudonyms: of patients; ``None``: their names, as far as a manifest states them.
        resume: an interrupted batch.
        force: grade what a check refuses too.
    """

    opening: partial[Ensemble]
    workers: int
    in_one_process: bool
    ray: str | None
    side: Side
    mapped: int | None
    draws_joint_space: bool
    frame: int | None
    pseudonyms: Pseudonyms | None
    resume: bool
    force: bool


def pseudonyms_of(key: str | None) -> Pseudonyms | None:
    """The pseudonyms that the option `--pseudonym` asks for."""
    if key is None:
        return None
    from kellgren.output.pseudonym import Pseudonyms

    return Pseudonyms.from_option(key)


def run(listing: Listing, targets: Targets, options: BatchOptions) -> ExitCode:
    """Grade the files of a listing, write what was asked for, and show what came out."""
    from kellgren.cli import terminal
    from kellgren.cli.manners.endings import batch_into
    from kellgren.scratch import scratch_space

    began = time.monotonic()
    with scratch_space(), closing(listing), ExitStack() as stack:
        workers = _workers(listing, targets, options, stack)
        with batch_into(targets.kept):
            targets.try_out()
            journal = _journal(listing, targets, workers.ensemble, options)
            taken_over = journal.files
            _grade(workers, listing, journal, options)
            stack.close()  # whoever graded needs memory, and tables need nobody
            graded_after = time.monotonic() - began
            summary = _write(listing, journal, targets, workers, options)
            journal.discard()
        kept = str(targets.kept or "--csv FILE")
        terminal.show_summary(summary, table=not targets.prints_data, kept=kept)
        terminal.show_skipped(listing.skipped())
        if listing.count > 1:
            terminal.note(summary.statistics(listing.count, graded_after, taken_over))
    if targets.written:
        terminal.note(f"written: {', '.join(targets.written)}")
    return ExitCode.of_batch(summary.failed, summary.failed + summary.graded)


def _workers(
    listing: Listing, targets: Targets, options: BatchOptions, stack: ExitStack
) -> Graders:
    """Threads for a few files, processes for many, which end with the stack; or a cluster's."""
    from kellgren.batch.crews import opened_workers
    from kellgren.cli import terminal

    listing.list_until(max(1, PROCESSES_FROM * options.workers))
    if not listing.count:
        terminal.err.print("No PNG, JPEG, TIFF or DICOM files found there.", style="bold red")
        terminal.show_skipped(listing.skipped())
        raise typer.Exit(ExitCode.NOTHING_GRADED)
    if options.ray is not None:
        return cluster_workers(options.ray, options.opening, options.force, options.workers)
    count = min(options.workers, listing.count)
    many = listing.count >= PROCESSES_FROM * count and not options.in_one_process
    opened = opened_workers(options.opening, count, processes=many, force=options.force)
    with starting():
        workers = stack.enter_context(opened)
    # Folders are not made where the ensemble cannot be opened.
    return replace(workers, folders=_folders(targets, options))


def _folders(targets: Targets, options: BatchOptions) -> list[ReadingFolder]:
    """The folders of `--overlay` and `--dicom-out`, made where they are not there."""
    folders: list[ReadingFolder] = []
    overlay = _overlay_folder(targets, options)
    if overlay is not None:
        folders.append(overlay)
    if targets.dicom_out is not None:
        from kellgren.output.dicom.answer import AnswerFolder

        folders.append(AnswerFolder(targets.dicom_out, options.frame))
    return folders


def _overlay_folder(targets: Targets, options: BatchOptions) -> OverlayFolder | None:
    if targets.overlay is None:
        return None
    from kellgren.batch.picture_folder import OverlayFolder
    from kellgren.grades import Grade

    grade = None if options.mapped is None else Grade(options.mapped)
    return OverlayFolder(targets.overlay, grade, joint_space=options.draws_joint_space)


def _journal(
    listing: Listing, targets: Targets, ensemble: Ensemble, options: BatchOptions
) -> Journal:
    """The journal of a batch.

    Raises:
        InvalidOption: it is another process's, or would have to give up rows of an earlier batch:
            weeks of work, perhaps for an option that was forgotten.
    """
    from kellgren.batch.journal import Journal
    from kellgren.batch.made_from import made_otherwise
    from kellgren.cli import terminal
    from kellgren.errors import InvalidOption

    model, path = _model(ensemble), targets.journal
    stated = listing.stated_sides()
    sides = f"sides {stated}\n" if stated else ""
    asked = f"side {options.side.value}, frame {options.frame}, force {options.force}\n{sides}"
    if path is not None and options.resume and (otherwise := made_otherwise(path, model, asked)):
        raise InvalidOption(
            path,
            f"holds rows of a batch that was begun otherwise ({otherwise})",
            "Give its options to go on with it, or delete it to begin anew",
        )
    if path is not None and options.resume and not path.exists():
        terminal.note(f"no interrupted batch lies beside {targets.kept}: begun from the start")
    measured = ensemble.measures_joint_space
    journal = Journal(path, resume=options.resume, model=model, joint_space=measured, asked=asked)
    targets.tidy_up()
    if journal.left_behind:
        terminal.warn(
            f"rows of the interrupted batch that are not taken over: {journal.left_behind}, of "
            "files that were refused, changed since, or asked for otherwise: graded anew"
        )
    return journal


def _model(ensemble: Ensemble) -> ModelRecord:
    from kellgren.reading_schema import ModelRecord

    return ModelRecord.model_validate(ensemble.model)


def _grade(workers: Graders, listing: Listing, journal: Journal, options: BatchOptions) -> None:
    """Grade with a progress bar, whose total is shown as soon as it is known."""
    from kellgren.batch.batch import run_batch
    from kellgren.cli import terminal

    with terminal.progress("grading") as bar:
        task = bar.add_task("", total=None, completed=journal.files, now="")

        def listed() -> None:
            total = listing.count if listing.complete else None
            bar.update(task, total=total, now="" if total else f"({listing.count} found so far)")

        def graded(rows: object) -> None:
            if bar.tasks[0].total is None:
                listed()
            bar.advance(task)

        listing.on_slice = listed
        run_batch(workers, listing, journal, side=options.side, on_rows=graded)


def _write(
    listing: Listing, journal: Journal, targets: Targets, workers: Graders, options: BatchOptions
) -> ReadingsSummary:
    """Write tables and FHIR in one go through the rows; they appear together or not at all."""
    from kellgren.cli.manners.readings_summary import ReadingsSummary

    overlay = _overlay_folder(targets, options)
    summary = ReadingsSummary()

    def rows() -> Iterator[ReadingRow]:
        return _rows(listing, journal, overlay, options.pseudonyms)

    with ExitStack() as stack:
        tables = _tables(stack, rows, listing, journal, targets, workers)
        if targets.fhir is not None:
            tables.append(_observations(stack, targets.fhir, named=options.pseudonyms is None))
        for row in rows():
            summary.add(row)
            for table in tables:
                table(row)
    return summary


def _tables(
    stack: ExitStack,
    rows: Callable[[], Iterator[ReadingRow]],
    listing: Listing,
    journal: Journal,
    targets: Targets,
    workers: Graders,
) -> list[Callable[[ReadingRow], None]]:
    """What takes each row; opened for the time of the stack."""
    from kellgren import reading_tables
    from kellgren.batch.batch import counts_of

    model = _model(workers.ensemble)
    tables: list[Callable[[ReadingRow], None]] = []
    if targets.csv is not None:
        more = _more_columns(rows, model, drawn=targets.overlay is not None)
        tables.append(stack.enter_context(reading_tables.CsvTable.at(targets.csv, more)).add)
    if targets.json is not None:
        counts = counts_of(listing, journal)
        document = reading_tables.JsonDocument.at(targets.json, model, counts)
        tables.append(stack.enter_context(document).add)
    if targets.parquet is not None:
        parquet = reading_tables.ParquetTable.at(targets.parquet, model)
        tables.append(stack.enter_context(parquet).add)
    return tables


def _observations(stack: ExitStack, target: Path, *, named: bool) -> Callable[[ReadingRow], None]:
    """What takes each row for FHIR: its subject is a pseudonym or nobody, never a name."""
    from kellgren.output.fhir import ObservationFile

    file = stack.enter_context(ObservationFile.at(target))
    return lambda row: file.add(row.model_copy(update={"patient": None}) if named else row)


def _more_columns(
    rows: Callable[[], Iterator[ReadingRow]], model: ModelRecord, *, drawn: bool
) -> list[str]:
    """The columns of a CSV that are there only where some row has them."""
    from kellgren.reading_tables import LOCAL_CALIBRATION, OVERLAY

    more = []
    if model.local_calibration is not None and any(row.grade is not None for row in rows()):
        more.append(LOCAL_CALIBRATION)
    if drawn and any(row.overlay is not None for row in rows()):
        more.append(OVERLAY)
    return more


def _rows(
    listing: Listing,
    journal: Journal,
    overlay: OverlayFolder | None,
    pseudonyms: Pseudonyms | None,
) -> Iterator[ReadingRow]:
    """The rows in the order of the files, with their patients and the paths of their pictures."""
    from kellgren.batch.batch import rows_in_order

    for file, rows in rows_in_order(listing, journal):
        patient = file.patient
        if pseudonyms is not None:
            patient = pseudonyms.of(file.image) or pseudonyms.named(file.patient or "")
        whose = [row.model_copy(update={"patient": patient}) for row in rows]
        yield from whose if overlay is None else overlay.naming(whose, file.name)
