"""The metrics: each is defined here once, and computed, compared, written and shown from here.

To add one, write its function and add a line to `METRICS`, or to `GRADE_METRICS` where each grade
has its own value; or call `register`. Scores with intervals, comparisons, JSON, the tables of the
terminal and the HTML report take it up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kellgren.arrays import Float64Array
from kellgren.errors import InvalidPredictions
from kellgren.evaluation import confusion, difference_intervals, intervals, reliability
from kellgren.evaluation.difference_intervals import DifferenceInterval
from kellgren.evaluation.draws import Loss, Source, Tallies
from kellgren.evaluation.intervals import Interval


def from_confusion(function: Callable[[Float64Array], Float64Array]) -> Source:
    """A metric of confusion matrices: (R, 5, 5) in, (R,) or (R, 5) out."""
    return lambda tallies: function(tallies.confusion)


def from_bins(function: Callable[[Float64Array], Float64Array]) -> Source:
    """A metric of the calibration bins: (R, 15, 3) in, (R,) out."""
    return lambda tallies: None if tallies.bins is None else function(tallies.bins)


def from_areas(function: Callable[[Float64Array], Float64Array]) -> Source:
    """A metric of areas under curves: (R, 6, 2) in, (R,) or (R, 5) out."""
    return lambda tallies: None if tallies.areas is None else function(tallies.areas)


@dataclass(frozen=True, slots=True)
class MeanOf:
    """A metric that is the mean, over the knees, of a loss of their probabilities."""

    loss: Loss

    def __call__(self, tallies: Tallies) -> Float64Array | None:
        """(R,) the mean in every sample."""
        return tallies.losses.get(self.loss)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        key: in the JSON, and of the attribute of `Scores` or `GradeScore`.
        name: for people.
        group: under which it is shown.
        higher_is_better: whether agreement raises it.
        meaning: one sentence for a report.
        source: computes it.
        interval: makes the estimate of its draws.
        difference: makes the estimate of the paired difference of two graders.
    """

    key: str
    name: str
    group: str
    higher_is_better: bool
    meaning: str
    source: Source
    interval: Interval = intervals.plain
    difference: DifferenceInterval = difference_intervals.of_difference


AGREEMENT, ERROR, PROBABILITIES = "agreement", "error", "probabilities"
GROUPS = (AGREEMENT, ERROR, PROBABILITIES)

METRICS = [
    Metric(
        "accuracy",
        "accuracy",
        AGREEMENT,
        True,
        "share of knees given exactly their grade",
        from_confusion(confusion.accuracy),
        intervals.of_share(confusion.accuracy_counts),
    ),
    Metric(
        "one_off",
        "within one grade",
        AGREEMENT,
        True,
        "share at most one grade off",
        from_confusion(confusion.one_off),
        intervals.of_share(confusion.one_off_counts),
    ),
    Metric(
        "balanced_accuracy",
        "balanced accuracy",
        AGREEMENT,
        True,
        "mean recall of the grades that some knee has",
        from_confusion(confusion.balanced_accuracy),
        intervals.of_mean_share(confusion.recall_counts),
    ),
    Metric(
        "macro_f1",
        "macro-F1",
        AGREEMENT,
        True,
        "mean F1 of the grades that occur, rare ones alike",
        from_confusion(confusion.macro_f1),
        intervals.of_mean_share(confusion.overlap_counts, confusion.f1_of_overlap),
    ),
    Metric(
        "weighted_f1",
        "weighted F1",
        AGREEMENT,
        True,
        "mean F1, common grades counting more",
        from_confusion(confusion.weighted_f1),
        intervals.of_proportion,
    ),
    Metric(
        "qwk",
        "quadratic weighted kappa",
        AGREEMENT,
        True,
        "agreement beyond chance; an error of two grades counts four times one of one",
        from_confusion(confusion.qwk),
        intervals.of_kappa,
    ),
    Metric(
        "mae",
        "mean absolute error, grades",
        ERROR,
        False,
        "how many grades off, on average",
        from_confusion(confusion.mae),
        intervals.on_logarithms(4.0),
    ),
    Metric(
        "mse",
        "mean squared error",
        ERROR,
        False,
        "the same, large errors weigh more",
        from_confusion(confusion.mse),
        intervals.on_logarithms(16.0),
    ),
    Metric(
        "auc_grade2",
        "AUC for grade 2 or higher",
        PROBABILITIES,
        True,
        "how well knees with and without radiographic osteoarthritis are told apart",
        from_areas(lambda areas: areas[:, -1, 0]),
        intervals.of_auc(confusion.knees_with_grade2),
        difference_intervals.of_auc_difference(confusion.knees_with_grade2),
    ),
    Metric(
        "average_precision_grade2",
        "average precision for it",
        PROBABILITIES,
        True,
        "area under the precision-recall curve of the same question",
        from_areas(lambda areas: areas[:, -1, 1]),
        intervals.of_average_precision(confusion.knees_with_grade2),
        difference_intervals.of_average_precision_difference(confusion.knees_with_grade2),
    ),
    Metric(
        "brier",
        "Brier score, 0 to 2",
        PROBABILITIES,
        False,
        "squared error of the five probabilities, summed",
        MeanOf(reliability.brier),
        intervals.on_logarithms(2.0),
    ),
    Metric(
        "log_loss",
        "log loss",
        PROBABILITIES,
        False,
        "surprise at the true grade, in nats",
        MeanOf(reliability.log_loss),
        intervals.on_logarithms(reliability.LARGEST_LOG_LOSS),
    ),
    Metric(
        "overconfidence",
        "overconfidence",
        PROBABILITIES,
        False,
        "mean largest probability minus how often that grade is right; below 0: too modest",
        from_bins(lambda bins: 0.0 - reliability.gaps(bins).sum(axis=-1)),
        intervals.of_overconfidence,
    ),
    Metric(
        "ece",
        "calibration error",
        PROBABILITIES,
        False,
        "mean gap between the largest probability and how often that grade is right (ECE, 15"
        " equal bins)",
        from_bins(reliability.ece),
        intervals.of_calibration_error,
        difference_intervals.of_calibration_error_difference,
    ),
]
"""Of all knees together, in the order in which people read them, group by group."""

