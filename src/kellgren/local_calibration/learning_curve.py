"""How much a local calibration gains with its knees, and what more of them would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Distributions, Float64Array, GradeArray, Mask
from kellgren.local_calibration.local_fit import fit_local

SIZES = (10, 20, 30, 50, 75, 100, 150, 200, 300)
REPEATS = 40
_LARGEST_SHARE = 0.8  # of the patients: the others judge
_MORE = 50


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Calibrations fitted to some of the knees, judged on the knees of the other patients.

    Attributes:
        knees: on average, that were fitted to.
        accuracy: mean over the repeats.
        low: 2.5th percentile of the repeats.
        high: 97.5th percentile.
        log_loss: mean over the repeats.
    """

    knees: float
    accuracy: float
    low: float
    high: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Points by number of knees, from none upwards.

    Attributes:
        points: the first is the model as delivered.
        now: accuracy that the fitted curve gives all knees; ``None`` with too few points.
        with_more: the same with 50 more.
    """

    points: tuple[CurvePoint, ...]
    now: float | None
    with_more: float | None

    @property
    def gain_of_more(self) -> float | None:
        """Accuracy that 50 more knees would add, as far as the curve tells."""
        if self.now is None or self.with_more is None:
            return None
        return self.with_more - self.now


def learning_curve(
    probabilities: Distributions,
    grades: GradeArray,
    patients: Sequence[str],
    *,
    repeats: int = REPEATS,
    seed: int = 42,
) -> LearningCurve:
    """Fit to parts of the patients of growing size, many times, and judge on the others.

    Args:
        probabilities: ``(N, 5)`` the bundle's distributions.
        grades: ``(N,)`` the local grades.
        patients: ``(N,)``.
        repeats: of every size, each with other patients.
        seed: of the draws.
    """
    names, position = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    rng = np.random.default_rng(seed)
    per_patient = len(grades) / len(names)
    wanted = [
        round(size / per_patient)
        for size in SIZES
        if size / per_patient <= _LARGEST_SHARE * len(names)
    ]
    points = [_delivered(probabilities, grades)]
    for people in wanted:
        drawn = [rng.permutation(len(names))[:people] for _ in range(repeats)]
        points.append(
            _point(probabilities, grades, [np.isin(position, chosen) for chosen in drawn])
        )
    return LearningCurve(tuple(points), *_ahead(points[1:], len(grades)))


def _delivered(probabilities: Distributions, grades: GradeArray) -> CurvePoint:
    accuracy, loss = _judged(probabilities, grades)
    return CurvePoint(0.0, accuracy, accuracy, accuracy, loss)


def _point(probabilities: Distributions, grades: GradeArray, fitted: Sequence[Mask]) -> CurvePoint:
    found = []
    for mine in fitted:
        shift = fit_local(probabilities[mine], grades[mine]).shift
        found.append(_judged(shift.apply(probabilities[~mine]), grades[~mine]))
    accuracies, losses = np.array(found).T
    low, high = np.quantile(accuracies, (0.025, 0.975))
    return CurvePoint(
        knees=float(np.mean([mine.sum() for mine in fitted])),
        accuracy=float(accuracies.mean()),
        low=float(low),
        high=float(high),
        log_loss=float(losses.mean()),
    )


def _judged(probabilities: Distributions, grades: GradeArray) -> tuple[float, float]:
    right = (probabilities.argmax(axis=1) == grades).mean()
    told = np.maximum(probabilities[np.arange(len(grades)), grades], 1e-9)
    return float(right), float(-np.log(told).mean())


def _ahead(points: Sequence[CurvePoint], knees: int) -> tuple[float | None, float | None]:
    """Accuracy at ``knees`` and at 50 more by ``limit - loss / knees``, fitted by least squares."""
    if len(points) < 3:
        return None, None
    inverse = np.array([1.0 / point.knees for point in points])
    design: Float64Array = np.stack([np.ones(len(points)), -inverse], axis=1)
    accuracies = np.array([point.accuracy for point in points])
    limit, lost = np.linalg.lstsq(design, accuracies, rcond=None)[0]
    lost = max(0.0, float(lost))
    now, more = (min(1.0, float(limit) - lost / n) for n in (knees, knees + _MORE))
    return now, more
