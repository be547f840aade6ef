"""Plots as SVG text for a page: drawn by matplotlib, coloured by the page's style sheet.

Every colour is a stand-in that becomes a variable of the page (``var(--ink)``), so that one drawing
serves light, dark and paper.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from typing import Any

import numpy as np

from kellgren.evaluation import Comparison, Estimate, Scores, Selective
from kellgren.evaluation.catalogue import METRICS
from kellgren.evaluation.ranking import Curves
from kellgren.evaluation_report.map_test import MapTest
from kellgren.grades import Grade
from kellgren.libraries import import_matplotlib

matplotlib = import_matplotlib()

INK, QUIET, LINE, ACCENT = "#010203", "#010204", "#010205", "#010206"
GRADES = tuple(f"#02030{int(grade)}" for grade in Grade)
_VARIABLES = {
    **{INK: "ink", QUIET: "quiet", LINE: "line", ACCENT: "accent"},
    **{colour: f"grade-{grade}" for grade, colour in enumerate(GRADES)},
}
_PAPER = {
    **{INK: "#16202b", QUIET: "#5c6875", LINE: "#dfe3e6", ACCENT: "#14609c"},
    **dict(zip(GRADES, ("#23855a", "#7a8f1f", "#b98200", "#d4621c", "#bf3131"), strict=True)),
}
"""The light colours of page.css, for pictures that stand alone."""
_STYLE = {
    **{"svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"},
    **{"text.color": INK, "axes.labelcolor": QUIET, "axes.edgecolor": LINE},
    **{"xtick.color": QUIET, "ytick.color": QUIET, "grid.color": LINE, "grid.linewidth": 0.6},
    **{"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False},
    **{"axes.axisbelow": True, "xtick.major.size": 0, "ytick.major.size": 0},
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_KEPT: ContextVar[dict[str, bytes] | None] = ContextVar("kept", default=None)
WIDTH = 4.2  # inches: read at its own size on a telephone, beside another on a screen


class Drawing:
    """A figure on its way to SVG; `svg` is there when the context has ended."""

    def __init__(self, name: str, height: float, width: float) -> None:
        self.name = name
        self.figure = matplotlib.figure.Figure(figsize=(width, height), layout="constrained")
        self.svg = ""


@contextmanager
def drawing(name: str, height: float, width: float = WIDTH) -> Iterator[Drawing]:
    """Give a figure to draw on; screen readers read its name, which also makes its ids unique.

    Args:
        name: of the drawing.
        height: in inches.
        width: likewise.
    """
    style: dict[Any, Any] = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(style):
        drawn = Drawing(name, height, width)
        yield drawn
        stream = io.StringIO()
        drawn.figure.savefig(stream, format="svg", transparent=True, metadata=_NO_METADATA)
        kept = _KEPT.get()
        if kept is not None:
            kept[name] = _png(drawn.figure)
    drawn.svg = _for_page(stream.getvalue(), name)


@contextmanager
def kept_as_png() -> Iterator[dict[str, bytes]]:
    """Collect all that is drawn meanwhile as PNG files in the colours of paper, by its name."""
    kept: dict[str, bytes] = {}
    token = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _KEPT.reset(token)


def _png(figure: Any) -> bytes:
    for artist in figure.findobj():
        for part in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            read, write = (getattr(artist, f"{verb}_{part}", None) for verb in ("get", "set"))
            if read is not None and write is not None:
                colour = _on_paper(read())
                if colour is not None:
                    write(colour)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160, facecolor="white")
    return stream.getvalue()


def _on_paper(colour: Any) -> str | None:
    """What a stand-in becomes on paper; ``None`` for any other colour."""
    try:
        return _PAPER.get(matplotlib.colors.to_hex(colour))
    except (TypeError, ValueError):  # several colours at once, or "auto"
        return None


def _for_page(svg: str, name: str) -> str:
    """Only the element, as wide as the page lets it be, in the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(?<=<svg) [^>]*(viewBox="[^"]*")[^>]*', r" \1", svg, count=1)
    # Ids that matplotlib counts from 1 in every drawing would meet on one page; none is used.
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(name)}" ', 1)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg


