"""Which of many files show the two knees of one patient, by their names or by a table."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import PurePath

from kellgren.file_names import patient_and_side
from kellgren.grades import Side
from kellgren.scratch import text_key

Known = Mapping[str, tuple[str, Side]]
"""Patient and side of files, by path, as the caller states them; before those of the names."""
_PAIRS = """
INSERT OR IGNORE INTO pair
SELECT min(position), max(position) FROM sided GROUP BY {}
HAVING count(*) = 2 AND count(DISTINCT side) = 2
"""


class Pairing:
    """Finds pairs among files, however many, in a database on disk.

    A patient with just one left and one right file has a pair, in whichever folders these are; one
    with more, as after several visits, has a pair in each folder that holds just one of each.

    Args:
        database: for its tables ``sided`` and ``pair``.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute(
            "CREATE TABLE sided (position INTEGER PRIMARY KEY, patient BLOB, folder BLOB, side)"
        )
        database.execute("CREATE TABLE pair (one INTEGER PRIMARY KEY, other INTEGER UNIQUE)")

    def add(self, position: int, image: str, known: tuple[str, Side] | None = None) -> None:
        """Take a file.

        Args:
            position: in the batch.
            image: path; names like ``9001234L.png`` state patient and side.
            known: patient and side; the name is not used then.
        """
        patient, side = known or patient_and_side(image)
        if side is not Side.UNKNOWN:
            folder = text_key(str(PurePath(image).parent))
            row = (position, text_key(patient), folder, side.value)
            self._database.execute("INSERT INTO sided VALUES (?, ?, ?, ?)", row)

    def match(self) -> None:
        """Find the pairs; to be called once, after all files were added."""
        for alike in ("patient", "patient, folder"):
            self._database.execute(_PAIRS.format(alike))

    def of(self, position: int) -> tuple[int, ...]:
        """The positions of the unit that begins at a file; none where its partner came before."""
        ask = self._database.execute
        other = ask("SELECT other FROM pair WHERE one = ?", (position,)).fetchone()
        if other is not None:
            return position, other[0]
        second = ask("SELECT 1 FROM pair WHERE other = ?", (position,)).fetchone()
        return (position,) if second is None else ()
