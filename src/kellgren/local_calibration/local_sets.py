"""Grade sets that hold for a hospital's own grades, wider where it has few knees of a grade."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kellgren.arrays import Distributions, Float64Array, GradeArray, IntArray
from kellgren.grading.grade_sets import (
    LEVELS,
    GradeSets,
    conformal_quantile,
    fit_grade_sets,
)
from kellgren.local_calibration.estimate import FEWEST_KNEES

_WIDEST = 0.5


def local_grade_sets(
    after: Distributions,
    grades: GradeArray,
    patients: Sequence[str],
    shipped: GradeSets | None,
) -> GradeSets:
    """Sets for locally calibrated distributions, by the same levels as the shipped ones.

    A grade with enough local knees has the quantile of its own. One with fewer has the widest of
    three thresholds: that of all local knees, that which its own few would have needed, and the
    shipped one.

    Args:
        after: ``(N, 5)`` cross-fitted: each knee by a fit without its patient.
        grades: ``(N,)`` local grades.
        patients: ``(N,)``.
        shipped: of the bundle that was calibrated; ``None`` where it has none.
    """
    levels = LEVELS if shipped is None else tuple(one.level for one in shipped.levels)

    def thresholds(scores: Float64Array, truth: IntArray, level: float) -> Float64Array:
        own = scores[np.arange(len(truth)), truth]
        everyone = conformal_quantile(own, level)
        floor = np.zeros(5) if shipped is None else np.array(shipped.at(level).thresholds)
        return np.array([_of_grade(own[truth == g], level, everyone, floor[g]) for g in range(5)])

    return fit_grade_sets(
        after, grades, patients, levels, thresholds=thresholds, fewest=FEWEST_KNEES
    )


def _of_grade(own: Float64Array, level: float, everyone: float, floor: float) -> float:
    needed = conformal_quantile(own, level)
    if math.isinf(needed):
        needed = max(everyone, floor, float(own.max(initial=0.0)))
    return min(_WIDEST, needed)
