"""The pictures of a batch, one for each joint, each under a name that no other has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import count, product
from pathlib import Path

from kellgren.atomic_files import replaced_whole
from kellgren.file_names import shown_name
from kellgren.grades import Grade
from kellgren.imaging.picture import without_suffix
from kellgren.imaging.search import OWN, why_skipped
from kellgren.localisation.knee_detector import MOST_JOINTS
from kellgren.reading import KneeReading, RefusedJoint
from kellgren.reading_schema import GradedRow, ReadingRow
from kellgren.scratch import scratch_database, text_key

_ENDS = [f" {kind} {n}" for kind, n in product(("knee", "refused"), range(1, MOST_JOINTS + 1))]


class OverlayFolder:
    """A folder of pictures, one for each joint, named after its file.

    Args:
        folder: made if it is not there.
        mapped: the grade whose map is shown; without it, the grade of each reading.
        joint_space: draw the margins of each knee's joint space.
    """

    def __init__(
        self, folder: Path, mapped: Grade | None = None, *, joint_space: bool = False
    ) -> None:
        self._folder = folder
        self._mapped, self._joint_space = mapped, joint_space
        folder.mkdir(parents=True, exist_ok=True)

    def save(
        self, readings: Sequence[KneeReading], refused: Sequence[RefusedJoint] = (), name: str = ""
    ) -> list[str]:
        """Write the pictures of one file's joints; a warning where something else lies there.

        Args:
            readings: of its graded knees.
            refused: its other joints.
            name: of the pictures without suffix, as `DistinctNames` gives it.
        """
        warnings = []
        for number, reading in enumerate(readings, start=1):
            end = f" knee {number}" if len(readings) > 1 else ""
            picture = reading.overlay(self._mapped, joint_space=self._joint_space)
            warnings += self._write(name + end, picture)
        for number, joint in enumerate(refused, start=1):
            warnings += self._write(f"{name} refused {number}", joint.overlay())
        return warnings

    def _write(self, name: str, picture: bytes) -> list[str]:
        path = self._folder / f"{name}.png"
        if path.exists() and why_skipped(path) != OWN:
            return [f"no picture: {shown_name(str(path))} is there and was not drawn by kellgren"]
        with replaced_whole(path) as temporary:
            temporary.write_bytes(picture)
        return []

    def naming(self, rows: Sequence[ReadingRow], name: str) -> list[ReadingRow]:
        """The rows of one file with the paths of its pictures, also those of an earlier run."""
        graded = sum(isinstance(row, GradedRow) for row in rows)
        knees, joints = count(1), count(1)
        named: list[ReadingRow] = []
        for row in rows:
            if not isinstance(row, GradedRow):
                end = f" refused {next(joints)}"
            else:
                end = f" knee {next(knees)}" if graded > 1 else ""
            path = self._folder / f"{name}{end}.png"
            drawn = why_skipped(path) == OWN
            named.append(
                row.model_copy(update={"overlay": shown_name(str(path))}) if drawn else row
            )
        return named


_LONGEST = 200  # bytes of a name: a file's has at most 255, with a number, an end and a suffix


class DistinctNames:
    """Names of pictures, none of which is another's, however many: on disk.

    A name is a file's place without the suffix, with a number where that is in use, and cut where
    it is too long for both. Folders above
    the place stay in the name. ``NAME knee 1``, ``NAME refused 1`` and so on are in use with a
    name: films of several joints get such files. Upper and lower case are the same, as disks have
    it.
    """

    def __init__(self) -> None:
        self._database = scratch_database(
            "CREATE TABLE used (name BLOB PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE stem (stem BLOB PRIMARY KEY, next INTEGER) WITHOUT ROWID",
        )

    def of(self, place: str) -> str:
        """The next name: the same whatever places follow."""
        stem = _short(without_suffix(place))
        key = text_key(stem)
        ask = self._database.execute
        known = ask("SELECT next FROM stem WHERE stem = ?", (key,)).fetchone()
        numbers = count(known[0] if known else 1)
        for number in numbers:
            name = stem if number == 1 else f"{stem}-{number}"
            if self._is_free(name.casefold()):
                break
        ask("INSERT OR REPLACE INTO stem VALUES (?, ?)", (key, number + 1))
        ask("INSERT INTO used VALUES (?)", (text_key(name.casefold()),))
        return name

    def _is_free(self, name: str) -> bool:
        """Whether no file of this name would be one of another's."""
        files = [name, *(name + end for end in _ENDS)]
        files += [name.removesuffix(end) for end in _ENDS if name.endswith(end)]
        marks = ", ".join("?" * len(files))
        asked = f"SELECT 1 FROM used WHERE name IN ({marks})"
        keys = [text_key(file) for file in files]
        return self._database.execute(asked, keys).fetchone() is None

    def close(self) -> None:
        """Give the disk back."""
        self._database.close()


def _short(stem: str) -> str:
    """A path whose last part is no longer than a name may be."""
    folder, last = os.path.split(stem)
    while len(os.fsencode(last)) > _LONGEST:
        last = last[:-1]
    return os.path.join(folder, last)


def distinct_names(places: Mapping[str, str]) -> dict[str, str]:
    """A name for each path by its place; see `DistinctNames`."""
    with closing(DistinctNames()) as names:
        return {image: names.of(place) for image, place in places.items()}
