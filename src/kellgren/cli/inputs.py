"""The files that a command is given, and the processor cores that it may use."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kellgren.atomic_files import is_special
from kellgren.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from kellgren.batch.collecting import Collected
    from kellgren.batch.pairing import Known
    from kellgren.data.manifest import Knee
    from kellgren.ensemble import Ensemble
    from kellgren.grades import Side
    from kellgren.imaging.search import Skipped
    from kellgren.reading_schema import ReadingRow

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of one letter: a disk of Windows
LEAK = "two knees of one person may fall into two folds"
"""What follows for training where nothing names the patients."""
_OWN_GRADES = b"image,side,grade,p0"  # as a table of `kellgren grade` begins

DataName = Annotated[str, typer.Option(help="Name of your data, for the card.")]
Licence = Annotated[str, typer.Option(help="Licence of your data.")]
Credit = Annotated[str, typer.Option(help="Whom to cite for your data.")]
Population = Annotated[str, typer.Option(help="Whose knees they are: cohort, ages, place.")]
ModelFolder = Annotated[
    Path | None, typer.Option(envvar="KELLGREN_MODEL", help="Folder of another bundle.")
]
Fast = Annotated[
    bool,
    typer.Option("--fast", help="Grade with the small bundle: for triage of many films."),
]
SetLevel = Annotated[
    float,
    typer.Option(
        "--level",
        min=0.5,
        max=0.99,
        help="Share of labels that the grade sets are to hold: 0.8, 0.9 or 0.95 where they were "
        "fitted, as in the package's bundles.",
    ),
]
AlwaysGrade = Annotated[
    bool, typer.Option("--always-grade", help="Name a grade whatever the doubts.")
]
DataLimits = Annotated[str, typer.Option(help="Which knees or pictures your data do not hold.")]


def expanded(paths: list[str], *written: Path | None) -> tuple[list[str], Known, dict[str, str]]:
    """The paths with the images of each manifest in its place; their patients and sides.

    The last is the patient of each image for whom the manifest or the file's name states one.

    Raises:
        typer.BadParameter: one of the paths would be written over.
        InvalidManifest: a CSV among the paths is not a manifest, or contradicts itself.
    """
    from kellgren.data.manifest import read_manifest, without_patient
    from kellgren.grades import Side

    refuse_inputs(written, paths, tables=False)
    images: list[str] = []
    known: dict[str, tuple[str, Side]] = {}
    patients: dict[str, str] = {}
    for path in paths:
        if not path.lower().endswith(".csv"):
            images.append(path)
            continue
        knees = read_manifest(Path(path), graded=False)
        images += [str(knee.image) for knee in knees]
        for knee in knees:
            _, side = known.setdefault(str(knee.image), (knee.patient, knee.side))
            if side is not knee.side:  # a film of both knees: its picture tells which is which
                known[str(knee.image)] = (knee.patient, Side.UNKNOWN)
        nameless = {knee.image for knee in without_patient(knees)}
        patients |= {str(k.image): k.patient for k in knees if k.image not in nameless}
    return images, known, patients


def files_of(
    paths: list[str], csv: Path | None, json: Path | None, *folders: Path | None
) -> Collected:
    """The files to grade; refuses outputs that would end up inside each other or on an input."""
    from kellgren.batch.collecting import collect
    from kellgren.cli import terminal

    if str(csv) == str(json) == "-":
        raise typer.BadParameter("only one of --csv and --json can go to standard output")
    collected = collect(paths)
    refuse_inputs((csv, json), collected.images)
    for folder in folders:
        if folder is not None and any(_same_folder(folder, Path(p)) for p in collected.images):
            raise typer.BadParameter(f"{folder} holds pictures to be graded; name another folder")
    if not collected.images:
        terminal.err.print("No PNG, JPEG, TIFF or DICOM files found there.", style="bold red")
        terminal.show_skipped(collected.skipped)
        raise typer.Exit(ExitCode.NOTHING_GRADED)
    return collected


def refuse_inputs(
    written: Iterable[Path | None], inputs: Iterable[str | Path | None], *, tables: bool = True
) -> None:
    """Refuse to write twice to one file, over what is read, or over another program's table.

    Args:
        written: files to be written; ``-`` is standard output.
        inputs: files that are read.
        tables: whether the CSV tables among `written` are of knees, as `grade` and `locate` write.

    Raises:
        typer.BadParameter: with what to do instead.
    """
    targets = [path for path in written if path is not None and str(path) != "-"]
    refuse_urls(targets)
    for path in targets:
        if path.is_dir():
            raise typer.BadParameter(f"{path} is a folder; name a file in it")
        if is_special(path):
            raise typer.BadParameter(
                f"{path} is a device, a pipe or a socket; name a file, or - for standard output"
            )
    if len(targets) > len({os.path.realpath(path) for path in targets}):
        raise typer.BadParameter("two outputs go to one file; name another for one of them")
    present = {os.path.realpath(path): path for path in targets if path.exists()}
    for read in inputs if present else ():
        over = None if read is None else present.get(os.path.realpath(read))
        if over is not None:
            raise typer.BadParameter(f"{over} is read and would be written over; name another file")
    for path in present.values() if tables else ():
        if path.suffix.lower() == ".csv" and not _is_own_table(path):
            raise typer.BadParameter(
                f"{path} is there and is no table of this command, perhaps labels or a manifest; "
                "name another file, or move that one away"
            )


def refuse_urls(written: Iterable[Path | None]) -> None:
    """Refuse to write to a URL: a folder with such a name would be made here.

    Raises:
        typer.BadParameter: with what to do instead.
    """
    for path in written:
        if path is not None and _SCHEME.match(str(path)):
            raise typer.BadParameter(
                f"{path} is a URL; results are written to files of this machine: name one, and "
                "copy it there afterwards"
            )


def replaceable(path: Path, text: str, *, force: bool) -> None:
    """Refuse to replace a file by another text, unless that is forced.

    Raises:
        typer.BadParameter: it exists, holds something else, and `force` is not set.
    """
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; name a file in it")
    if not force and path.exists() and path.read_bytes() != text.encode():
        raise typer.BadParameter(
            f"{path} is there and would change; name another file, or replace it with --force"
        )


def knees_to_learn_from(data: Path, splits: Collection[str] = ()) -> list[Knee]:
    """The knees of a data set that one may train on; what people should know of them is said.

    That is which files are no radiographs, and whether nothing tells whose knees they are.

    Args:
        data: manifest or folder.
        splits: as of `for_training`.

    Raises:
        InvalidManifest: as of `index` and `for_training`.
    """
    from kellgren.cli import terminal
    from kellgren.data.manifest import for_training, index

    skipped: list[Skipped] = []
    knees = for_training(index(data, skipped.extend), data, splits)
    terminal.show_skipped(skipped)
    terminal.warn(own_grades_warning(data))
    terminal.warn(nameless_warning(knees, LEAK))
    return knees


def own_grades_warning(labels: Path) -> str:
    """What is to be said of labels that are a table of `kellgren grade`; else empty.

    Args:
        labels: manifest or folder.
    """
    if not labels.is_file() or not _starts_with(labels, _OWN_GRADES):
        return ""
    return (
        f"warning: {labels} is a table of kellgren grade: its grades are a model's, and what is "
        "found with them is agreement with that model; name the readers' grades"
    )


def nameless_warning(knees: Sequence[Knee], so: str) -> str:
    """What is to be said where nothing tells which knees are of one patient; else empty.

    Args:
        knees: of a table or folder.
        so: what follows from it.
    """
    from kellgren.data.manifest import without_patient

    nameless = without_patient(knees)
    if not nameless:
        return ""
    return (
        f"warning: nothing names the patient of {len(nameless)} of {len(knees)} knees, such as "
        f"{nameless[0].image.name}: each counts as a patient of its own, and {so}; fill the "
        "column patient"
    )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder that is written.

    Raises:
        InvalidOption: another process is in it.
    """
    from kellgren.atomic_files import taken_alone
    from kellgren.errors import InvalidOption

    new = not folder.exists()
    lock = taken_alone(folder / ".lock")
    if lock is None:
        raise InvalidOption(
            folder, "is being written by another process", "Wait for its end, or name another"
        )
    try:
        yield
    finally:
        Path(lock.name).unlink(missing_ok=True)
        lock.close()
        if new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _is_own_table(path: Path) -> bool:
    return not path.stat().st_size or _starts_with(path, _OWN_GRADES, b"image,knee,side,centre_x")


