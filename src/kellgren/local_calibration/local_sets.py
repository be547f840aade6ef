"""Grade sets and limits of naming for a hospital's own grades, wider where its knees are few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kellgren.arrays import Distributions, Float64Array, GradeArray, IntArray
from kellgren.grading.grade_sets import (
    FEWEST_OF_A_GRADE,
    LEVELS,
    GradeSets,
    conformal_quantile,
    fit_grade_sets,
)
from kellgren.grading.naming import HeldOut, NamingRule, measured_naming, naming_rule
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
    these thresholds: that of all local knees at half the error, those of the grades with enough,
    that which its own few need, and the shipped one.

    Args:
        after: ``(N, 5)`` cross-fitted: each knee by a fit without its patient.
        grades: ``(N,)`` local grades.
        patients: ``(N,)``.
        shipped: of the bundle that was calibrated; ``None`` where it has none.
    """
    levels = LEVELS if shipped is None else tuple(one.level for one in shipped.levels)

    def thresholds(scores: Float64Array, truth: IntArray, level: float) -> Float64Array:
        own = scores[np.arange(len(truth)), truth]
        quantiles = np.array([conformal_quantile(own[truth == g], level) for g in range(5)])
        enough = np.bincount(truth, minlength=5) >= FEWEST_OF_A_GRADE
        widest = max(conformal_quantile(own, (1.0 + level) / 2.0), *quantiles[enough], 0.0)
        floor = np.zeros(5) if shipped is None else np.array(shipped.at(level).thresholds)
        most = np.array([own[truth == g].max(initial=0.0) for g in range(5)])
        few = np.maximum(np.where(np.isinf(quantiles), most, quantiles), np.maximum(widest, floor))
        return np.minimum(_WIDEST, np.where(enough, quantiles, few))

    return fit_grade_sets(
        after, grades, patients, levels, thresholds=thresholds, fewest=FEWEST_KNEES
    )


def local_naming(
    rule: NamingRule | None,
    after: Distributions,
    grades: GradeArray,
    patients: Sequence[str],
    sets: GradeSets,
) -> NamingRule | None:
    """The limits of naming, fitted anew to the local knees; that of disagreement as shipped.

    Args:
        rule: of the bundle that was calibrated; ``None``: every grade is named, and stays so.
        after: ``(N, 5)`` cross-fitted.
        grades: ``(N,)`` local grades.
        patients: ``(N,)``.
        sets: of the local knees.
    """
    if rule is None:
        return None
    knees = HeldOut.of(after, grades, patients)
    lowest, highest = sets.sets(after, rule.level)
    size = np.asarray(highest - lowest + 1, dtype=np.int64)
    local = naming_rule(knees, size, rule.level)
    measured = measured_naming(knees, local.unnamed(after.max(axis=1), size, None))
    return local.model_copy(
        update={"most_disagreement": rule.most_disagreement, "measured": measured}
    )