GRADE_METRICS = [
    Metric(
        "precision",
        "precision",
        AGREEMENT,
        True,
        "share of the knees given this grade that have it",
        from_confusion(confusion.precision),
        intervals.of_share(confusion.precision_counts, "given grade"),
    ),
    Metric(
        "recall",
        "recall",
        AGREEMENT,
        True,
        "share of the knees with this grade that were given it",
        from_confusion(confusion.recall),
        intervals.of_share(confusion.recall_counts, "of grade"),
    ),
    Metric(
        "f1",
        "F1",
        AGREEMENT,
        True,
        "harmonic mean of precision and recall",
        from_confusion(confusion.f1),
        intervals.of_share(confusion.overlap_counts, "of or given grade", confusion.f1_of_overlap),
    ),
    Metric(
        "auc",
        "AUC",
        PROBABILITIES,
        True,
        "area under the ROC curve of this grade against all others",
        from_areas(lambda areas: areas[:, :-1, 0]),
        intervals.of_auc(confusion.support),
    ),
    Metric(
        "average_precision",
        "average precision",
        PROBABILITIES,
        True,
        "area under the precision-recall curve of this grade against all others",
        from_areas(lambda areas: areas[:, :-1, 1]),
        intervals.of_average_precision(confusion.support),
    ),
]
"""Of each grade."""


def register(metric: Metric, *, per_grade: bool = False) -> None:
    """Add a metric to those that are computed and shown, as the last of its group.

    Args:
        metric: with a key that no other metric has.
        per_grade: its source gives (R, 5), a column a grade.

    Raises:
        InvalidPredictions: the key is taken, or the group unknown.
    """
    if metric.key in {known.key for known in (*METRICS, *GRADE_METRICS)}:
        raise InvalidPredictions(
            f"metric {metric.key}", "this key is taken", "Give the metric another key"
        )
    if metric.group not in GROUPS:
        raise InvalidPredictions(
            f"metric {metric.key}", f"unknown group {metric.group}", f"Use {', '.join(GROUPS)}"
        )
    metrics = GRADE_METRICS if per_grade else METRICS
    rank = GROUPS.index(metric.group)
    place = sum(GROUPS.index(known.group) <= rank for known in metrics)
    metrics.insert(place, metric)


def losses() -> list[Loss]:
    """The losses whose means the metrics need, each once."""
    sources = [metric.source for metric in (*METRICS, *GRADE_METRICS)]
    return list(dict.fromkeys(it.loss for it in sources if isinstance(it, MeanOf)))


def values(tallies: Tallies) -> dict[str, Float64Array]:
    """Every metric that the tallies allow, by its key: (R,), or (R, 5) of each grade."""
    computed = {metric.key: metric.source(tallies) for metric in (*METRICS, *GRADE_METRICS)}
    return {key: numbers for key, numbers in computed.items() if numbers is not None}