def forest(scores: Scores) -> str:
    """Headline metrics with their intervals: those to be high, and those to be low."""
    rows = [(m, scores.metrics[m.key]) for m in METRICS]
    known = [(m, it) for m, it in rows if it is not None and not math.isnan(it.value)]
    parts = [[r for r in known if r[0].higher_is_better is up] for up in (True, False)]
    sizes = [len(part) for part in parts]
    with drawing("Headline metrics with 95 % intervals", 1.3 + 0.24 * sum(sizes)) as drawn:
        axes = drawn.figure.subplots(2, 1, height_ratios=[max(1, size) for size in sizes])
        for axis, part, title in zip(
            axes, parts, ("higher is better", "nearer to 0 is better"), strict=True
        ):
            _intervals(axis, [(scores.name_of(m), it) for m, it in part])
            axis.set_title(title, loc="left", fontsize=9, color=QUIET)
        axes[0].set_xlim(right=1.0)
        axes[1].axvline(0, color=QUIET, linewidth=0.8)
    return drawn.svg


def differences(comparison: Comparison) -> str:
    """Paired differences with their intervals around 0."""
    rows = [
        (m.name, comparison.metrics[m.key].difference)
        for m in METRICS
        if m.key in comparison.metrics
    ]
    known = [(name, it) for name, it in rows if not math.isnan(it.value)]
    with drawing("Differences, this grader minus the other", 0.8 + 0.24 * len(known)) as drawn:
        axis = drawn.figure.subplots()
        _intervals(axis, known)
        axis.axvline(0, color=QUIET, linewidth=0.8)
        axis.set_xlabel("this minus other")
    return drawn.svg


def _intervals(axis: Any, rows: Sequence[tuple[str, Estimate]]) -> None:
    for place, (_, it) in enumerate(rows):
        if not math.isnan(it.low):
            axis.plot([it.low, it.high], [place, place], color=ACCENT, linewidth=2.2, alpha=0.55)
        axis.plot(it.value, place, "o", color=ACCENT, markersize=4.5)
    axis.set_yticks(range(len(rows)), [name.split(",")[0] for name, _ in rows], color=INK)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")


def error_bars(scores: Scores) -> str:
    """Share of knees by predicted minus true grade."""
    offsets = np.arange(len(scores.errors)) - len(scores.errors) // 2
    with drawing("Distribution of errors", 2.9) as drawn:
        axis = drawn.figure.subplots()
        for offset, share in zip(offsets, scores.errors, strict=True):
            axis.bar(offset, share.value, 0.72, color=ACCENT, alpha=1.0 if offset == 0 else 0.6)
            if not math.isnan(share.low) and share.value > 0:
                axis.plot([offset] * 2, [share.low, share.high], color=INK, linewidth=1)
            if share.value > 0:
                top = share.value if math.isnan(share.high) else share.high
                axis.annotate(
                    f"{share.value:.1%}",
                    (offset, top),
                    (0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                )
        axis.set_xticks(offsets, [f"{offset:+d}" if offset else "0" for offset in offsets])
        axis.set(xlabel="predicted minus true grade", ylabel="share of knees", yticks=[])
        axis.spines["left"].set_visible(False)
    return drawn.svg


def reliability(scores: Scores) -> str:
    """How often the most probable grade is right, by its probability."""
    filled = [it for it in scores.reliability if it.knees]
    with drawing("Reliability diagram", 4.4) as drawn:
        above, below = drawn.figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
        above.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=0.9)
        for it in filled:
            if not math.isnan(it.accuracy.low):
                ends = [it.accuracy.low, it.accuracy.high]
                above.plot([it.confidence] * 2, ends, color=ACCENT, alpha=0.5, linewidth=2)
        most = max((it.knees for it in filled), default=1)
        for it in filled:
            size = 3 + 5 * math.sqrt(it.knees / most)  # few knees are weak evidence
            above.plot(it.confidence, it.accuracy.value, "o", color=ACCENT, markersize=size)
        above.set(ylim=(0, 1.03), xlim=(0, 1), ylabel="how often it was right")
        above.grid()
        for it in filled:
            width = it.high - it.low
            below.bar(it.low, it.knees, 0.9 * width, align="edge", color=ACCENT, alpha=0.6)
        below.set(xlabel="largest probability", ylabel="knees")
        below.locator_params(axis="y", nbins=3)
    return drawn.svg


