"""One film to the objects of its answer, in whatever process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError
from kellgren.output.dicom.answer import answer, write_object
from kellgren.output.dicom.source import read_source
from kellgren.output.dicom.structured_report import refusal_report


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a film.

    Attributes:
        text: what was found, or why there is no report of a refusal, for the log; without anything
            of the patient.
        objects: written to the answer's folder.
        refused: why it was not graded; empty: it was.
    """

    text: str
    objects: int
    refused: str = ""


def read_film(ensemble: Ensemble, film: Path, folder: Path, *, refusals: bool) -> Outcome:
    """Read a film, and write its answer.

    Args:
        ensemble: that grades.
        film: a DICOM file.
        folder: of the answer, empty.
        refusals: answer a film that is refused with a report that says so and why.

    Raises:
        OSError: the disk is full, or broken.
        Exception: the film is the cause.
    """
    try:
        readings = ensemble.read(film)
        if not readings:
            return Outcome("", 0, "no knee was found")
        objects = answer(readings, read_source(film))
    except KellgrenError as error:
        return _refusal(ensemble, film, folder, error, refusals)
    for number, part in enumerate(objects, start=1):
        write_object(part, folder / f"{number:02}.dcm")
    refused = "".join(f"; not graded: {joint.reason}" for joint in readings.refused)
    text = f"{len(readings)} knee{'s' * (len(readings) > 1)}{refused}"
    return Outcome(text, len(objects))


def _refusal(
    ensemble: Ensemble, film: Path, folder: Path, error: KellgrenError, refusals: bool
) -> Outcome:
    """Write a report of a refusal where that is wanted and can be made."""
    if not refusals:
        return Outcome("", 0, error.reason)
    try:
        made = refusal_report(error.problem, read_source(film), ensemble.model)
    except KellgrenError as unanswerable:
        return Outcome(f"the film {unanswerable.problem}", 0, error.reason)
    write_object(made, folder / "01.dcm")
    return Outcome("", 1, error.reason)
