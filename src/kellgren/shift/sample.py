"""One knee of each patient: the sample that is compared, so that its knees are independent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Float64Array
from kellgren.shift.quantities import QUANTITIES, Key

SEED = 42


@dataclass(frozen=True, slots=True, eq=False)
class WatchedKnees:
    """Graded knees with their four numbers.

    Attributes:
        patients: N names; equal ones are one patient.
        values: ``(N,)`` by quantity, NaN where a reading has none.
        refused: joints and files beside them that were not graded.
        nameless: knees of which nothing names the patient; each counts as a patient of its own.
    """

    patients: tuple[str, ...]
    values: Mapping[Key, Float64Array]
    refused: int = 0
    nameless: int = 0

    def without(self, patients: Sequence[str]) -> WatchedKnees:
        """The knees of other patients."""
        excluded = set(patients)
        keep = np.array([name not in excluded for name in self.patients], dtype=bool)
        kept = tuple(name for name in self.patients if name not in excluded)
        values = {key: column[keep] for key, column in self.values.items()}
        return WatchedKnees(kept, values, self.refused, self.nameless)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One knee a patient.

    Attributes:
        patients: how many.
        values: ascending, by quantity, at most one a patient; empty where no reading has one.
    """

    patients: int
    values: Mapping[Key, Float64Array]


def one_per_patient(knees: WatchedKnees, *, seed: int = SEED, most: int | None = None) -> Sample:
    """Draw one knee of each patient.

    The two knees of a patient are alike; counted as two they would be weaker evidence than a test
    takes them for, and a hospital with films of both knees could not be compared with another.

    Args:
        knees: of any number of patients.
        seed: of the draw, which depends on the order of the knees.
        most: patients; more are drawn from.
    """
    order = np.random.default_rng(seed).permutation(len(knees.patients))
    _, first = np.unique(np.array(knees.patients, dtype=str)[order], return_index=True)
    drawn = order[np.sort(first)[:most]]
    values: dict[Key, Float64Array] = {}
    for quantity in QUANTITIES:
        column = knees.values[quantity.key][drawn]
        values[quantity.key] = np.sort(column[~np.isnan(column)])
    return Sample(len(drawn), values)
