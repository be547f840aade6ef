"""All metrics of a set of graded knees, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array
from kellgren.evaluation import reliability
from kellgren.evaluation.bootstrap import Estimate, PatientBootstrap, reasons
from kellgren.evaluation.catalogue import GRADE_METRICS, METRICS, Metric, values
from kellgren.evaluation.confusion import errors, ratio, support
from kellgren.evaluation.draws import Draws, Tallies
from kellgren.evaluation.intervals import share
from kellgren.evaluation.knees import GradedKnees, Tally
from kellgren.grades import Grade

LEAST_IN_BIN = 30
"""Of fewer knees in a bin of probabilities no interval is shown (decision 23)."""

LEAST_EXPECTED = 5
"""Nor where the bin's probability lets expect fewer of them to be right, or to be wrong."""


class _ByKey:
    """Metrics that can be had as attributes, such as ``scores.qwk``."""

    __slots__ = ()
    metrics: Mapping[str, Estimate | None]

    def __getattr__(self, key: str) -> Any:
        # Not `self.metrics`: while an object is unpickled it has none yet.
        metrics: Mapping[str, Estimate | None] = object.__getattribute__(self, "metrics")
        if key in metrics:
            return metrics[key]
        raise AttributeError(f"{type(self).__name__} has no metric {key!r}")


