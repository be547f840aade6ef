"""The page of a local calibration: before and after on other patients' knees, and what more bring.

Needs matplotlib, as all pages with plots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from kellgren.evaluation import Scores
from kellgren.evaluation_report import html_tables, plots
from kellgren.evaluation_report.page import document, section
from kellgren.grading.grade_sets import GradeSets
from kellgren.local_calibration.estimate import LocalEstimate
from kellgren.local_calibration.learning_curve import LearningCurve
from kellgren.local_calibration.verdict import (
    growth_words,
    shown_changes,
    verdict_words,
    warnings_of,
)


def html_page(
    name: str, made: LocalEstimate, curve: LearningCurve, sets: GradeSets | None = None
) -> str:
    """The report as the text of one HTML file without scripts, links or requests.

    Args:
        name: of the local data.
        made: the fit, and what it is worth.
        curve: by number of knees.
        sets: fitted to the local knees; ``None`` where nothing is changed.
    """
    lead = (
        f"{len(made.truth)} knees of {len(set(made.patients))} patients. Each knee is judged by a "
        "calibration that was fitted without its part of the patients; intervals are 95 %, over "
        "patients."
    )
    parts = [
        section("Before and after", _comparison(made), _found(made)),
        section(
            "Grades and local labels",
            f"<h3>As delivered</h3>{html_tables.confusion(made.scores_before)}",
            f"<h3>Calibrated</h3>{html_tables.confusion(made.scores_after)}",
            lead="Rows: local grade; columns: the model's; percent of the row.",
        ),
        section(
            "Does the certainty hold?",
            reliability(made.scores_before, made.scores_after),
            "" if sets is None else _sets(sets),
            lead="On the dashed line, grades given with probability p are right in p of the knees.",
        ),
        section("What more knees would bring", growth(curve), _growth_table(curve)),
    ]
    return document(
        f"Calibration to {name}",
        lead,
        f"<p class=lead>{escape(verdict_words(made.fit))}</p>"
        + "".join(f"<p>Warning: {escape(warning)}.</p>" for warning in warnings_of(made)),
        parts,
    )


def _comparison(made: LocalEstimate) -> str:
    rows = []
    for metric, it in shown_changes(made):
        change = it.difference
        between = (
            ""
            if math.isnan(change.low)
            else f"{html_tables.signed(change.low)} to {html_tables.signed(change.high)}"
        )
        values = [html_tables.number(it.other), f"<b>{html_tables.number(it.this)}</b>"]
        values += [html_tables.signed(change.value), between]
        rows.append([escape(metric.name), *values])
    header = ["metric", "as delivered", "calibrated", "difference", "95 % interval"]
    return html_tables.table(header, rows, "versus")


def _found(made: LocalEstimate) -> str:
    rows = [
        ["verdict", made.fit.verdict],
        ["rank correlation of labels and model", f"{made.fit.order:.3f}"],
        ["log evidence for a change", f"{made.fit.evidence:.1f}"],
        ["temperature", f"{made.fit.shift.temperature:.3f}"],
        ["pull of the mean log-odds", f"{made.fit.shift.pull:+.3f}"],
        *(
            [f"threshold {k}/{k + 1} shifted by", f"{shift:+.3f}"]
            for k, shift in enumerate(made.fit.shift.shifts)
        ),
        ["parts of the patients whose others showed no change", str(made.unchanged_parts)],
    ]
    return html_tables.table(["fitted on all knees", ""], rows, "few")


def _sets(sets: GradeSets) -> str:
    rows = [
        [
            f"{one.level:.0%}",
            f"{one.measured.coverage:.3f}",
            *("-" if it is None else f"{it:.2f}" for it in one.measured.per_grade),
            f"{one.measured.mean_size:.2f}",
        ]
        for one in sets.levels
    ]
    head = ["level", "all", *map(str, range(5)), "mean size"]
    return (
        "<h3>Grade sets: share that holds the label, of all and by local grade</h3>"
        + html_tables.table(head, rows, "counts")
    )


def _growth_table(curve: LearningCurve) -> str:
    rows = [
        [
            f"{point.knees:.0f}",
            f"{point.accuracy:.3f}",
            f"{point.low:.3f} to {point.high:.3f}",
            f"{point.log_loss:.3f}",
        ]
        for point in curve.points
    ]
    table = html_tables.table(["knees", "accuracy", "95 % of draws", "log loss"], rows, "counts")
    return f"{table}<p>{escape(growth_words(curve))}</p>"


def reliability(before: Scores, after: Scores) -> str:
    """How often the most probable grade is right by its probability, before and after."""
    with plots.drawing("Reliability before and after", 3.9) as drawn:
        axis = drawn.figure.subplots()
        axis.plot([0, 1], [0, 1], "--", color=plots.QUIET, linewidth=0.9)
        for scores, colour, name in (
            (before, plots.GRADES[3], "as delivered"),
            (after, plots.ACCENT, "calibrated"),
        ):
            _points(axis, scores, colour, name)
        axis.set(xlim=(0, 1), ylim=(0, 1.03))
        axis.set(xlabel="largest probability", ylabel="how often it was right")
        axis.grid()
        axis.legend(loc="upper left", fontsize=8)
    return drawn.svg


def _points(axis: Any, scores: Scores, colour: str, name: str) -> None:
    filled = [it for it in scores.reliability if it.knees]
    most = max((it.knees for it in filled), default=1)
    for it in filled:
        if not math.isnan(it.accuracy.low):
            ends = [it.accuracy.low, it.accuracy.high]
            axis.plot([it.confidence] * 2, ends, color=colour, alpha=0.4, linewidth=1.6)
        size = 3 + 5 * math.sqrt(it.knees / most)  # few knees are weak evidence
        axis.plot(it.confidence, it.accuracy.value, "o", color=colour, markersize=size)
    axis.plot([], [], "o", color=colour, label=name)


def growth(curve: LearningCurve) -> str:
    """Accuracy on other patients' knees by the number of knees that were fitted to."""
    with plots.drawing("Accuracy by number of local knees", 3.4) as drawn:
        axis = drawn.figure.subplots()
        knees: Sequence[float] = [point.knees for point in curve.points]
        for point in curve.points:
            axis.plot([point.knees] * 2, [point.low, point.high], color=plots.ACCENT, alpha=0.4)
        accuracies = [point.accuracy for point in curve.points]
        axis.plot(knees, accuracies, "o-", color=plots.ACCENT, markersize=4, linewidth=1.2)
        axis.axhline(curve.points[0].accuracy, color=plots.QUIET, linewidth=0.8, linestyle="--")
        axis.set_xticks(knees)
        axis.set(xlabel="local knees fitted to", ylabel="accuracy on the others")
        axis.grid(axis="y")
    return drawn.svg
