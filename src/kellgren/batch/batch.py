"""Many files: grade them in parallel, keep finished rows, go on after a bad file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice, product
from pathlib import Path
from typing import Protocol

from kellgren.atomic_files import replaced_whole
from kellgren.batch.journal import Journal
from kellgren.batch.pairing import Known, in_pairs
from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError, UnreadableRadiograph
from kellgren.file_names import shown_name
from kellgren.grades import Grade, Side
from kellgren.imaging.picture import without_suffix
from kellgren.imaging.search import OWN, why_skipped
from kellgren.localisation.film import refused_film
from kellgren.localisation.knee_detector import MOST_JOINTS
from kellgren.reading import KneeReading, RefusedJoint
from kellgren.reading_schema import GradedRow, ReadingRow, UngradedRow


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one file.

    Attributes:
        image: the path as given.
        readings: of its knees; empty where it could not be graded.
        note: why it could not be graded.
        refused: joints that were found in it and are not graded.
    """

    image: str
    readings: tuple[KneeReading, ...] = ()
    note: str = ""
    refused: tuple[RefusedJoint, ...] = ()

    def rows(self) -> list[ReadingRow]:
        """One row a joint, the graded knees first; one with the reason where there is no joint."""
        graded = [GradedRow.of(reading.record()) for reading in self.readings]
        refused = [joint.record() for joint in self.refused]
        if graded or refused:
            return [*graded, *refused]
        return [UngradedRow(image=self.image, side="", grade=None, note=self.note)]

    def warned(self, warnings: Sequence[str]) -> Outcome:
        """The same with more warnings on every knee."""
        readings = (replace(r, warnings=(*r.warnings, *warnings)) for r in self.readings)
        return replace(self, readings=tuple(readings))


def grade_file(
    ensemble: Ensemble, image: str, side: Side = Side.UNKNOWN, *, force: bool = False
) -> Outcome:
    """Grade one file; an error becomes the note of the outcome."""
    try:
        film = ensemble.read_film(image, side, force=force)
        reasons = [joint.reason for joint in film.refused]
        note = "" if film else refused_film(image, reasons).reason
        return Outcome(image, tuple(film), note, film.refused)
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
    """Grade files in parallel; outcomes come in the order of files, those of a pair together.

    At most two files or pairs per worker are in memory.

    Args:
        ensemble: its engine should use one thread when there are several workers.
        images: paths.
        side: of every knee, if the caller knows it.
        known: patient and side of some files, if the caller knows them one by one.
        workers: how many files at a time.
        force: grade what a check refuses too.
    """
    units = _units(ensemble, list(images), side, known)
    yield from _grade_units(ensemble, units, _side_of(side, known), workers, force)


def _units(
    ensemble: Ensemble, images: Sequence[str], side: Side, known: Known | None
) -> list[tuple[str, ...]]:
    """The files graded together: a pair where the contralateral knee counts, else one file."""
    if ensemble.both_knees is None or side is not Side.UNKNOWN:
        return [(image,) for image in images]
    return in_pairs(images, known)


def _side_of(side: Side, known: Known | None) -> Callable[[str], Side]:
    """The side of a file that the caller states."""
    table = known or {}
    return lambda image: table[image][1] if image in table else side


def _grade_unit(
    ensemble: Ensemble, unit: tuple[str, ...], side_of: Callable[[str], Side], force: bool
) -> list[Outcome]:
    """Grade one file or a pair; a knee whose contralateral cannot be graded is read alone."""
    outcomes = [grade_file(ensemble, image, side_of(image), force=force) for image in unit]
    if [len(outcome.readings) for outcome in outcomes] != [1, 1]:
        return outcomes
    both = ensemble.together(outcomes[0].readings[0], outcomes[1].readings[0])
    return [replace(o, readings=(r,)) for o, r in zip(outcomes, both, strict=True)]


def _grade_units(
    ensemble: Ensemble,
    units: Sequence[tuple[str, ...]],
    side_of: Callable[[str], Side],
    workers: int,
    force: bool,
) -> Iterator[Outcome]:
    waiting = iter(units)
    with ThreadPoolExecutor(workers) as pool:

        def submit(count: int) -> list[Future[list[Outcome]]]:
            return [
                pool.submit(_grade_unit, ensemble, unit, side_of, force)
                for unit in islice(waiting, count)
            ]

        under_way = submit(2 * workers)
        while under_way:
            yield from under_way.pop(0).result()
            under_way += submit(1)


class ReadingFolder(Protocol):
    """A folder to which something is written for each file that was graded."""

    def save(
        self, readings: Sequence[KneeReading], refused: Sequence[RefusedJoint] = ()
    ) -> list[str]:
        """Write the output for one file's joints; returns a warning for what was not written."""


