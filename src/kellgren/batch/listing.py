"""The files of a batch in their order, listed as they are found and kept on disk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kellgren.batch.collecting import Found
from kellgren.batch.pairing import Known, Pairing
from kellgren.batch.picture_folder import DistinctNames
from kellgren.batch.units import FileToGrade, Unit
from kellgren.grades import Side
from kellgren.imaging.search import Skipped
from kellgren.scratch import key_text, scratch_database, text_key

_TABLES = (
    "CREATE TABLE file (position INTEGER PRIMARY KEY, path BLOB UNIQUE, name BLOB)",
    "CREATE TABLE skipped (position INTEGER PRIMARY KEY, path BLOB UNIQUE, why TEXT)",
    "CREATE TABLE known (path BLOB PRIMARY KEY, patient BLOB, side TEXT) WITHOUT ROWID",
    "CREATE TABLE patient (path BLOB PRIMARY KEY, name BLOB) WITHOUT ROWID",
)
_SLICE_S = 0.02


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of the batch: its path, the name of its pictures, its patient as a manifest says."""

    image: str
    name: str
    patient: str | None


class Listing:
    """The files of a batch, none twice, in their order; memory does not grow with their number.

    Args:
        found: files, and what is no radiograph, as `found_files` finds them: asked one by one.
        named: give each file a name for its pictures.
        known: patient and side of some files, if the caller knows them one by one.
        patients: of some files, for the table.
        on_found: called with the path of each file that is new; what it raises ends the listing.
        on_slice: called now and then while files are listed before any is graded.

    Attributes:
        count: files found so far.
        complete: whether there are no more.
    """

    def __init__(
        self,
        found: Iterable[Found | Skipped],
        *,
        named: bool = False,
        known: Known | None = None,
        patients: Mapping[str, str] | None = None,
        on_found: Callable[[str], None] = lambda path: None,
        on_slice: Callable[[], None] = lambda: None,
    ) -> None:
        self.count, self.complete = 0, False
        self._found = iter(found)
        self._on_found, self.on_slice = on_found, on_slice
        self._names = DistinctNames() if named else None
        self._database = scratch_database(*_TABLES)
        self._database.executemany(
            "INSERT INTO known VALUES (?, ?, ?)",
            (
                (text_key(path), text_key(patient), side.value)
                for path, (patient, side) in (known or {}).items()
            ),
        )
        self._database.executemany(
            "INSERT INTO patient VALUES (?, ?)",
            ((text_key(path), text_key(name)) for path, name in (patients or {}).items()),
        )
        self._pairing: Pairing | None = None

    def stated_sides(self) -> str:
        """The hash of all sides that the caller knows one by one; empty where there are none."""
        asked = "SELECT path, side FROM known WHERE side <> '' ORDER BY path"
        digest, any_stated = hashlib.sha256(), False
        for row in self._database.execute(asked):
            digest.update(repr(row).encode())
            any_stated = True
        return digest.hexdigest() if any_stated else ""

    def list_more(self, seconds: float = _SLICE_S) -> bool:
        """List for a while; returns whether there may be more."""
        until = time.monotonic() + seconds
        while not self.complete and time.monotonic() < until:
            self._list_next()
        return not self.complete

    def list_until(self, count: int) -> None:
        """List until there are so many files, or all."""
        while not self.complete and self.count < count:
            self._list_next()

    def list_all(self) -> None:
        """List all files."""
        while self.list_more():
            self.on_slice()

    def _list_next(self) -> None:
        file = next(self._found, None)
        if file is None:
            self.complete = True
            if self._names is not None:
                self._names.close()
            return
        key = text_key(file.path)
        if isinstance(file, Skipped):
            self._database.execute(
                "INSERT OR IGNORE INTO skipped (path, why) VALUES (?, ?)", (key, file.why)
            )
            return
        if self._database.execute("SELECT 1 FROM file WHERE path = ?", (key,)).fetchone():
            return
        self._on_found(file.path)
        name = "" if self._names is None else self._names.of(file.place)
        row = (self.count, key, text_key(name))
        self._database.execute("INSERT INTO file VALUES (?, ?, ?)", row)
        self.count += 1

    def units(self, *, pairs: bool, side: Side = Side.UNKNOWN) -> Iterator[Unit | None]:
        """The units of work in the order of their first files.

        Args:
            pairs: whether the two knees of a patient are one unit: then all files are listed first.
            side: of every knee whose side `known` does not tell.

        Yields:
            A unit; ``None`` where the next one is not found yet: ask again after `list_more`.
        """
        if pairs:
            self.list_all()
            self._match()
        position = 0
        while position < self.count or not self.complete:
            if position == self.count:
                yield None
                continue
            members = self._pairing.of(position) if self._pairing else (position,)
            if members:
                yield tuple(self._file(member, side) for member in members)
            position += 1

    def _match(self) -> None:
        if self._pairing is not None:
            return
        self._pairing = Pairing(self._database)
        asked = (
            "SELECT position, path, patient, side FROM file LEFT JOIN known USING (path) "
            "ORDER BY position"
        )
        for position, path, patient, side in self._database.execute(asked):
            known = None if patient is None else (key_text(patient), Side(side))
            self._pairing.add(position, key_text(path), known)
        self._pairing.match()

    def _file(self, position: int, side: Side) -> FileToGrade:
        asked = "SELECT path, name, side FROM file LEFT JOIN known USING (path) WHERE position = ?"
        path, name, stated = self._database.execute(asked, (position,)).fetchone()
        return FileToGrade(key_text(path), side if stated is None else Side(stated), key_text(name))

    def files(self) -> Iterator[Listed]:
        """The files listed so far."""
        asked = (
            "SELECT file.path, file.name, patient.name FROM file LEFT JOIN patient USING (path) "
            "ORDER BY position"
        )
        for path, name, patient in self._database.execute(asked):
            whose = None if patient is None else key_text(patient)
            yield Listed(key_text(path), key_text(name), whose)

    def skipped(self) -> Iterator[Skipped]:
        """What was skipped so far, in the order in which it was found."""
        for path, why in self._database.execute("SELECT path, why FROM skipped ORDER BY position"):
            yield Skipped(key_text(path), why)

    def close(self) -> None:
        """Give the disk back."""
        if self._names is not None:
            self._names.close()
        self._database.close()
