"""The units of work of a batch: a file, or the two files of a patient's knees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError, UnreadableRadiograph
from kellgren.grades import Side
from kellgren.localisation.film import refused_film
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


def grade_unit(
    ensemble: Ensemble, unit: tuple[str, ...], side_of: Callable[[str], Side], force: bool
) -> list[Outcome]:
    """Grade one file or a pair; a knee whose contralateral cannot be graded is read alone."""
    outcomes = [grade_file(ensemble, image, side_of(image), force=force) for image in unit]
    if [len(outcome.readings) for outcome in outcomes] != [1, 1]:
        return outcomes
    both = ensemble.together(outcomes[0].readings[0], outcomes[1].readings[0])
    return [replace(o, readings=(r,)) for o, r in zip(outcomes, both, strict=True)]
