"""Tables and cards of the page as HTML; every word from outside is escaped here."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from kellgren.evaluation import BandScore, Comparison, Coverage, Estimate, Scores, Selective
from kellgren.evaluation.catalogue import GRADE_METRICS, METRICS
from kellgren.evaluation.matched import spaced
from kellgren.evaluation_report.map_test import MapTest
from kellgren.evaluation_report.worst import Case
from kellgren.grades import Grade

NO_INTERVAL = "\N{EN DASH}"
"""Shown instead of an interval; why stands below the table."""

MAP_CURVES = ("deletion", "random_deletion", "insertion", "random_insertion")


def number(value: float, digits: int = 3) -> str:
    """As text; a dash for what is undefined."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def interval(estimate: Estimate, shown: Callable[[float], str] = number) -> str:
    """Its bounds as text; a dash where there are none for a reason, empty where undefined."""
    if math.isnan(estimate.low):
        return NO_INTERVAL if estimate.reason else ""
    return f"{shown(estimate.low)} to {shown(estimate.high)}"


def no_interval(reasons: Sequence[str]) -> str:
    """The line that says what the dash instead of an interval stands for; empty without one."""
    if not reasons:
        return ""
    why = escape("; ".join(reasons))
    return f"<p class=quiet>{NO_INTERVAL} no interval: {why}.</p>"


def tiles(scores: Scores) -> str:
    """The four numbers that people ask for first."""
    shown = ("accuracy", "qwk", "macro_f1", "mae")
    cards = []
    for metric in (m for key in shown for m in METRICS if m.key == key):
        it: Estimate = getattr(scores, metric.key)
        name = escape(scores.name_of(metric))
        cards.append(
            f"<div class=tile><span>{name}</span><b>{number(it.value)}</b>"
            f"<small>{interval(it)}</small></div>"
        )
    return f"<div class=tiles>{''.join(cards)}</div>"


def headline(scores: Scores) -> str:
    """Every headline metric with its interval and its meaning."""
    rows = []
    for metric in METRICS:
        it = scores.metrics[metric.key]
        if it is not None:
            name = f"{escape(scores.name_of(metric))}<small>{escape(metric.meaning)}</small>"
            rows.append([name, f"<b>{number(it.value)}</b>", interval(it)])
    return table(["metric", "value", "95 % interval"], rows, "headline")


def maps(test: MapTest) -> str:
    """Areas under the deletion and insertion curves, knee by knee."""
    rows = [
        [
            str(knee.grade),
            *(number(knee.area(getattr(knee, curve)), 2) for curve in MAP_CURVES),
            f"<b>{knee.gain:+.2f}</b>",
        ]
        for knee in test.knees
    ]
    means = [number(test.area(curve), 2) for curve in MAP_CURVES]
    rows.append(["mean", *means, f"<b>{test.gain.value:+.2f}</b>"])
    heads = ["grade", "deletion", "random", "insertion", "random", "gain"]
    return table(heads, rows, "counts")


def confusion(scores: Scores) -> str:
    """Knees and their share of the row, by true and predicted grade."""
    rows = []
    for grade, counts in zip(Grade, scores.confusion, strict=True):
        total = sum(counts)
        cells = [_name(grade)]
        for column, knees in enumerate(counts):
            share = knees / total if total else 0.0
            kind = "right" if column == grade else "wrong"
            percent = f"{share:.0%}" if total else "-"
            cells.append(
                f"<div class={kind} style='--share:{share:.3f}'>{spaced(knees)}"
                f"<small>{percent}</small></div>"
            )
        rows.append([*cells, spaced(total)])
    header = ["true grade", *(f"{int(grade)}" for grade in Grade), "knees"]
    return table(header, rows, "confusion")


def per_grade(scores: Scores) -> str:
    """One row a grade."""
    known = [it for it in GRADE_METRICS if scores.per_grade[0].metrics[it.key] is not None]
    rows = [
        [
            _name(row.grade),
            spaced(row.support),
            *(stacked(estimate) for it in known if (estimate := row.metrics[it.key]) is not None),
        ]
        for row in scores.per_grade
    ]
    return table(["grade", "knees", *(it.name for it in known)], rows, "grades")


