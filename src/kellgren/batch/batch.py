"""Many files: find them, read them side by side, keep what is done, never stop for one bad file."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Protocol

from kellgren.atomic_files import replaced_whole
from kellgren.batch.journal import Journal
from kellgren.batch.pairing import Known, in_pairs
from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError, UnreadableRadiograph
from kellgren.grades import Grade, Side
from kellgren.imaging.picture import SUFFIXES
from kellgren.reading import KneeReading
from kellgren.reading_tables import Row


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes:
        image: the path as given.
        readings: of its knees; empty when it could not be graded.
        note: why not.
    """

    image: str
    readings: tuple[KneeReading, ...] = ()
    note: str = ""

    def rows(self) -> list[Row]:
        """One row a knee, or one with the reason."""
        if self.readings:
            return [{**reading.to_dict(), "note": ""} for reading in self.readings]
        return [{"image": self.image, "side": "", "grade": None, "note": self.note}]

    def warned(self, warnings: Sequence[str]) -> Outcome:
        """The same with more warnings on every knee."""
        readings = (replace(r, warnings=(*r.warnings, *warnings)) for r in self.readings)
        return replace(self, readings=tuple(readings))


def collect(paths: Sequence[str]) -> list[str]:
    """The files that paths, folders and glob patterns stand for, in their order, none twice.

    A path that matches nothing stays in the list, so that it is reported like a bad file.
    """
    found: dict[str, None] = {}
    for given in paths:
        if os.path.isdir(given):
            files = sorted(p for p in Path(given).rglob("*") if _is_picture(p))
            found.update(dict.fromkeys(str(p) for p in files))
        elif not os.path.exists(given) and glob.has_magic(given):
            matches = sorted(glob.glob(given, recursive=True))
            found.update(dict.fromkeys([m for m in matches if not os.path.isdir(m)] or [given]))
        else:
            found[given] = None
    return list(found)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")


def grade_file(
    ensemble: Ensemble, image: str, side: Side = Side.UNKNOWN, *, force: bool = False
) -> Outcome:
    """Grade one file; what is wrong with it becomes the outcome's note."""
    try:
        return Outcome(image, tuple(ensemble.read(image, side, force=force)))
    except KellgrenError as error:
        return Outcome(image, note=error.reason)
    except MemoryError:
        refused = UnreadableRadiograph(
            image, "is too large for this machine's memory", "Grade it on a larger machine"
        )
        return Outcome(image, note=refused.reason)


def grade_files(
    ensemble: Ensemble,
    images: Iterable[str],
    *,
    side: Side = Side.UNKNOWN,
    known: Known | None = None,
    workers: int = 1,
    force: bool = False,
) -> Iterator[Outcome]:
    """Grade files side by side, and hand them over in their order, the two of a pair together.

    Never more than a few files per worker are in memory.

    Args:
        ensemble: its engine should use one thread when there are several workers.
        images: paths.
        side: of every knee, if the caller knows it.
        known: patient and side of some files, if the caller knows them one by one.
        workers: how many files at a time.
        force: grade what a gate refuses too.
    """
    units = _units(ensemble, list(images), side, known)
    yield from _grade_units(ensemble, units, _said(side, known), workers, force)


def _units(
    ensemble: Ensemble, images: Sequence[str], side: Side, known: Known | None
) -> list[tuple[str, ...]]:
    """What is read together: a pair where the other knee will have a say, else one file."""
    if ensemble.both_knees is None or side is not Side.UNKNOWN:
        return [(image,) for image in images]
    return in_pairs(images, known)


def _said(side: Side, known: Known | None) -> Callable[[str], Side]:
    """What the caller says of a file's side."""
    table = known or {}
    return lambda image: table[image][1] if image in table else side


def _grade_unit(
    ensemble: Ensemble, unit: tuple[str, ...], said: Callable[[str], Side], force: bool
) -> list[Outcome]:
    """Grade what is read together; a knee whose fellow cannot be graded is read alone."""
    outcomes = [grade_file(ensemble, image, said(image), force=force) for image in unit]
    if [len(outcome.readings) for outcome in outcomes] != [1, 1]:
        return outcomes
    both = ensemble.together(outcomes[0].readings[0], outcomes[1].readings[0])
    return [replace(o, readings=(r,)) for o, r in zip(outcomes, both, strict=True)]


