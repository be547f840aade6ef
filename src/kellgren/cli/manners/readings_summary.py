"""What the end of a batch shows of its rows: kept row by row, in memory that does not grow."""

from __future__ import annotations

from collections import Counter

from kellgren.cli.manners.alike import MOST_NAMED, AlikeLines, Remarks
from kellgren.cli.manners.knee_table import MOST_ROWS
from kellgren.grades import Grade
from kellgren.reading_schema import GradedRow, ReadingRow, RegionRecord

_UNNAMED_SHOWN = 5


class ReadingsSummary:
    """What is shown of the rows of a batch.

    Attributes:
        graded: how many rows are.
        failed: how many are not.
        refused: whether some of these could be forced.
        first: the graded rows that the table shows.
        kinds: one row of each kind: by level and coverage of its set, and known certainty.
        unnamed: graded rows without a named grade.
        unnamed_first: the first few of them.
        calibrations: to local readers, of the models that graded; none twice.
        warnings: of graded rows.
        reasons: why others are not graded, each with the files.
    """

    def __init__(self) -> None:
        self.graded = self.failed = self.unnamed = 0
        self.refused = False
        self.first: list[GradedRow] = []
        self.unnamed_first: list[GradedRow] = []
        self.calibrations: dict[str, None] = {}
        self.warnings, self.reasons = Remarks(), AlikeLines(MOST_NAMED)
        self._by_grade: Counter[int] = Counter()
        self._kinds: dict[tuple[object, ...], GradedRow] = {}

    @property
    def kinds(self) -> list[GradedRow]:
        """See above."""
        return list(self._kinds.values())

    @property
    def grades(self) -> str:
        """How many knees were given each grade, in words."""
        parts = [f"{self._by_grade[g]} of grade {int(g)}" for g in Grade if self._by_grade[g]]
        if self.unnamed:
            parts.append(f"{self.unnamed} not sure enough to name a grade")
        return ", ".join(parts)

    def statistics(self, files: int, seconds: float, taken_over: int) -> str:
        """One line: files, knees by grade, what was not graded, and the time that it took.

        Args:
            files: of the batch.
            seconds: for which it graded.
            taken_over: files that an earlier, interrupted run had graded.
        """
        parts = [f"{files} files", f"{self.graded} knees graded"]
        if self.grades:
            parts[-1] += f" ({self.grades})"
        if self.failed:
            parts.append(f"{self.failed} not graded")
        if taken_over:
            parts.append(f"{taken_over} files taken over from the interrupted batch")
        parts.append(f"{seconds:.1f} s")
        if files > taken_over:
            parts[-1] += f", {seconds / (files - taken_over):.3f} s a file"
        if self.graded and not taken_over:
            parts[-1] += f", {seconds / self.graded:.3f} s a graded knee"
        return "; ".join(parts)

    def add(self, row: ReadingRow) -> None:
        """Keep what is shown of a row."""
        if isinstance(row, GradedRow):
            self._add_graded(row)
            return
        self.failed += 1
        self.refused |= row.note.startswith("is refused")
        self.reasons.add(f"{row.image}{place(row.region)}", row.note, row.note)

    def _add_graded(self, row: GradedRow) -> None:
        self.graded += 1
        if len(self.first) < MOST_ROWS:
            self.first.append(row)
        held = row.grade_set
        self._kinds[held.level, held.coverage is None, row.right_share is None] = row
        if row.named:
            self._by_grade[row.grade] += 1
        else:
            self.unnamed += 1
            if len(self.unnamed_first) < _UNNAMED_SHOWN:
                self.unnamed_first.append(row)
        if row.model.local_calibration is not None:
            self.calibrations[row.model.local_calibration] = None
        for warning in row.warnings:
            self.warnings.add(row.image, warning)


def place(region: RegionRecord | None) -> str:
    """Which joint of a picture a line is about."""
    return "" if region is None else ", joint at {:.0f}, {:.0f}".format(*region.centre)
