"""The headline metrics: their keys, names and groups, in the order in which people read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One headline metric.

    Attributes:
        key: in the JSON, and of the attribute of `Scores`.
        name: for people.
        group: under which it is shown.
        higher_is_better: whether agreement raises it.
        meaning: one sentence for a report.
    """

    key: str
    name: str
    group: str
    higher_is_better: bool
    meaning: str


AGREEMENT, ERROR, PROBABILITIES = "agreement", "error", "probabilities"

METRICS = (
    Metric("accuracy", "accuracy", AGREEMENT, True, "share of knees given exactly their grade"),
    Metric("one_off", "within one grade", AGREEMENT, True, "share at most one grade off"),
    Metric(
        "balanced_accuracy", "balanced accuracy", AGREEMENT, True, "mean recall of the five grades"
    ),
    Metric("macro_f1", "macro-F1", AGREEMENT, True, "mean F1 of the five grades, rare ones alike"),
    Metric("weighted_f1", "weighted F1", AGREEMENT, True, "mean F1, common grades counting more"),
    Metric(
        "qwk",
        "quadratic weighted kappa",
        AGREEMENT,
        True,
        "agreement beyond chance; an error of two grades counts four times one of one",
    ),
    Metric("mae", "mean absolute error, grades", ERROR, False, "how many grades off, on average"),
    Metric("mse", "mean squared error", ERROR, False, "the same, large errors weigh more"),
    Metric(
        "auc_grade2",
        "AUC for grade 2 or higher",
        PROBABILITIES,
        True,
        "how well knees with and without radiographic osteoarthritis are told apart",
    ),
    Metric(
        "average_precision_grade2",
        "average precision for it",
        PROBABILITIES,
        True,
        "area under the precision-recall curve of the same question",
    ),
    Metric(
        "brier",
        "Brier score, 0 to 2",
        PROBABILITIES,
        False,
        "squared error of the five probabilities, summed",
    ),
    Metric("log_loss", "log loss", PROBABILITIES, False, "surprise at the true grade, in nats"),
    Metric(
        "overconfidence",
        "overconfidence",
        PROBABILITIES,
        False,
        "mean largest probability minus how often that grade is right; below 0: too modest",
    ),
    Metric(
        "ece",
        "calibration error",
        PROBABILITIES,
        False,
        "mean gap between the largest probability and how often that grade is right (ECE, 15"
        " equal bins)",
    ),
)
