"""All objects that answer one picture, and the folder they are written to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset

from kellgren.atomic_files import replaced_whole
from kellgren.errors import KellgrenError
from kellgren.output.dicom.pictures import secondary_captures
from kellgren.output.dicom.presentation import presentation_state
from kellgren.output.dicom.segmentation import segmentation
from kellgren.output.dicom.source import Source, read_source
from kellgren.output.dicom.structured_report import structured_report
from kellgren.reading import KneeReading, RefusedJoint


def answer(readings: Sequence[KneeReading], source: Source) -> list[Dataset]:
    """Report, a secondary capture a knee, segmentation and presentation state of one picture.

    Args:
        readings: of one picture, at least one.
        source: that picture; of one frame among several, report and captures are made only.
    """
    made = [structured_report(readings, source), *secondary_captures(readings, source)]
    if source.frame is None:
        made += [segmentation(readings, source), presentation_state(readings, source)]
    return made


def write_object(made: Dataset, path: Path) -> None:
    """Write one object, whole or not at all."""
    with replaced_whole(path) as temporary:
        made.save_as(temporary, enforce_file_format=True)


class AnswerFolder:
    """A folder of answers, each file named after its object's identifier.

    Identifiers follow from source, sides and model: grading again replaces files.

    Args:
        folder: made if it is not there.
        frame: that was read, of files that hold several.
    """

    def __init__(self, folder: Path, frame: int | None = None) -> None:
        self._folder, self._frame = folder, frame or 1
        folder.mkdir(parents=True, exist_ok=True)

    def save(
        self, readings: Sequence[KneeReading], refused: Sequence[RefusedJoint] = (), name: str = ""
    ) -> list[str]:
        """Write the answer to one file's readings; a refused joint has none of its own.

        Args:
            readings: of its graded knees.
            refused: its other joints.
            name: of no use here: identifiers are the names.

        Returns:
            A warning with the reason where no answer can be made, else none; the grade is kept.
        """
        if not readings:
            return []
        try:
            made = answer(readings, read_source(readings[0].image, self._frame))
        except KellgrenError as error:
            return [f"no DICOM answer: the file {error.problem}"]
        for part in made:
            write_object(part, self._folder / f"{part.SOPInstanceUID}.dcm")
        return []