def roc(findings: Sequence[Curves | None], areas: Sequence[str], name: str = "ROC curves") -> str:
    """ROC curves of the five grades, then of grade 2 or higher."""
    with drawing(name, 4.3) as drawn:
        axis = drawn.figure.subplots()
        axis.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=0.9)
        _lines(axis, [c and (c.false_positive_rate, c.recall) for c in findings], areas)
        axis.set(xlabel="1 - specificity", ylabel="sensitivity")
        axis.legend(loc="lower right", fontsize=8, title="AUC", title_fontsize=8)
    return drawn.svg


def precision_recall(
    findings: Sequence[Curves | None], areas: Sequence[str], name: str = "Precision-recall curves"
) -> str:
    """Precision-recall curves of the five grades, then of grade 2 or higher."""
    with drawing(name, 4.3) as drawn:
        axis = drawn.figure.subplots()
        _lines(axis, [c and (c.recall, c.precision) for c in findings], areas)
        axis.set(xlabel="recall (sensitivity)", ylabel="precision")
        axis.legend(loc="lower left", fontsize=8, title="average precision", title_fontsize=8)
    return drawn.svg


def risk_coverage(it: Selective) -> str:
    """Share of wrong grades among the surest knees, by the share that is kept."""
    with drawing("Risk-coverage curve", 4.3) as drawn:
        axis = drawn.figure.subplots()
        points = np.unique(np.linspace(0, len(it.kept) - 1, 400).astype(int))
        axis.plot(it.kept[points], it.wrong[points], color=ACCENT)
        if it.unnamed:
            kept, wrong = it.named_share.value, 1 - it.right_named.value
            axis.plot(kept, wrong, "o", color=INK, label="named grades")
            axis.legend(loc="upper left", fontsize=8)
        axis.set(xlabel="share of knees kept", ylabel="share of wrong grades", xlim=(0, 1))
        axis.set_ylim(0)
        axis.grid()
    return drawn.svg


def faithfulness(maps: MapTest) -> str:
    """Mean probability of the grade while pixels are removed, and brought back."""
    with drawing("Deletion and insertion curves", 4.3) as drawn:
        axis = drawn.figure.subplots()
        share = maps.knees[0].share
        for curve, style in (("deletion", "-"), ("insertion", "--")):
            for order, colour in ((curve, ACCENT), (f"random_{curve}", QUIET)):
                name = f"{curve}, {'map' if order == curve else 'random'}"
                axis.plot(share, maps.mean(order), style, color=colour, label=name)
        axis.set(xlabel="share of the picture", ylabel="probability of the grade", xlim=(0, 1))
        axis.set_ylim(0, 1)
        axis.grid()
        axis.legend(loc="best", fontsize=8)
    return drawn.svg


def _lines(axis: Any, points: Sequence[Any], areas: Sequence[str]) -> None:
    colours = [*GRADES, INK]
    names = [*(f"grade {int(grade)}" for grade in Grade), "grade 2 or higher"]
    for name, colour, line, area in zip(names, colours, points, areas, strict=True):
        if line is not None:
            width = 2.2 if colour == INK else 1.3
            axis.plot(*line, color=colour, label=f"{name}  {area}", linewidth=width)
    axis.set(xlim=(0, 1.005), ylim=(0, 1.02))
    axis.grid()