def _grade_units(
    ensemble: Ensemble,
    units: Sequence[tuple[str, ...]],
    said: Callable[[str], Side],
    workers: int,
    force: bool,
) -> Iterator[Outcome]:
    waiting = iter(units)
    with ThreadPoolExecutor(workers) as pool:

        def submit(count: int) -> list[Future[list[Outcome]]]:
            return [
                pool.submit(_grade_unit, ensemble, unit, said, force)
                for unit in islice(waiting, count)
            ]

        under_way = submit(2 * workers)
        while under_way:
            yield from under_way.pop(0).result()
            under_way += submit(1)


class ReadingFolder(Protocol):
    """Where something is written for each file that was graded."""

    def save(self, readings: Sequence[KneeReading]) -> list[str]:
        """Write what belongs to one file's readings; sentences on what could not be written."""


class OverlayFolder:
    """A folder of pictures, one for each knee, named after its file; equal names are numbered.

    Args:
        folder: made if it is not there.
        images: of the whole batch, so that a resumed one gives out the same names again.
        mapped: the grade whose map is shown; without it, each reading's own.
    """

    def __init__(self, folder: Path, images: Sequence[str], mapped: Grade | None = None) -> None:
        self._folder = folder
        self._mapped = mapped
        self._names = distinct_names(images)
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, readings: Sequence[KneeReading]) -> list[str]:
        """Write the pictures of one file's readings; there is nothing to warn of."""
        for number, reading in enumerate(readings, start=1):
            name = self._names[reading.image] + (f" knee {number}" if len(readings) > 1 else "")
            with replaced_whole(self._folder / f"{name}.png") as temporary:
                temporary.write_bytes(reading.overlay(self._mapped))
        return []


def distinct_names(images: Sequence[str]) -> dict[str, str]:
    """A name for each path: its stem, or its stem and a number where that is taken."""
    taken: set[str] = set()
    candidates: dict[str, Iterator[str]] = {}
    names = {}
    for image in images:
        stem = Path(image).stem
        numbered = candidates.setdefault(stem, _numbered(stem))
        names[image] = next(name for name in numbered if name.casefold() not in taken)
        taken.add(names[image].casefold())
    return names


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    for number in count(2):
        yield f"{stem}-{number}"


def grade_batch(
    ensemble: Ensemble,
    images: Sequence[str],
    journal: Journal,
    *,
    side: Side = Side.UNKNOWN,
    known: Known | None = None,
    folders: Sequence[ReadingFolder] = (),
    workers: int = 1,
    force: bool = False,
    tell: Callable[[list[Row]], None] = lambda rows: None,
) -> list[Row]:
    """Grade what the journal does not hold yet; a pair is graded whole, whatever it holds of it.

    Args:
        ensemble: reads.
        images: paths, in the order of the result.
        journal: keeps each file's rows as soon as they are there.
        side: of every knee, if the caller knows it.
        known: patient and side of some files, if the caller knows them one by one.
        folders: where what is made of the readings goes.
        workers: files at a time.
        force: grade what a gate refuses too.
        tell: called with each file's rows.

    Returns:
        All rows in the order of the images.
    """
    units = _units(ensemble, images, side, known)
    unfinished = [unit for unit in units if not _is_done(unit, journal)]
    try:
        journal.forget({image for unit in unfinished for image in unit})
        for outcome in _grade_units(ensemble, unfinished, _said(side, known), workers, force):
            for folder in folders:
                outcome = outcome.warned(folder.save(outcome.readings))
            tell(journal.add(outcome.rows()))
    finally:
        journal.close()
    place = {image: position for position, image in enumerate(images)}
    return sorted((r for r in journal.rows if r["image"] in place), key=lambda r: place[r["image"]])


def _is_done(unit: tuple[str, ...], journal: Journal) -> bool:
    """Whether every file of a unit was graded, and in no other company than now."""
    mine = [row for row in journal.rows if row["image"] in unit]
    known = {row["image"] for row in mine}
    return known == set(unit) and all(row["read_with"] in (None, *unit) for row in mine)
