"""What follows from local grades, in words."""

from __future__ import annotations

from kellgren.evaluation.catalogue import METRICS, Metric
from kellgren.evaluation.comparison import Difference
from kellgren.local_calibration.estimate import FEW_KNEES, PARTS, LocalEstimate
from kellgren.local_calibration.learning_curve import LearningCurve
from kellgren.local_calibration.local_fit import LocalFit
from kellgren.local_calibration.order import WEAK_ORDER

SHOWN = ("accuracy", "one_off", "qwk", "mae", "macro_f1", "auc_grade2", "log_loss", "ece")
"""Metrics of a comparison before and after, by their keys."""


def verdict_words(fit: LocalFit) -> str:
    """What follows from the local grades, in one or two sentences."""
    order = f"their rank correlation with the model is {fit.order:.2f}"
    if fit.verdict == "noise":
        return (
            f"The labels do not follow the model's order: {order}, as chance gives."
            " Nothing is changed. Check that each label stands beside its own picture."
        )
    if fit.verdict == "no change shown":
        return (
            f"The labels show no need of a change ({order}): they are about as likely without any."
            " Nothing is changed."
        )
    return (
        f"The local grades ask for other thresholds ({order}): {threshold_words(fit)}. Temperature "
        f"{fit.shift.temperature:.2f}, pull of the mean log-odds {fit.shift.pull:+.2f}."
    )


def threshold_words(fit: LocalFit) -> str:
    """Each threshold's shift in words, such as ``0/1 +1.85``."""
    shifts = (f"{k}/{k + 1} {shift:+.2f}" for k, shift in enumerate(fit.shift.shifts))
    return (
        f"shifted by {', '.join(shifts)} in log-odds (plus: the higher of the two grades becomes "
        "rarer, minus: more frequent)"
    )


def shown_changes(made: LocalEstimate) -> list[tuple[Metric, Difference]]:
    """The metrics that are shown, in the catalogue's order, each after against before."""
    compared = made.comparison.metrics
    return [(it, compared[it.key]) for it in METRICS if it.key in SHOWN and it.key in compared]


def growth_words(curve: LearningCurve) -> str:
    """What 50 more knees would bring, as far as the curve tells."""
    if curve.gain_of_more is None:
        return "Too few knees to tell what more would bring."
    return f"By this curve, 50 more knees would change accuracy by {curve.gain_of_more:+.3f}."


def warnings_of(made: LocalEstimate) -> list[str]:
    """What those who calibrate should know of their labels."""
    warnings = []
    if len(made.truth) < FEW_KNEES:
        warnings.append(f"only {len(made.truth)} knees: {FEW_KNEES} or more make a surer fit")
    if made.fit.verdict != "noise" and made.fit.order < WEAK_ORDER:
        warnings.append(
            f"the labels follow the model's order weakly (rank correlation {made.fit.order:.2f}): "
            "some may stand beside the wrong picture"
        )
    missing = made.scores_before.without_knees
    if missing:
        named = ", ".join(str(int(grade)) for grade in missing)
        warnings.append(f"no local knee has grade {named}: what it becomes is guessed")
    if made.fit.verdict == "calibrated" and made.unchanged_parts:
        warnings.append(
            f"without {made.unchanged_parts} of {PARTS} parts of the patients the others show no "
            "need of a change: it rests on few knees"
        )
    if made.fit.verdict == "calibrated":
        warnings += [f"{name} is lower after it, by the estimate" for name in _falling(made)]
    return warnings


def _falling(made: LocalEstimate) -> list[str]:
    """Names of the agreements with the readers that are lower after the calibration."""
    return [
        metric.name
        for metric, it in shown_changes(made)
        if metric.key in ("accuracy", "one_off", "qwk") and it.difference.value < 0
    ]
