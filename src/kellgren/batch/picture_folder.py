"""The pictures of a batch, one for each joint, each under a name that no other has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, product
from pathlib import Path
from typing import Protocol

from kellgren.atomic_files import replaced_whole
from kellgren.file_names import shown_name
from kellgren.grades import Grade
from kellgren.imaging.picture import without_suffix
from kellgren.imaging.search import OWN, why_skipped
from kellgren.localisation.knee_detector import MOST_JOINTS
from kellgren.reading import KneeReading, RefusedJoint
from kellgren.reading_schema import GradedRow, ReadingRow


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
    """

    def __init__(
        self, folder: Path, places: Mapping[str, str], mapped: Grade | None = None
    ) -> None:
        self._folder = folder
        self._mapped = mapped
        self._names = distinct_names(places)
        folder.mkdir(parents=True, exist_ok=True)

    def save(
        self, readings: Sequence[KneeReading], refused: Sequence[RefusedJoint] = ()
    ) -> list[str]:
        """Write the pictures of one file's joints; a warning where something else lies there."""
        warnings = []
        for number, reading in enumerate(readings, start=1):
            name = self._names[reading.image] + (f" knee {number}" if len(readings) > 1 else "")
            warnings += self._write(name, reading.overlay(self._mapped))
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
