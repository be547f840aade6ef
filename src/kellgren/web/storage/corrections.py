"""Corrected margins in the database: the rows hold what was corrected, a table what was found."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from kellgren.joint_space.telling.correcting import Correction, corrected
from kellgren.joint_space.telling.space_record import JointSpaceRecord
from kellgren.reading_schema import ROW_LIST, GradedRow, ReadingRow
from kellgren.web.storage.case_rows import NEXT_REVISION
from kellgren.web.storage.cases import CaseStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS found_joint_spaces (
    case_number INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, place INTEGER NOT NULL,
    found TEXT NOT NULL, PRIMARY KEY (case_number, place)
)
"""


class NoJointSpace(Exception):
    """There is no such knee, or its joint space was not measured."""


class CorrectionStore:
    """Corrections of the knees of one store.

    Args:
        store: of the cases.
    """

    def __init__(self, store: CaseStore) -> None:
        self._store = store
        with store.transaction() as base:
            base.execute(_SCHEMA)

    def correct(self, case: str, place: int, correction: Correction) -> JointSpaceRecord:
        """Store corrected margins with the numbers that follow from them.

        Args:
            case: its identifier.
            place: of the knee in the case, from 0.
            correction: of some of its margins.

        Raises:
            NoJointSpace: there is nothing to correct.
            InvalidOption: the margins cannot be those of this knee.
        """
        return self._change(case, place, lambda found: corrected(found, correction))

    def restore(self, case: str, place: int) -> JointSpaceRecord:
        """Put what was found back in the place of what was corrected.

        Raises:
            NoJointSpace: there is no such measurement.
        """
        return self._change(case, place, None)

    def _change(
        self, case: str, place: int, change: Callable[[JointSpaceRecord], JointSpaceRecord] | None
    ) -> JointSpaceRecord:
        with self._store.transaction() as base:
            number, rows = _rows(base, case)
            row = rows[place] if place < len(rows) else None
            if not isinstance(row, GradedRow) or row.joint_space is None:
                raise NoJointSpace
            key = (number, place)
            if change is None:
                changed = _found(base, key) or row.joint_space
                base.execute(
                    "DELETE FROM found_joint_spaces WHERE case_number = ? AND place = ?", key
                )
            else:
                changed = change(row.joint_space)
                base.execute(
                    "INSERT OR IGNORE INTO found_joint_spaces VALUES (?, ?, ?)",
                    (*key, row.joint_space.model_dump_json()),
                )
            rows[place] = row.model_copy(update={"joint_space": changed})
            base.execute(
                f"UPDATE cases SET rows = ?, changed = {NEXT_REVISION} WHERE number = ?",
                (ROW_LIST.dump_json(tuple(rows)).decode(), number),
            )
        return changed


def _rows(base: sqlite3.Connection, case: str) -> tuple[int, list[ReadingRow]]:
    row = base.execute("SELECT number, rows FROM cases WHERE id = ?", (case,)).fetchone()
    if row is None:
        raise NoJointSpace
    return row["number"], list(ROW_LIST.validate_json(row["rows"]))


def _found(base: sqlite3.Connection, key: tuple[int, int]) -> JointSpaceRecord | None:
    row = base.execute(
        "SELECT found FROM found_joint_spaces WHERE case_number = ? AND place = ?", key
    ).fetchone()
    return None if row is None else JointSpaceRecord.model_validate_json(row["found"])
