"""Counts of readings since the start, as Prometheus takes them: how often each value came.

Nothing of a case is kept, and the labels are few whatever is uploaded.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Sequence

from kellgren.grades import Grade
from kellgren.reading_schema import GradedRow, ReadingRow
from kellgren.shift.quantities import QUANTITIES, Key, Quantity, values_of

_MEASURED = tuple(it for it in QUANTITIES if it.key != "grade")


class ReadingCounts:
    """Counts graded knees by grade, and by certainty, gate distance and exposure in buckets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._grades: Counter[int] = Counter()
        self._not_graded = 0
        self._buckets: dict[Key, Counter[float]] = {it.key: Counter() for it in _MEASURED}
        self._sums: dict[Key, float] = {it.key: 0.0 for it in _MEASURED}

    def add(self, rows: Sequence[ReadingRow]) -> None:
        """Count the rows of an answered case; from any thread."""
        with self._lock:
            for row in rows:
                if isinstance(row, GradedRow):
                    self._count(row)
                else:
                    self._not_graded += 1

    def lines(self) -> list[str]:
        """In the text format of Prometheus."""
        with self._lock:
            name = "kellgren_readings_total"
            lines = [
                f"# HELP {name} Knees graded since the start, by most probable grade.",
                f"# TYPE {name} counter",
                *(f'{name}{{grade="{int(it)}"}} {self._grades[int(it)]}' for it in Grade),
                "# HELP kellgren_not_graded_total Joints and files not graded since the start.",
                "# TYPE kellgren_not_graded_total counter",
                f"kellgren_not_graded_total {self._not_graded}",
            ]
            for quantity in _MEASURED:
                lines += self._histogram(quantity)
            return lines

    def _count(self, row: GradedRow) -> None:
        values = values_of(row)
        self._grades[row.grade] += 1
        for quantity in _MEASURED:
            value = values[quantity.key]
            if value is not None:
                bound = next((it for it in quantity.bounds if value <= it), math.inf)
                self._buckets[quantity.key][bound] += 1
                self._sums[quantity.key] += value

    def _histogram(self, quantity: Quantity) -> list[str]:
        name, counts = f"kellgren_reading_{quantity.key}", self._buckets[quantity.key]
        lines = [
            f"# HELP {name} Of graded knees: {quantity.name}.",
            f"# TYPE {name} histogram",
        ]
        until = 0
        for bound in (*quantity.bounds, math.inf):
            until += counts[bound]
            le = "+Inf" if math.isinf(bound) else f"{bound:g}"
            lines.append(f'{name}_bucket{{le="{le}"}} {until}')
        return [*lines, f"{name}_sum {self._sums[quantity.key]:.6g}", f"{name}_count {until}"]