def _starts_with(path: Path, *known: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(256).startswith(known)


def _same_folder(folder: Path, image: Path) -> bool:
    return folder.resolve() == image.parent.resolve()


def cores() -> int:
    """Processor cores that this process may use."""
    from kellgren.grading.engines.processor import usable_cores

    return usable_cores()


def graded_rows(
    ensemble: Ensemble, images: Sequence[str], workers: int, known: Known | None = None
) -> list[ReadingRow]:
    """Grade files with a progress bar; their rows in the order of the files.

    Args:
        ensemble: of one thread.
        images: paths.
        workers: files at a time; 0: one per core.
        known: patient and side of some files.
    """
    from kellgren.batch.batch import grade_files
    from kellgren.cli import terminal

    rows: list[ReadingRow] = []
    with terminal.progress("grading") as bar:
        task = bar.add_task("", total=len(images), now="")
        for outcome in grade_files(ensemble, images, known=known, workers=workers or cores()):
            rows += outcome.rows()
            bar.advance(task)
    return rows


def chosen_bundle(model: Path | None, fast: bool) -> Path:
    """Folder of the bundle that grades: the one named, the small one, or the default one."""
    from kellgren.grading.bundle import default_bundle, fast_bundle

    if fast and model is not None:
        raise typer.BadParameter(
            "names one bundle, --model or KELLGREN_MODEL another", param_hint="--fast"
        )
    return fast_bundle() if fast else model or default_bundle()