def words(bands: Sequence[BandScore]) -> str:
    """How often the grade is right by the word for its certainty."""
    rows = [[escape(band.word), spaced(band.knees), stacked(band.accuracy)] for band in bands]
    return table(["certainty", "knees", "accuracy"], rows, "words")


def named(it: Selective) -> str:
    """How right the most probable grade is, by whether it is named."""
    rows = [
        ["all", spaced(it.knees), stacked(it.right)],
        ["named", spaced(it.knees - it.unnamed), stacked(it.right_named)],
        ["not named", spaced(it.unnamed), stacked(it.right_unnamed)],
        ["named over all", "", stacked(it.gain)],
    ]
    return table(["grade", "knees", "accuracy"], rows, "words")


def coverage(known: Coverage) -> str:
    """What became of the labelled knees, as a bar and a table."""
    parts = [
        ("scored", known.scored),
        ("refused", known.refused),
        ("without a row", known.missing),
    ]
    bar = "".join(
        f"<i class=part-{place} style='flex-grow:{count}'></i>"
        for place, (_, count) in enumerate(parts)
        if count
    )
    rows = [
        [f"<i class='key part-{place}'></i>{name}", spaced(count), f"{count / known.labelled:.1%}"]
        for place, (name, count) in enumerate(parts)
    ]
    rows.append(["predictions without a label", spaced(known.unlabelled), ""])
    return f"<div class=bar>{bar}</div>{table(['labelled knees', 'knees', 'share'], rows, 'few')}"


def comparison(compared: Comparison) -> str:
    """Both graders' metrics and their differences."""
    rows = []
    for metric in METRICS:
        if metric.key in compared.metrics:
            it = compared.metrics[metric.key]
            difference = f"<b>{signed(it.difference.value)}</b>"
            between = interval(it.difference, signed)
            values = [number(it.this), number(it.other), difference, between, number(it.p_value, 4)]
            rows.append([escape(metric.name), *values])
    header = ["metric", "this", "other", "difference", "95 % interval", "p"]
    return table(header, rows, "versus")


def outcomes(compared: Comparison) -> str:
    """How many knees each of the two graders graded rightly."""
    both, this, other, neither = compared.outcomes
    rows = [
        ["this right", spaced(both), spaced(this)],
        ["this wrong", spaced(other), spaced(neither)],
    ]
    return table(["", "other right", "other wrong"], rows, "few")


def cards(cases: Sequence[Case]) -> str:
    """One card a knee: pictures, both grades, name."""
    return f"<div class=cards>{''.join(map(_card, cases))}</div>"


def _card(case: Case) -> str:
    if case.pictures is None:
        pictures = "<p class=none>no picture</p>"
    else:
        pictures = "".join(
            f"<img alt='{alt}' src='data:image/jpeg;base64,{base64.b64encode(data).decode()}'>"
            for alt, data in zip(("knee", "knee under its map"), case.pictures, strict=True)
        )
    sure = "" if case.confidence is None else f" with p {case.confidence:.2f}"
    return (
        f"<article><div class=pair>{pictures}</div>"
        f"<p><b>label {int(case.truth)} {case.truth.label}</b>, graded"
        f" <b>{int(case.predicted)} {case.predicted.label}</b>{sure}</p>"
        f"<p class=quiet>{escape(case.name)}<br>{escape(case.seen)}</p></article>"
    )


def table(header: Iterable[str], rows: Iterable[Sequence[str]], kind: str) -> str:
    """A table whose first column names the row; cells are HTML already."""
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr><th scope=row>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    return (
        f"<div class=scroll tabindex=0><table class='{kind}'><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def stacked(estimate: Estimate) -> str:
    """Its value, and below it its bounds."""
    return f"{number(estimate.value)}<small>{interval(estimate)}</small>"


def _name(grade: Grade) -> str:
    return f"{int(grade)} {grade.label}"


def signed(value: float) -> str:
    """A difference as text, with its sign."""
    return "-" if math.isnan(value) else f"{value:+.3f}"
