"""The report of both protocols as one HTML page."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape

from kellgren.evaluation import Estimate
from kellgren.evaluation.matched import spaced
from kellgren.evaluation_report.html_tables import number, signed, table
from kellgren.evaluation_report.page import document, section
from kellgren.training.reproduction.networks_table import SHOWN, Estimates
from kellgren.training.reproduction.paper_tables import PaperTables
from kellgren.training.selection.same_knees import RESAMPLES, SEED

MEASURES_IN_WORDS = {
    "paper": "rounded accuracy plus macro-F1, as Pi et al. did",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "qwk": "quadratic weighted kappa",
}
_STYLE = (
    "<style>body{max-width:84rem}.wide svg{max-width:60rem}.wide img{max-width:100%;height:auto}"
    ".both thead th:not(:first-child){white-space:normal;max-width:6.5rem}"
    ".both th:first-child{min-width:13rem}.both th+td{border-left:1px solid var(--line)}"
    ".votes td{text-align:center}.votes thead th:not(:first-child){text-align:center}"
    ".wide{margin-top:1.5rem}.columns>div:has(svg){flex-basis:20rem}"
    ".columns>div:has(.both){flex-basis:100%}</style>"
)


def page(
    tables: PaperTables, figures: Mapping[str, str], maps: bytes | None, maps_words: str
) -> str:
    """The report as the text of one HTML file.

    Args:
        tables: all numbers.
        figures: SVG by name: candidates, protocols, and of each vote its confusion, roc and pr.
        maps: PNG file of the grid of maps; ``None``: there is none.
        maps_words: what the grid shows, or why there is none.
    """
    where = "test knees" if tables.tested else "knees, each graded by networks that held it out"
    lead = (
        f"{spaced(tables.knees)} {where}, of {spaced(tables.patients)} patients. Networks, subset "
        f"and rule are chosen by {MEASURES_IN_WORDS[tables.measure]}."
    )
    parts = [
        _protocols(tables, figures["protocols"]),
        _voters(tables),
        _networks(tables),
        _candidates(tables, figures["candidates"]),
        _votes(tables, figures),
        _maps(maps, maps_words),
        _method(tables),
    ]
    return document("The protocol of Pi et al. and an honest one", lead, _head(tables), parts)


def _head(tables: PaperTables) -> str:
    warned = "".join(f"<p class=notice>{escape(words)}</p>" for words in tables.warnings)
    row = next(row for row in tables.rows if row.what == "best subset and rule")
    tiles = []
    for name, estimates in (
        (_chosen_on(tables), row.theirs),
        ("chosen honestly", row.honest),
        ("optimism", row.optimism),
    ):
        if estimates is not None:
            it = estimates["accuracy"]
            value = signed(it.value) if name == "optimism" else number(it.value)
            tiles.append(
                f"<div class=tile><span>accuracy, {escape(name)}</span><b>{value}</b>"
                f"<small>{_bounds(it, name == 'optimism')}</small></div>"
            )
    return f"{_STYLE}{warned}<div class=tiles>{''.join(tiles)}</div>"


def _chosen_on(tables: PaperTables) -> str:
    return "chosen on the test knees" if tables.tested else "chosen on these knees"


def _protocols(tables: PaperTables, figure: str) -> str:
    header = ["what is scored", f"{_chosen_on(tables)}: accuracy", "macro-F1"]
    header += ["honest: accuracy", "macro-F1", "optimism: accuracy", "macro-F1"]
    header += ["Pi et al.: accuracy", "macro-F1"]
    lead = (
        f"Left, the paper's way: {_chosen_on(tables)}, and so too good. Beside it the honest number"
        " of the same thing, and by how much the first flatters (paired). Where nothing is chosen"
        " both are one. Pi et al.: what they report on 1 656 test knees."
    )
    rows = [
        [
            escape(row.what),
            *_pair(row.theirs),
            *_pair(row.honest),
            *_pair(row.optimism, difference=True),
            *("" if it is None else f"{it:.4f}".rstrip("0") for it in row.reported or (None, None)),
        ]
        for row in tables.rows
    ]
    return section(
        "Both protocols",
        table(header, rows, "both") + f"<div class=wide>{figure}</div>",
        lead=escape(lead),
    )


def _voters(tables: PaperTables) -> str:
    """Which network of each backbone is picked, and who is in which best subset."""
    best = [row for row in tables.rows if row.what.startswith("best subset")]
    short = [row.what.removeprefix("best subset").strip(", ") or "and rule" for row in best]
    header = ["backbone", *(["network picked: paper", "honest"] if tables.tested else [])]
    for name in short:
        header += [f"best subset, {name}: paper", *(["honest"] if tables.tested else [])]
    picked = {row.backbone: row for row in tables.networks}
    rows = []
    for name in tables.voting:
        cells = [escape(name)]
        if tables.tested:
            row = picked[name]
            cells += [escape(row.best.words), escape(row.honest.words if row.honest else "")]
        for line in best:
            ways = line.voters if tables.tested else line.voters[:1]
            cells += ["&#9679;" if name in way else "" for way in ways]
        rows.append(cells)
    last = best[-1]
    lead = f"The paper's way: {last.their_choice}. Honestly: {last.honest_choice}."
    return section("What was chosen", table(header, rows, "both votes"), lead=escape(lead))


def _pair(estimates: Estimates | None, difference: bool = False) -> list[str]:
    if estimates is None:
        return ["", ""]
    return [_stacked(estimates[measure], difference) for measure in SHOWN]


def _stacked(it: Estimate, difference: bool = False) -> str:
    value = signed(it.value) if difference else number(it.value, 4)
    return f"<b>{value}</b><small>{_bounds(it, difference)}</small>"


def _bounds(it: Estimate, difference: bool = False) -> str:
    if math.isnan(it.low):
        return ""
    one, two = (signed(end) if difference else number(end) for end in (it.low, it.high))
    return f"{one} to {two}"


def _networks(tables: PaperTables) -> str:
    honest = "picked by its own held-out knees" if tables.tested else "any fold (mean)"
    header = ["network", "mean over folds: accuracy", "macro-F1"]
    header += [f"best fold, {_chosen_on(tables)}", "accuracy", "macro-F1"]
    header += [f"honest: {honest}", "accuracy", "macro-F1", "optimism: accuracy", "macro-F1"]
    rows = [
        [
            escape(row.backbone),
            *_pair(row.mean),
            escape(row.best.words),
            *_pair(row.best.estimates),
            "" if row.honest is None else escape(row.honest.words),
            *_pair(row.honest_estimates),
            *_pair(row.optimism, difference=True),
        ]
        for row in tables.networks
    ]
    lead = "Each network of each fold by itself, both looks at a knee; intervals over patients."
    return section("Single networks", table(header, rows, "both"), lead=lead)


def _candidates(tables: PaperTables, figure: str) -> str:
    count = spaced(len(tables.subsets.candidates))
    where = "the test knees" if tables.tested else "the knees that it is chosen on"
    lead = (
        f"{count} candidates: every subset of {len(tables.voting)} networks under three rules, "
        f"scored on {where}. Boxes: quartiles, whiskers to the least and the largest. The star is "
        "the best of all of them there; what the honest choice is worth is the line."
    )
    return section("All subsets and rules", f"<div class=wide>{figure}</div>", lead=lead)


def _votes(tables: PaperTables, figures: Mapping[str, str]) -> str:
    parts = []
    for name, title in (("paper", f"The vote {_chosen_on(tables)}"), ("honest", "The honest vote")):
        columns = [figures[f"confusion-{name}"], figures[f"roc-{name}"], figures[f"pr-{name}"]]
        row = next(row for row in tables.rows if row.what == "best subset and rule")
        lead = row.their_choice if name == "paper" else row.honest_choice
        parts.append(section(title, *columns, lead=escape(lead)))
    return "".join(parts)


def _maps(maps: bytes | None, words: str) -> str:
    picture = ""
    if maps is not None:
        data = base64.b64encode(maps).decode()
        picture = f"<div class=wide><img alt='maps' src='data:image/png;base64,{data}'></div>"
    return section("Where the evidence lies", picture, lead=escape(words))


def _method(tables: PaperTables) -> str:
    return section(
        "How these numbers were made",
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in method(tables)) + "</ul>",
    )


def method(tables: PaperTables) -> Sequence[str]:
    """How the numbers were made, in sentences."""
    if tables.tested:
        ways = [
            "The paper's way: the network of each backbone (its fold, and its epoch where epochs"
            " were kept), the subset and the rule with the best score on the test knees.",
            "The honest way: the network of each backbone with the best score on the knees that its"
            " own fold held out; subset and rule by all out-of-fold predictions. The test knees"
            " had no say. Both vote with one network of each backbone.",
        ]
    else:
        ways = [
            "No test knees were given: both protocols are computed out of fold. The paper's way is"
            " the best subset and rule on all of these knees, scored on the same.",
            "The honest way is nested: each knee is graded by the subset and rule that were chosen"
            " without its patient. No two folds of a network predicted the same knee, so no fold"
            " can be picked for a vote; a single network's best fold stands beside the mean fold.",
        ]
    return [
        *ways,
        "Rounded accuracy is accuracy to 0.01 %. Of equal candidates the first is taken: fewer"
        " members, then hard before soft before mix voting.",
        f"Intervals: {spaced(RESAMPLES)} resamples of patients, both knees together, seed {SEED};"
        " optimism is paired. They do not repeat the choice, which is as it was made.",
        "ROC and precision-recall curves go by the vote's own shares: of votes, of probability, or"
        " of votes and where these tie of probability.",
    ]
