"""The unit of work of a batch: a file, or the two files of a patient's knees.

A unit is graded by one call, `grade_unit`, in this thread, another process or on another machine:
it needs an `Ensemble` and no other unit. What it says and what comes back as rows can be pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError, UnreadableRadiograph
from kellgren.grades import Side
from kellgren.imaging.radiograph_input import RadiographInput
from kellgren.localisation.film import refused_film
from kellgren.reading import KneeReading, RefusedJoint
from kellgren.reading_schema import GradedRow, ReadingRow, UngradedRow


@dataclass(frozen=True, slots=True)
class FileToGrade:
    """One file of a unit.

    Attributes:
        image: its path.
        side: of its knee, as far as the caller states it.
        name: of its pictures in a folder of the batch, without suffix and not another file's; empty
            where none are drawn.
    """

    image: str
    side: Side = Side.UNKNOWN
    name: str = ""


Unit = tuple[FileToGrade, ...]
"""One file, or the two of a patient whose knees are read together."""


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


class ReadingFolder(Protocol):
    """A folder to which something is written for each file that was graded; it can be pickled."""

    def save(
        self, readings: Sequence[KneeReading], refused: Sequence[RefusedJoint] = (), name: str = ""
    ) -> list[str]:
        """Write the output for one file's joints; returns a warning for what was not written.

        Args:
            readings: of its graded knees.
            refused: its other joints.
            name: `FileToGrade.name`.
        """


Opened = Callable[[str], RadiographInput]
"""Gives what is read under a name: the path itself, or the bytes from another place."""


def grade_file(
    ensemble: Ensemble,
    image: str,
    side: Side = Side.UNKNOWN,
    *,
    force: bool = False,
    opened: Opened = str,
) -> Outcome:
    """Grade one file; an error becomes the note of the outcome, one of `opened` too."""
    try:
        film = ensemble.read_film(opened(image), side, force=force)
        reasons = [joint.reason for joint in film.refused]
        note = "" if film else refused_film(image, reasons).reason
        return Outcome(image, tuple(film), note, film.refused)
    except KellgrenError as error:
        return Outcome(image, note=error.reason)
    except MemoryError:
        refused = UnreadableRadiograph(
            image,
            "needs more memory than there was for it",
            "Close other programs, raise the limits, or grade it on a larger machine",
        )
        return Outcome(image, note=refused.reason)


def grade_unit(
    ensemble: Ensemble,
    unit: Unit,
    *,
    force: bool = False,
    folders: Sequence[ReadingFolder] = (),
    opened: Opened = str,
) -> list[Outcome]:
    """Grade one unit: the same outcomes wherever it is done, in the order of its files.

    A knee whose contralateral cannot be graded is read alone.

    Args:
        ensemble: of one thread where several units are graded at a time.
        unit: what is graded.
        force: grade what a check refuses too.
        folders: to which pictures and DICOM objects of the readings are written.
        opened: gives what is read under the name of a file.
    """
    outcomes = [
        grade_file(ensemble, file.image, file.side, force=force, opened=opened) for file in unit
    ]
    if [len(outcome.readings) for outcome in outcomes] == [1, 1]:
        both = ensemble.together(outcomes[0].readings[0], outcomes[1].readings[0])
        outcomes = [replace(o, readings=(r,)) for o, r in zip(outcomes, both, strict=True)]
    for folder in folders:
        outcomes = [
            outcome.warned(folder.save(outcome.readings, outcome.refused, file.name))
            for outcome, file in zip(outcomes, unit, strict=True)
        ]
    return outcomes


def unit_rows(
    ensemble: Ensemble,
    units: Sequence[Unit],
    *,
    force: bool = False,
    folders: Sequence[ReadingFolder] = (),
    opened: Opened = str,
) -> list[list[ReadingRow]]:
    """Grade units, see `grade_unit`; the rows of each of their files, for the journal."""
    return [
        outcome.rows()
        for unit in units
        for outcome in grade_unit(ensemble, unit, force=force, folders=folders, opened=opened)
    ]