class OverlayFolder:
    """A folder of pictures, one for each joint, named after its file; equal names are numbered.

    Args:
        folder: made if it is not there.
        places: of the whole batch, so that a resumed one uses the same names: `Collected.places`.
        mapped: the grade whose map is shown; without it, the grade of each reading.
        joint_space: draw the margins of each knee's joint space.
    """

    def __init__(
        self,
        folder: Path,
        places: Mapping[str, str],
        mapped: Grade | None = None,
        *,
        joint_space: bool = False,
    ) -> None:
        self._folder = folder
        self._mapped, self._joint_space = mapped, joint_space
        self._names = distinct_names(places)
        folder.mkdir(parents=True, exist_ok=True)

    def save(
        self, readings: Sequence[KneeReading], refused: Sequence[RefusedJoint] = ()
    ) -> list[str]:
        """Write the pictures of one file's joints; a warning where something else lies there."""
        warnings = []
        for number, reading in enumerate(readings, start=1):
            name = self._names[reading.image] + (f" knee {number}" if len(readings) > 1 else "")
            warnings += self._write(
                name, reading.overlay(self._mapped, joint_space=self._joint_space)
            )
        for number, joint in enumerate(refused, start=1):
            name = f"{self._names[joint.image]} refused {number}"
            warnings += self._write(name, joint.overlay())
        return warnings

    def _write(self, name: str, picture: bytes) -> list[str]:
        path = self._folder / f"{name}.png"
        if path.exists() and why_skipped(path) != OWN:
            return [f"no picture: {shown_name(str(path))} is there and was not drawn by kellgren"]
        with replaced_whole(path) as temporary:
            temporary.write_bytes(picture)
        return []

    def naming(self, rows: Sequence[ReadingRow]) -> list[ReadingRow]:
        """The rows of a batch with the paths of their pictures, also those of an earlier run."""
        graded = Counter(row.image for row in rows if isinstance(row, GradedRow))
        names = {shown_name(image): name for image, name in self._names.items()}
        numbers: Counter[tuple[str, str]] = Counter()
        named: list[ReadingRow] = []
        for row in rows:
            kind = "knee" if isinstance(row, GradedRow) else "refused"
            numbers[row.image, kind] += 1
            alone = kind == "knee" and graded[row.image] == 1
            end = "" if alone else f" {kind} {numbers[row.image, kind]}"
            path = self._folder / f"{names[row.image]}{end}.png"
            drawn = why_skipped(path) == OWN
            named.append(
                row.model_copy(update={"overlay": shown_name(str(path))}) if drawn else row
            )
        return named


def distinct_names(places: Mapping[str, str]) -> dict[str, str]:
    """A name for each path: its place without the suffix, with a number where that is in use.

    Folders above the place stay in the name.

    ``NAME knee 1``, ``NAME refused 1`` and so on are in use with a name: films of several joints
    get such files.
    """
    used: set[str] = set()
    candidates: dict[str, Iterator[str]] = {}
    names = {}
    for image, place in places.items():
        stem = without_suffix(place)
        numbered = candidates.setdefault(stem, _numbered(stem))
        names[image] = next(name for name in numbered if used.isdisjoint(_file_names(name)))
        used |= _file_names(names[image])
    return names


def _file_names(name: str) -> set[str]:
    """Of one knee, and of several joints, as disks that know no case tell them apart."""
    numbered = product(("knee", "refused"), range(1, MOST_JOINTS + 1))
    return {name.casefold(), *(f"{name} {kind} {n}".casefold() for kind, n in numbered)}


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
    on_rows: Callable[[Sequence[ReadingRow]], None] = lambda rows: None,
) -> list[ReadingRow]:
    """Grade the files that the journal does not hold yet; a pair is graded as a whole.

    Args:
        ensemble: grades.
        images: paths, in the order of the result.
        journal: keeps each file's rows as soon as the file is graded.
        side: of every knee, if the caller knows it.
        known: patient and side of some files, if the caller knows them one by one.
        folders: for pictures and DICOM objects of the readings.
        workers: files at a time.
        force: grade what a check refuses too.
        on_rows: called with each file's rows.

    Returns:
        All rows in the order of the images.
    """
    units = _units(ensemble, images, side, known)
    unfinished = [unit for unit in units if not _is_done(unit, journal, ensemble)]
    try:
        journal.forget({shown_name(image) for unit in unfinished for image in unit})
        for outcome in _grade_units(ensemble, unfinished, _side_of(side, known), workers, force):
            for folder in folders:
                outcome = outcome.warned(folder.save(outcome.readings, outcome.refused))
            on_rows(journal.add(outcome.rows()))
    finally:
        journal.close()
    place = {shown_name(image): position for position, image in enumerate(images)}
    return sorted((r for r in journal.rows if r.image in place), key=lambda r: place[r.image])


def _is_done(unit: tuple[str, ...], journal: Journal, ensemble: Ensemble) -> bool:
    """Whether every file of a unit was graded, with no other contralateral knee than now, and its
    joint space measured if it is to be.
    """
    names = [shown_name(image) for image in unit]
    graded = [r for r in journal.rows if isinstance(r, GradedRow) and r.image in names]
    is_measured = ensemble.measures_joint_space
    return {row.image for row in graded} == set(names) and all(
        row.read_with in (None, *names) and (row.joint_space is not None) == is_measured
        for row in graded
    )
