"""The page itself: its sections in the order in which a reader asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path

from kellgren.evaluation import BandScore, Comparison, Coverage, Scores, Selective
from kellgren.evaluation.bootstrap import reasons
from kellgren.evaluation.draws import LEAST_KNEES
from kellgren.evaluation.knees import GradedKnees
from kellgren.evaluation.matched import spaced
from kellgren.evaluation.ranking import curves
from kellgren.evaluation_report import html_tables, plots
from kellgren.evaluation_report.map_test import MapTest
from kellgren.evaluation_report.worst import Case, graded_by_another
from kellgren.grades import NOTICE

# The page can load nothing and run nothing, whatever the names in it contain.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What the page shows.

    Attributes:
        name: of the table of predictions.
        scores: of its knees.
        coverage: how many of the labelled knees were scored.
        knees: the same knees as arrays, for the curves.
        words: accuracy by the word for certainty; empty without probabilities.
        selective: what naming some of the grades only is worth.
        cases: the worst knees.
        model: what drew the maps of the worst knees.
        map_test: whether its maps matter to its grades, on some of the knees.
        comparison: with another table, if one was given.
        other: that table's name.
    """

    name: str
    scores: Scores
    coverage: Coverage
    knees: GradedKnees
    words: Sequence[BandScore]
    cases: Sequence[Case]
    model: str
    selective: Selective | None = None
    map_test: MapTest | None = None
    comparison: Comparison | None = None
    other: str = ""


def html_page(report: Report) -> str:
    """The report as the text of one HTML file without scripts, links or requests."""
    parts = [
        _headline(report),
        _confusion(report),
        _probabilities(report),
        _named(report),
        _comparison(report),
        _worst(report),
        _maps(report),
        _method(report),
    ]
    return document(
        f"Evaluation of {report.name}",
        f"{report.coverage}.",
        html_tables.tiles(report.scores),
        parts,
    )


def document(title: str, lead: str, head: str, parts: Sequence[str]) -> str:
    """The text of one HTML file that loads and runs nothing.

    Args:
        title: of the page, as text.
        lead: below it, as text.
        head: HTML below that, such as tiles.
        parts: sections, as HTML.
    """
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        '<meta name=color-scheme content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f"<header><p class=notice>{NOTICE}</p><h1>{escape(title)}</h1>"
        f"<p class=lead>{escape(lead)}</p>{head}</header>"
        f"<main>{''.join(parts)}</main>"
        f"<footer>{NOTICE} Written by kellgren {escape(version('kellgren'))}.</footer>"
        "</body></html>\n"
    )


def section(title: str, *columns: str, lead: str = "") -> str:
    """A heading, a sentence, and columns that stand below each other on a narrow screen."""
    words = f"<p class=lead>{lead}</p>" if lead else ""
    inner = "".join(f"<div>{column}</div>" for column in columns)
    return f"<section><h2>{escape(title)}</h2>{words}<div class=columns>{inner}</div></section>"


def _headline(report: Report) -> str:
    scores = report.scores
    lead = (
        f"{spaced(scores.knees)} knees of {spaced(scores.patients)} patients, each metric with its"
        " 95 % interval over patients."
    )
    beside = (
        f"{plots.forest(scores)}<h3>Which knees these numbers describe</h3>"
        f"{html_tables.coverage(report.coverage)}"
    )
    if scores.absence:
        lead += f" {scores.absence}"
    metrics = html_tables.headline(scores)
    metrics += html_tables.no_interval(reasons(scores.metrics.values()))
    return section("Headline metrics", metrics, beside, lead=lead)


def _confusion(report: Report) -> str:
    scores = report.scores
    return section(
        "Where grades and labels part",
        html_tables.confusion(scores),
        plots.error_bars(scores),
        lead="Rows: true grade; columns: predicted grade; percent of the row.",
    ) + section(
        "Grade by grade",
        html_tables.per_grade(scores)
        + html_tables.no_interval(
            reasons(it for row in scores.per_grade for it in row.metrics.values())
        ),
    )


