"""Where `kellgren grade` writes, and that nothing is written over that it reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import typer

from kellgren.atomic_files import remove_left_behind, writing
from kellgren.cli.inputs import refuse_inputs, refuse_urls
from kellgren.cli.manners.endings import journal_beside


@dataclass(frozen=True, slots=True)
class Targets:
    """The options that name what is written; ``None``: not asked for."""

    csv: Path | None = None
    json: Path | None = None
    parquet: Path | None = None
    overlay: Path | None = None
    dicom_out: Path | None = None
    fhir: Path | None = None

    @property
    def tables(self) -> tuple[Path | None, ...]:
        """Files with all rows; the journal lies beside one of them."""
        return self.csv, self.json, self.parquet

    @property
    def kept(self) -> Path | None:
        """A table that is a file, which keeps all rows; ``None``: there is none.

        That is the first one, or the one beside which an interrupted batch left its journal: it
        goes on if more tables are asked for, too.
        """
        files = _files(self.tables)
        begun = (path for path in files if journal_beside(path).exists())
        return next(begun, files[0] if files else None)

    @property
    def journal(self) -> Path | None:
        """Where the journal lies; ``None``: there is no table to go on with."""
        return self.kept and journal_beside(self.kept)

    @property
    def prints_data(self) -> bool:
        """Whether standard output carries CSV or JSON."""
        return "-" in (str(self.csv), str(self.json))

    @property
    def written(self) -> list[str]:
        """All that was written, but for standard output; of no DICOM film comes no DICOM answer."""
        named = (*self.tables, self.overlay, self.dicom_out, self.fhir)
        there = (path for path in named if path and str(path) != "-" and path.exists())
        return [str(path) for path in there if not path.is_dir() or any(path.iterdir())]

    def refuse_at_once(self, given: Sequence[str]) -> None:
        """Refuse what is seen before the files are listed.

        Raises:
            typer.BadParameter: two outputs in one stream, or outputs among what is read.
            MissingExtra: ``--parquet`` without pyarrow.
        """
        if str(self.csv) == str(self.json) == "-":
            raise typer.BadParameter("only one of --csv and --json can go to standard output")
        if str(self.parquet) == "-":
            raise typer.BadParameter("--parquet needs the name of a file")
        if self.parquet is not None:
            from kellgren.reading_tables import pyarrow_library

            pyarrow_library()
        refuse_inputs(self.tables, ())
        refuse_urls((self.overlay, self.dicom_out, self.fhir))
        for folder in (self.overlay, self.dicom_out):
            if folder is not None and _is_searched(folder, given) and _holds_pictures(folder):
                raise _holds_inputs(folder)

    def try_out(self) -> None:
        """Find out whether tables can be written, before days of grading and not after them.

        Raises:
            CannotWrite: one cannot.
        """
        bundle = self.fhir if self.fhir and self.fhir.suffix.lower() == ".json" else None
        for path in _files((*self.tables, bundle)):
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                tried = path.with_name(f".{token_hex(8)}")
                tried.touch(exist_ok=False)
                tried.unlink()

    def tidy_up(self) -> None:
        """Delete what a batch left that was killed while it wrote its tables."""
        for path in _files(self.tables):
            remove_left_behind(path)

    def watch(self) -> InputWatch:
        """What refuses a file, once it is found, that would be written over."""
        return InputWatch(self)


def _files(targets: Iterable[Path | None]) -> list[Path]:
    """Those that were asked for and are not standard output."""
    return [path for path in targets if path and str(path) != "-"]


class InputWatch:
    """Refuses files that would be written over, and folders for pictures that hold such to read.

    Args:
        targets: what is written.
    """

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        present = [path for path in targets.tables if path is not None and path.exists()]
        self._present = [path for path in present if str(path) != "-"]
        folders = (targets.overlay, targets.dicom_out)
        self._folders = {path.resolve(): path for path in folders if path is not None}
        self._allowed = ""  # the folder of the last file

    def __call__(self, image: str) -> None:
        """Look at one file.

        Raises:
            typer.BadParameter: with what to do instead.
        """
        if "\0" in image:  # no file has such a name
            return
        refuse_inputs(self._present, (image,), tables=False)
        parent = os.path.dirname(image) or "."
        if not self._folders or parent == self._allowed:
            return
        over = self._folders.get(Path(parent).resolve())
        if over is not None:
            raise _holds_inputs(over)
        self._allowed = parent


def _holds_inputs(folder: Path) -> typer.BadParameter:
    return typer.BadParameter(f"{folder} holds pictures to be graded; name another folder")


def _is_searched(folder: Path, given: Sequence[str]) -> bool:
    """Whether a folder is one that is given, or lies below such."""
    whole = folder.resolve()
    return folder.is_dir() and any(
        os.path.isdir(path) and whole.is_relative_to(Path(path).resolve()) for path in given
    )


def _holds_pictures(folder: Path) -> bool:
    from kellgren.imaging.search import why_skipped

    with os.scandir(folder) as entries:
        return any(
            entry.is_file() and not entry.name.startswith(".") and not why_skipped(Path(entry.path))
            for entry in entries
        )