@dataclass(frozen=True, slots=True)
class GradeScore(_ByKey):
    """How well one grade was recognised; nan where no knee has it, or none was given it.

    Attributes:
        grade: which.
        metrics: those of `GRADE_METRICS` by key, each also an attribute; None for one that needs
            probabilities where there are none.
        support: knees that have the grade.
    """

    grade: Grade
    metrics: Mapping[str, Estimate | None]
    support: int

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {"grade": int(self.grade), **_plain(self.metrics), "support": self.support}


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Knees whose largest probability lies in (low, high], and how often it was right."""

    low: float
    high: float
    knees: int
    confidence: float  # mean largest probability; nan in an empty bin
    accuracy: Estimate  # share of knees whose most probable grade is the true one

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "low": self.low,
            "high": self.high,
            "knees": self.knees,
            "confidence": self.confidence if self.knees else None,
            "accuracy": self.accuracy.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Scores(_ByKey):
    """Agreement of predicted with true grades, with 95% intervals over patients.

    What needs probabilities is None, or empty, without them.

    Attributes:
        metrics: those of `METRICS` by key, each also an attribute: ``scores.qwk``.
        per_grade: the metrics of each grade.
        confusion: 5 x 5 knees, rows true grades.
        errors: share of knees by predicted minus true grade, -4 to 4; without intervals, as most
            are of a few knees.
        reliability: the calibration bins.
        knees: N.
        patients: whose knees these are.
        resamples: of patients, for the intervals.
        seed: of the resamples.
    """

    metrics: Mapping[str, Estimate | None]
    per_grade: tuple[GradeScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    errors: tuple[Estimate, ...]
    reliability: tuple[ReliabilityBin, ...]
    knees: int
    patients: int
    resamples: int
    seed: int

    @property
    def without_knees(self) -> tuple[Grade, ...]:
        """Grades that no knee has: they have no recall, and balanced accuracy leaves them out."""
        return tuple(grade for grade in Grade if not sum(self.confusion[grade]))

    @property
    def absent(self) -> tuple[Grade, ...]:
        """Grades that no knee has and none was given: macro-F1 leaves them out."""
        given = [sum(row[grade] for row in self.confusion) for grade in Grade]
        return tuple(grade for grade in self.without_knees if not given[grade])

    def name_of(self, metric: Metric) -> str:
        """The metric's name, with the number of grades that it is a mean of where that is not 5."""
        missing = {"balanced_accuracy": self.without_knees, "macro_f1": self.absent}
        counted = 5 - len(missing.get(metric.key, ()))
        return metric.name if counted == 5 else f"{metric.name} ({counted} of 5 grades)"

    @property
    def absence(self) -> str:
        """Which grades are missing, and what that means for means over grades; empty if none."""
        if not self.without_knees:
            return ""
        missing = ", ".join(str(int(grade)) for grade in self.without_knees)
        return (
            f"No knee has grade {missing}: balanced accuracy is the mean of"
            f" {5 - len(self.without_knees)} grades, macro-F1 of {5 - len(self.absent)}."
        )

    @property
    def without_interval(self) -> tuple[str, ...]:
        """Why some metrics have no interval, each reason once."""
        tables = (self.metrics, *(row.metrics for row in self.per_grade))
        return reasons(it for table in tables for it in table.values())

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON: every estimate as value, low and high, null where undefined."""
        return {
            **_plain(self.metrics),
            "grades_without_knees": [int(grade) for grade in self.without_knees],
            "grades_absent": [int(grade) for grade in self.absent],
            "per_grade": [grade.to_dict() for grade in self.per_grade],
            "confusion": [list(row) for row in self.confusion],
            "errors": [share.to_dict() for share in self.errors],
            "reliability": [filled.to_dict() for filled in self.reliability],
            "knees": self.knees,
            "patients": self.patients,
            "resamples": self.resamples,
            "seed": self.seed,
        }


def score(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    probabilities: npt.ArrayLike | None,
    patients: Iterable[object],
    *,
    resamples: int = 2000,
    seed: int = 42,
) -> Scores:
    """Score N knees; intervals come from resampling patients.

    Args:
        truth: (N,) integers 0..4.
        predicted: (N,) integers 0..4.
        probabilities: (N, 5), 0..1, or None when only grades are known.
        patients: N identifiers; knees of one patient share theirs.
        resamples: how many times the patients are drawn with replacement.
        seed: of the draws; recorded in the result.

    Raises:
        InvalidPredictions: an argument is empty, out of range or of another length.
    """
    knees = GradedKnees.checked(truth, predicted, probabilities, patients)
    knees_of = knees.patient_count
    bootstrap = PatientBootstrap(knees_of, len(knees.truth), resamples, seed)
    tally = Tally(knees)
    tallies = tally.unpacked(bootstrap(tally))
    draws = values(tallies)
    return Scores(
        metrics={
            metric.key: (
                metric.interval(Draws(draws[metric.key], tallies, bootstrap, metric.source))
                if metric.key in draws
                else None
            )
            for metric in METRICS
        },
        per_grade=_per_grade(bootstrap, tallies, draws),
        confusion=tuple(tuple(int(knees) for knees in row) for row in tallies.confusion[0]),
        errors=tuple(
            Estimate.without_interval(float(part), "see accuracy and within one grade")
            for part in errors(tallies.confusion[0])
        ),
        reliability=_reliability(bootstrap, tallies),
        knees=len(knees.truth),
        patients=knees_of,
        resamples=resamples,
        seed=seed,
    )


def _per_grade(
    bootstrap: PatientBootstrap, tallies: Tallies, draws: dict[str, Float64Array]
) -> tuple[GradeScore, ...]:
    having = support(tallies.confusion[0])
    return tuple(
        GradeScore(
            grade=grade,
            metrics={
                metric.key: (
                    metric.interval(
                        Draws(draws[metric.key][:, grade], tallies, bootstrap, metric.source, grade)
                    )
                    if metric.key in draws
                    else None
                )
                for metric in GRADE_METRICS
            },
            support=int(having[grade]),
        )
        for grade in Grade
    )


def _reliability(bootstrap: PatientBootstrap, tallies: Tallies) -> tuple[ReliabilityBin, ...]:
    if tallies.bins is None:
        return ()
    knees, confidence, correct = np.moveaxis(tallies.bins, 2, 0)
    mean = ratio(confidence[0], knees[0])
    return tuple(
        ReliabilityBin(
            low=float(reliability.EDGES[index]),
            high=float(reliability.EDGES[index + 1]),
            knees=int(knees[0, index]),
            confidence=float(mean[index]),
            accuracy=_share_in_bin(
                correct[:, index], knees[:, index], confidence[0, index], bootstrap.patient_count
            ),
        )
        for index in range(reliability.BINS)
    )


def _share_in_bin(
    right: Float64Array, knees: Float64Array, confidence: float, patients: int
) -> Estimate:
    """A share of right grades among knees of about the same probability, as of `share`.

    There is no interval where the bin has few knees, nor where by that probability few of them are
    expected to be right, or to be wrong: the share takes too few values there, and an interval
    holds too often. Neither depends on the labels, so that leaving it out favours no result.

    Args:
        right: (1 + R,) knees whose most probable grade is the true one, as of `share`.
        knees: (1 + R,) knees in the bin.
        confidence: sum of the largest probabilities of the sample's own knees.
        patients: of the sample.
    """
    found = share(right, knees, patients)
    if math.isnan(found.low):
        return found
    count = float(knees[0])
    reason = ""
    if count < LEAST_IN_BIN:
        reason = f"too few knees in the bin: {count:.0f}"
    for expected, what in ((count - confidence, "wrong"), (confidence, "right")):
        if not reason and expected < LEAST_EXPECTED:
            reason = f"too few knees expected to be {what}: {expected:.1f}"
    return Estimate.without_interval(found.value, reason) if reason else found


def _plain(
    metrics: Mapping[str, Estimate | None],
) -> dict[str, dict[str, float | str | None] | None]:
    return {key: None if it is None else it.to_dict() for key, it in metrics.items()}