def _probabilities(report: Report) -> str:
    scores, knees = report.scores, report.knees
    if scores.ece is None or scores.overconfidence is None:
        return section(
            "Probabilities", lead="The table has no p0 to p4: certainty cannot be judged."
        )
    finding_curves = [curves(*pair) for pair in knees.findings()]
    aucs = [row.auc for row in scores.per_grade] + [scores.auc_grade2]
    precisions = [row.average_precision for row in scores.per_grade]
    precisions.append(scores.average_precision_grade2)
    lead = (
        f"Calibration error {scores.ece.value:.3f}, overconfidence"
        f" {scores.overconfidence.value:+.3f} (95 % interval"
        f" {html_tables.interval(scores.overconfidence, html_tables.signed)})."
        " On the dashed line, grades given with probability p are right in p of the knees."
    )
    if any(it.accuracy.reason for it in scores.reliability):
        lead += " A point without a bar: too few knees, or too few right or wrong, for an interval."
    return section(
        "Does the certainty hold?",
        plots.reliability(scores),
        html_tables.words(report.words),
        lead=lead,
    ) + section(
        "Telling grades apart",
        plots.roc(finding_curves, [html_tables.number(it.value) if it else "" for it in aucs]),
        plots.precision_recall(
            finding_curves, [html_tables.number(i.value) if i else "" for i in precisions]
        ),
        lead="Each grade against all others by its probability; thick: grade 2 or higher.",
    )


def _named(report: Report) -> str:
    it = report.selective
    if it is None or it.area is None:
        return ""
    named = (
        f"{spaced(it.unnamed)} of {spaced(it.knees)} knees have no named grade; every other section"
        " scores their most probable one. "
        if it.unnamed
        else "Every grade is named. "
    )
    lead = (
        f"{named}The curve orders knees from the surest to the least sure: of each share that is"
        f" kept, how many grades are wrong. Area {it.area.value:.3f}"
        f" (95 % interval {html_tables.interval(it.area)})."
    )
    return section(
        "What is gained where no grade is named",
        plots.risk_coverage(it),
        html_tables.named(it),
        lead=lead,
    )


def _comparison(report: Report) -> str:
    comparison = report.comparison
    if comparison is None:
        return ""
    lead = (
        f"On the {spaced(comparison.knees)} knees of {spaced(comparison.patients)} patients that"
        " both graded"
        f" ({spaced(comparison.only_this)} only by {escape(report.name)},"
        f" {spaced(comparison.only_other)} only by {escape(report.other)}). Intervals are of paired"
        f" differences; p from {spaced(comparison.permutations)} permutations that swap the two"
        " predictions of a patient, two-sided, not corrected for the number of metrics."
    )
    return section(
        f"Against {report.other}",
        html_tables.comparison(comparison) + html_tables.no_interval(comparison.without_interval),
        plots.differences(comparison) + html_tables.outcomes(comparison),
        lead=lead,
    )


def _worst(report: Report) -> str:
    if not report.cases:
        return ""
    lead = (
        "The largest errors first, then the surest. The label may be wrong too: look. Colour: the"
        f" evidence for the grade that {escape(report.model)} gives the knee now."
        f" {graded_by_another(report.cases)}"
    )
    return section("Worst cases", html_tables.cards(report.cases), lead=lead)


def _maps(report: Report) -> str:
    maps = report.map_test
    if maps is None:
        return ""
    bounds = f"95 % interval {html_tables.interval(maps.gain, html_tables.signed)}"
    if maps.gain.reason:
        bounds = f"no interval: {maps.gain.reason}"
    lead = (
        f"{len(maps.knees)} of the knees, some of each predicted grade, blurred away from where"
        f" {escape(report.model)} saw most evidence (deletion), and brought back in the same order"
        " (insertion), against a random map. The map is better than the random one on"
        f" {maps.better} of {len(maps.knees)}; gain {maps.gain.value:+.3f}"
        f" ({escape(bounds)}). Without evidence a knee looks"
        " like grade 0: for that grade only insertion tells."
    )
    return section(
        "Do the maps matter to the grades?",
        plots.faithfulness(maps),
        html_tables.maps(maps),
        lead=lead,
    )


def _method(report: Report) -> str:
    scores = report.scores
    lines = [
        f"Intervals: by {spaced(scores.resamples)} resamples of patients, both knees of a patient"
        f" together, seed {scores.seed}. Shares: Beta intervals at the number of independent knees"
        " that the resamples amount to; everything else: Student's, on a scale that suits it.",
        "Ratios with a denominator of 0 are undefined; means over grades leave them out.",
        f"An interval is shown where it holds the truth in 93 to 97 % of studies like these, not of"
        f" fewer than {LEAST_KNEES} knees.",
        "Calibration error: knees in 15 bins of equal width by their largest probability. A"
        " sample's error is too large by chance: what chance alone makes of it stands beside it.",
        "The most honest numbers are those of knees that no choice was made on.",
    ]
    items = "".join(f"<li>{line}</li>" for line in lines)
    return section("How these numbers were made", f"<ul>{items}</ul>")
