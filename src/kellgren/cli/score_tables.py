"""Scores as tables for the terminal, within 80 columns and legible without colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from kellgren.evaluation.bootstrap import Estimate
from kellgren.evaluation.catalogue import GRADE_METRICS, METRICS, PROBABILITIES, Metric
from kellgren.evaluation.comparison import Comparison
from kellgren.evaluation.matched import Coverage, spaced
from kellgren.evaluation.scores import GradeScore, Scores
from kellgren.evaluation.selective import Selective
from kellgren.grades import Grade

# Share of a row from which a cell is shaded, with its background; light to strong, so that black
# or white text stays readable. Agreement is blue, error orange: told apart in any colour vision.
_AGREEMENT = ((0.60, "#0b4f8a"), (0.40, "#2f6fa6"), (0.20, "#86b6dc"), (0.05, "#cfe1f2"))
_ERROR = ((0.60, "#8c3b06"), (0.40, "#b45310"), (0.20, "#f0a468"), (0.05, "#fadfc8"))
_WHITE_TEXT_FROM = 0.40

_NO_INTERVAL = "none"  # instead of an interval; why stands below the tables


def render(
    scores: Scores,
    coverage: Coverage | None = None,
    comparison: Comparison | None = None,
    selective: Selective | None = None,
) -> Group:
    """Headline metrics, one line per grade and the confusion matrix.

    Args:
        scores: of a table.
        coverage: how many labelled knees were scored; shown first when given.
        comparison: with another grader; shown after the scores when given.
        selective: what naming some of the grades only is worth; shown with the scores when given.
    """
    parts: list[RenderableType] = []
    if coverage is not None:
        parts.append(
            Text(str(coverage), style="bold" if coverage.scored < coverage.labelled else "")
        )
    parts += [_headline(scores), _confusion(scores), _grades(scores)]
    if scores.auc_grade2 is not None:
        parts.append(_findings(scores))
    if selective is not None:
        parts.append(Text(_named(selective)))
    parts.append(_footnote(scores))
    if comparison is not None:
        parts += [_comparison(comparison), _outcomes(comparison)]
    return Group(*parts)


def _named(selective: Selective) -> str:
    """Of knees without a named grade, and the area under the risk-coverage curve."""
    lines = []
    if selective.unnamed:
        lines = [
            f"\n{spaced(selective.unnamed)} of {spaced(selective.knees)} knees without a named "
            "grade: all scores above are of the most probable one.",
            f"right, of those named      {selective.right_named}",
            f"right, of the others       {selective.right_unnamed}",
            f"named over all             {selective.gain}",
        ]
    if selective.area is not None:
        lines.append(
            f"{'' if lines else chr(10)}area under risk-coverage   {selective.area}; the surest"
            " knees first, smaller is better"
        )
    return "\n".join(lines)


def _headline(scores: Scores) -> Table:
    table = _table(f"{spaced(scores.knees)} knees of {spaced(scores.patients)} patients", "metric")
    table.add_column("value", justify="right")
    table.add_column("95% interval")
    group = METRICS[0].group
    for metric in METRICS:
        estimate = scores.metrics[metric.key]
        if estimate is None:
            continue
        if metric.group != group:
            table.add_section()
            group = metric.group
        value = Text(_number(estimate.value), style="bold")
        table.add_row(scores.name_of(metric), value, _interval(estimate, " to "))
    return table


def _grades(scores: Scores) -> Table:
    table = _table("By grade, with 95% intervals", "grade")
    table.add_column("knees", justify="right")
    shown = [metric for metric in GRADE_METRICS if metric.group != PROBABILITIES]
    for metric in shown:
        table.add_column(metric.name)
    for row in scores.per_grade:
        table.add_row(_name(row.grade), spaced(row.support), *_cells(row, shown))
    return table


def _findings(scores: Scores) -> Table:
    table = _table("Each grade against all others", "grade")
    shown = [metric for metric in GRADE_METRICS if metric.group == PROBABILITIES]
    for metric in shown:
        table.add_column(metric.name)
    for row in scores.per_grade:
        table.add_row(_name(row.grade), *_cells(row, shown))
    return table


def _cells(row: GradeScore, metrics: Sequence[Metric]) -> list[Text]:
    estimates = [row.metrics[metric.key] for metric in metrics]
    return [_compact(estimate) for estimate in estimates if estimate is not None]


def _comparison(comparison: Comparison) -> Table:
    knees, patients = spaced(comparison.knees), spaced(comparison.patients)
    title = f"Against the other grader, on the {knees} knees of {patients} patients both graded"
    table = _table(title, "metric")
    for name in ("this", "other", "difference"):
        table.add_column(name, justify="right")
    table.add_column("95% interval")
    table.add_column("p", justify="right")
    for metric in METRICS:
        compared = comparison.metrics.get(metric.key)
        if compared is not None:
            table.add_row(
                metric.name.split(",")[0],
                _number(compared.this),
                _number(compared.other),
                Text(_signed(compared.difference.value), style="bold"),
                _signed_interval(compared.difference),
                "<0.001" if compared.p_value < 0.001 else _number(compared.p_value),
            )
    return table


def _outcomes(comparison: Comparison) -> Text:
    both, this, other, neither = map(spaced, comparison.outcomes)
    alone = map(spaced, (comparison.only_this, comparison.only_other))
    return Text(
        "\nLeft out: {} graded by this alone, {} by the other alone.".format(*alone)
        + f"\nRight: both {both}, only this {this}, only the other {other}, neither {neither}."
        f"\np: {spaced(comparison.permutations)} permutations that swap the two predictions of a"
        f" patient,\ntwo-sided, seed {comparison.seed}. Not corrected for the number of metrics."
        f"{_no_interval(comparison.without_interval)}",
        style="dim",
    )


def _confusion(scores: Scores) -> Table:
    table = _table("Knees by true grade (row) and predicted grade (column)", "true grade")
    for grade in Grade:
        table.add_column(str(int(grade)), justify="right")
    width = max(4, len(str(max(map(max, scores.confusion)))))
    for grade, row in zip(Grade, scores.confusion, strict=True):
        cells = [
            _cell(knees, sum(row), agreement=grade is column, width=width)
            for column, knees in zip(Grade, row, strict=True)
        ]
        table.add_row(_name(grade), *cells)
    return table


def _cell(knees: int, total: int, agreement: bool, width: int) -> Text:
    """Knees and their share of the row; brackets mark the diagonal where colour cannot."""
    if knees == 0 and not agreement:
        return Text(".", style="dim")
    share = knees / total if total else 0.0
    percent = f"{share:.0%}" if total else "-"
    left, right = "[]" if agreement else "  "
    return Text(f"{left}{knees:>{width}} {percent:>4}{right}", style=_shade(share, agreement))


def _shade(share: float, agreement: bool) -> Style:
    for threshold, background in _AGREEMENT if agreement else _ERROR:
        if share >= threshold:
            ink = "#ffffff" if threshold >= _WHITE_TEXT_FROM else "#000000"
            return Style(color=ink, bgcolor=background, bold=agreement)
    return Style(bold=agreement)


def _footnote(scores: Scores) -> Text:
    text = (
        f"\nIntervals: 95 % by {spaced(scores.resamples)} resamples of patients,"
        f" seed {scores.seed}."
    )
    if scores.absence:
        text = f"\n{scores.absence}{text}"
    if scores.ece is not None:
        text += "\nCalibration error (ECE): largest probability, 15 equal bins."
    return Text(text + _no_interval(scores.without_interval), style="dim")


def _no_interval(reasons: Sequence[str]) -> str:
    """The line that says why there is no interval; empty without one."""
    if not reasons:
        return ""
    return f"\nInterval {_NO_INTERVAL}: {'; '.join(reasons)}."


def _table(title: str, first_column: str) -> Table:
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
        header_style="dim",
    )
    table.add_column(first_column, no_wrap=True)
    return table


def _name(grade: Grade) -> str:
    return f"{int(grade)} {grade.label}"


def _compact(estimate: Estimate) -> Text:
    value = Text(_number(estimate.value), style="bold")
    return value.append(f" {_interval(estimate, '-')}", style="not bold dim")


def _interval(estimate: Estimate, between: str) -> str:
    if math.isnan(estimate.low):
        return _NO_INTERVAL if estimate.reason else ""
    return f"{estimate.low:.3f}{between}{estimate.high:.3f}"


def _signed_interval(estimate: Estimate) -> str:
    if math.isnan(estimate.low):
        return _NO_INTERVAL if estimate.reason else ""
    return f"{_signed(estimate.low)} to {_signed(estimate.high)}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.3f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
