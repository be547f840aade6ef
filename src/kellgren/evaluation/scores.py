"""All metrics of a set of graded knees, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.evaluation import reliability
from kellgren.evaluation.bootstrap import Estimate, PatientBootstrap
from kellgren.evaluation.catalogue import METRICS
from kellgren.evaluation.confusion import FloatArray, errors, ratio
from kellgren.evaluation.knees import GradedKnees, Tallies, Tally
from kellgren.grades import Grade

PER_GRADE = ("precision", "recall", "f1", "auc", "average_precision")
_AREAS = ("auc", "average_precision", "auc_grade2", "average_precision_grade2")


@dataclass(frozen=True, slots=True)
class GradeScore:
    """How well one grade was recognised; nan where no knee has it, or none was given it.

    AUC and average precision speak of this grade against all others; None without probabilities.
    """

    grade: Grade
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auc: Estimate | None
    average_precision: Estimate | None
    support: int

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        estimates = {key: _plain(getattr(self, key)) for key in PER_GRADE}
        return {"grade": int(self.grade), **estimates, "support": self.support}


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
class Scores:
    """Agreement of predicted with true grades, with 95% intervals over patients.

    What needs probabilities is None, or empty, without them.
    """

    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    weighted_f1: Estimate
    qwk: Estimate
    one_off: Estimate
    mae: Estimate
    mse: Estimate
    auc_grade2: Estimate | None
    average_precision_grade2: Estimate | None
    brier: Estimate | None
    log_loss: Estimate | None
    overconfidence: Estimate | None
    ece: Estimate | None
    per_grade: tuple[GradeScore, ...]
    confusion: tuple[tuple[int, ...], ...]  # 5 x 5 knees, rows true grades
    errors: tuple[Estimate, ...]  # share of knees by predicted minus true grade, -4 to 4
    reliability: tuple[ReliabilityBin, ...]
    knees: int
    patients: int
    resamples: int
    seed: int

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON: every estimate as value, low and high, null where undefined."""
        return {
            **{metric.key: _plain(getattr(self, metric.key)) for metric in METRICS},
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
    bootstrap = PatientBootstrap(knees.patient_count, len(knees.truth), resamples, seed)
    tally = Tally(knees)
    tallies = tally.unpacked(bootstrap(tally))
    draws = tallies.metrics()
    shares = errors(tallies.confusion)

    def known(key: str) -> Estimate:
        return _estimated(bootstrap, key, draws[key])

    def perhaps(key: str) -> Estimate | None:
        return known(key) if key in draws else None

    return Scores(
        accuracy=known("accuracy"),
        balanced_accuracy=known("balanced_accuracy"),
        macro_f1=known("macro_f1"),
        weighted_f1=known("weighted_f1"),
        qwk=known("qwk"),
        one_off=known("one_off"),
        mae=known("mae"),
        mse=known("mse"),
        auc_grade2=perhaps("auc_grade2"),
        average_precision_grade2=perhaps("average_precision_grade2"),
        brier=perhaps("brier"),
        log_loss=perhaps("log_loss"),
        overconfidence=perhaps("overconfidence"),
        ece=_ece(bootstrap, tallies),
        per_grade=_per_grade(bootstrap, tallies, draws),
        confusion=tuple(tuple(int(knees) for knees in row) for row in tallies.confusion[0]),
        errors=tuple(bootstrap.estimate(shares[:, error]) for error in range(shares.shape[1])),
        reliability=_reliability(bootstrap, tallies),
        knees=len(knees.truth),
        patients=knees.patient_count,
        resamples=resamples,
        seed=seed,
    )


def _estimated(bootstrap: PatientBootstrap, key: str, draws: FloatArray) -> Estimate:
    """From (1 + R,) draws of a metric; areas under curves have intervals of their own kind."""
    return (bootstrap.area if key in _AREAS else bootstrap.estimate)(draws)


def _ece(bootstrap: PatientBootstrap, tallies: Tallies) -> Estimate | None:
    if tallies.bins is None:
        return None
    value = float(reliability.ece(tallies.bins[0]))
    if bootstrap.patient_count == 1:
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, *reliability.ece_interval(tallies.bins))


def _per_grade(
    bootstrap: PatientBootstrap, tallies: Tallies, draws: dict[str, FloatArray]
) -> tuple[GradeScore, ...]:
    support = tallies.confusion[0].sum(axis=-1)

    def known(key: str, grade: Grade) -> Estimate:
        return _estimated(bootstrap, key, draws[key][:, grade])

    def perhaps(key: str, grade: Grade) -> Estimate | None:
        return known(key, grade) if key in draws else None

    return tuple(
        GradeScore(
            grade=grade,
            precision=known("precision", grade),
            recall=known("recall", grade),
            f1=known("f1", grade),
            auc=perhaps("auc", grade),
            average_precision=perhaps("average_precision", grade),
            support=int(support[grade]),
        )
        for grade in Grade
    )


def _reliability(bootstrap: PatientBootstrap, tallies: Tallies) -> tuple[ReliabilityBin, ...]:
    if tallies.bins is None:
        return ()
    knees, confidence, correct = np.moveaxis(tallies.bins, 2, 0)
    accuracy, mean = ratio(correct, knees), ratio(confidence[0], knees[0])
    return tuple(
        ReliabilityBin(
            low=float(reliability.EDGES[index]),
            high=float(reliability.EDGES[index + 1]),
            knees=int(knees[0, index]),
            confidence=float(mean[index]),
            accuracy=bootstrap.estimate(accuracy[:, index]),
        )
        for index in range(reliability.BINS)
    )


@dataclass(frozen=True, slots=True)
class BandScore:
    """How often the grade is right among the knees that bear one word for their certainty."""

    word: str
    knees: int
    accuracy: Estimate  # nan without such knees

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {"word": self.word, "knees": self.knees, "accuracy": self.accuracy.to_dict()}


def score_words(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    words: Sequence[str],
    patients: Iterable[object],
    *,
    resamples: int = 2000,
    seed: int = 42,
) -> tuple[BandScore, ...]:
    """Accuracy among the knees of each word, in the words' first order; arguments as in `score`.

    Args:
        truth: (N,) integers 0..4.
        predicted: (N,) integers 0..4.
        words: N words, one a knee.
        patients: N identifiers.
        resamples: of the patients.
        seed: of the draws.
    """
    knees = GradedKnees.checked(truth, predicted, None, patients)
    bootstrap = PatientBootstrap(knees.patient_count, len(knees.truth), resamples, seed)
    kinds = list(dict.fromkeys(words))
    home = np.array([kinds.index(word) for word in words])
    correct = knees.truth == knees.predicted
    sums = np.zeros((knees.patient_count, len(kinds), 2))
    np.add.at(sums, (knees.patients, home), np.stack([np.ones(len(home)), correct], axis=1))
    drawn = bootstrap(lambda counts: np.einsum("rp,pkc->rkc", counts, sums, optimize=True))
    accuracy = ratio(drawn[:, :, 1], drawn[:, :, 0])
    return tuple(
        BandScore(word, int(drawn[0, kind, 0]), bootstrap.estimate(accuracy[:, kind]))
        for kind, word in enumerate(kinds)
    )


def _plain(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else estimate.to_dict()
