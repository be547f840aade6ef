"""Graders that may leave a grade unnamed: how right the named ones are, what doubt is worth.

The risk-coverage curve orders knees from the surest to the least sure and gives, for each share of
them that is kept, the share of wrong grades among the kept (El-Yaniv and Wiener, JMLR 2010). The
area under it is their mean over all shares: small where doubt and error go together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array, Mask
from kellgren.errors import InvalidPredictions
from kellgren.evaluation.bootstrap import Estimate, PatientBootstrap
from kellgren.evaluation.draws import around, too_few
from kellgren.evaluation.intervals import share
from kellgren.evaluation.knees import GradedKnees


@dataclass(frozen=True, slots=True, eq=False)
class Selective:
    """What naming some of the grades only is worth.

    Attributes:
        unnamed: knees without a named grade.
        knees: all of them.
        named_share: of the knees, with its interval.
        right: share of right grades of all knees, the most probable one where none is named.
        right_named: the same of those with a named grade.
        right_unnamed: the same of the others; nan without any.
        gain: of the named over all.
        area: under the risk-coverage curve by the largest probability; ``None`` without
            probabilities.
        kept: ``(N,)`` shares of knees kept, rising; empty without probabilities.
        wrong: ``(N,)`` share of wrong grades among the kept.
    """

    unnamed: int
    knees: int
    named_share: Estimate
    right: Estimate
    right_named: Estimate
    right_unnamed: Estimate
    gain: Estimate
    area: Estimate | None
    kept: Float64Array
    wrong: Float64Array

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, without the curve's points."""
        estimates = ("named_share", "right", "right_named", "right_unnamed", "gain")
        return {
            "unnamed": self.unnamed,
            "knees": self.knees,
            **{name: getattr(self, name).to_dict() for name in estimates},
            "risk_coverage_area": None if self.area is None else self.area.to_dict(),
        }


def selective(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    probabilities: npt.ArrayLike | None,
    named: Mask,
    patients: Iterable[object],
    *,
    resamples: int = 2000,
    seed: int = 42,
) -> Selective:
    """Score what a grader names and what it leaves open; arguments as in `score`.

    Args:
        truth: (N,) integers 0..4.
        predicted: (N,) integers 0..4, the most probable grade where none is named.
        probabilities: (N, 5), or None.
        named: (N,) whether the grade is named.
        patients: N identifiers.
        resamples: of the patients.
        seed: of the draws.

    Raises:
        InvalidPredictions: an argument is empty, out of range or of another length.
    """
    knees = GradedKnees.checked(truth, predicted, probabilities, patients)
    if len(named) != len(knees.truth):
        raise InvalidPredictions(
            "named", f"{len(named)} marks for {len(knees.truth)} knees", "Give one for each knee."
        )
    bootstrap = PatientBootstrap(knees.patient_count, len(knees.truth), resamples, seed)
    right = knees.truth == knees.predicted
    columns = np.stack([np.ones(len(right)), right, named, right & named], axis=1)
    sums = np.zeros((knees.patient_count, columns.shape[1]))
    np.add.at(sums, knees.patients, columns)
    total, correct, kept, kept_right = bootstrap(lambda counts: counts @ sums).T
    count = knees.patient_count
    gain = _ratio(kept_right, kept) - _ratio(correct, total)
    area, curve = None, (np.zeros(0), np.zeros(0))
    if knees.probabilities is not None:
        order = np.argsort(-knees.probabilities.max(axis=1), kind="stable")
        wrong, whose = (~right[order]).astype(np.float64), knees.patients[order]
        found = _around(bootstrap(lambda counts: _area(counts[:, whose], wrong)), count, len(right))
        area = replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))
        ranks = np.arange(1, len(wrong) + 1)
        curve = (ranks / len(wrong), np.cumsum(wrong) / ranks)
    return Selective(
        unnamed=int((~named).sum()),
        knees=len(right),
        named_share=share(kept, total, count),
        right=share(correct, total, count),
        right_named=share(kept_right, kept, count),
        right_unnamed=share(correct - kept_right, total - kept, count),
        gain=_around(gain, count, int(kept[0])),
        area=area,
        kept=curve[0],
        wrong=curve[1],
    )


def _around(values: Float64Array, patients: int, knees: int) -> Estimate:
    """A number with its interval, where the knees that it rests on are enough for one."""
    reason = too_few(knees)
    if reason:
        return Estimate.without_interval(float(values[0]), reason)
    return around(values, patients)


def _ratio(part: Float64Array, whole: Float64Array) -> Float64Array:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def _area(weights: Float64Array, wrong: Float64Array) -> Float64Array:
    """``(r,)`` areas of resamples whose knees, the surest first, occur ``(r, N)`` times."""
    kept = np.cumsum(weights, axis=1)
    risk = _ratio(np.cumsum(weights * wrong, axis=1), kept)
    return np.asarray((risk * weights).sum(axis=1) / kept[:, -1])
