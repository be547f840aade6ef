"""The figures of the paper's report: candidates by number of members, both protocols, confusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kellgren.arrays import Distributions
from kellgren.evaluation import Estimate
from kellgren.evaluation_report.plots import ACCENT, GRADES, INK, LINE, QUIET, drawing
from kellgren.grades import Grade
from kellgren.training.reproduction.both_ways import ChosenVote
from kellgren.training.reproduction.networks_table import SHOWN
from kellgren.training.reproduction.paper_tables import PaperTables, Row
from kellgren.training.selection.subsets import PAPER_RULES, AnyRule, Measure

NAMES: dict[Measure, str] = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
THEIRS, HONEST = GRADES[3], ACCENT
_COLOURS: dict[AnyRule, str] = {"hard": QUIET, "soft": ACCENT, "mix": GRADES[2]}
_WIDE = 8.6


def candidates(tables: PaperTables) -> str:
    """Box plots of all subsets under each rule by their number of members."""
    with drawing("All subsets by number of members", 6.4, _WIDE) as drawn:
        axes = drawn.figure.subplots(2, 1, sharex=True)
        for axis, measure in zip(axes, SHOWN, strict=True):
            for rule in PAPER_RULES:
                _boxes(axis, tables, measure, rule)
            _marks(axis, tables, measure)
            axis.set_ylabel(NAMES[measure])
            axis.grid(axis="y")
        most = len(tables.voting)
        axes[1].set_xticks(range(min(2, most), most + 1))
        axes[1].set_xlabel("members of the subset")
        axes[0].legend(
            loc="lower center", ncols=5, fontsize=8, bbox_to_anchor=(0.5, 1.0), borderaxespad=0.3
        )
    return drawn.svg


def box_numbers(tables: PaperTables, measure: Measure, rule: AnyRule) -> dict[int, Distributions]:
    """Least, quartiles and largest score of a rule's subsets, ``(5,)`` by number of members."""
    scores = tables.subsets.scores(measure)
    chosen: dict[int, list[int]] = {}
    for at, candidate in enumerate(tables.subsets.candidates):
        if candidate.rule == rule:
            chosen.setdefault(len(candidate.members), []).append(at)
    return {
        members: np.asarray(np.percentile(scores[places], [0, 25, 50, 75, 100]))
        for members, places in chosen.items()
    }


def _boxes(axis: Any, tables: PaperTables, measure: Measure, rule: AnyRule) -> None:
    colour, numbers = _COLOURS[rule], box_numbers(tables, measure, rule)
    if not numbers:
        return
    line = {"color": colour, "linewidth": 1.1}
    axis.bxp(
        [
            dict(zip(("whislo", "q1", "med", "q3", "whishi"), map(float, five), strict=True))
            for five in numbers.values()
        ],
        positions=[members + 0.27 * (PAPER_RULES.index(rule) - 1) for members in numbers],
        widths=0.2,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour, "linewidth": 1.1},
        medianprops={"color": colour, "linewidth": 1.8},
        whiskerprops=line,
        capprops=line,
    )
    axis.plot([], [], "s", color=colour, markersize=6, label=f"{rule} voting")


def _marks(axis: Any, tables: PaperTables, measure: Measure) -> None:
    """The subset that the paper's way chooses, and what the honest choice is worth."""
    theirs = getattr(tables.theirs.scores, measure)
    rule = tables.theirs.rule
    beside = 0.27 * (PAPER_RULES.index(rule) - 1) if rule in PAPER_RULES else 0.0
    place = len(tables.theirs.members) + beside
    axis.plot(
        place, theirs.value, "*", color=THEIRS, markersize=12, label="the paper's choice", zorder=5
    )
    honest: Estimate = getattr(tables.honest.scores, measure)
    axis.axhline(honest.value, color=INK, linewidth=1.2, label="the honest choice, 95 % interval")
    if not math.isnan(honest.low):
        axis.axhspan(honest.low, honest.high, color=INK, alpha=0.07, linewidth=0)


def protocols(rows: Sequence[Row]) -> str:
    """Each line of the table of both protocols as two points with their intervals."""
    with drawing("Both protocols", 0.9 + 0.42 * len(rows), _WIDE) as drawn:
        axes = drawn.figure.subplots(1, 2, sharey=True)
        for axis, measure in zip(axes, SHOWN, strict=True):
            for place, row in enumerate(rows):
                both = [(0.0, HONEST, row.honest)]
                if row.optimism is not None and row.theirs is not None:
                    both = [(0.13, HONEST, row.honest), (-0.13, THEIRS, row.theirs)]
                for offset, colour, estimates in both:
                    _point(axis, place + offset, colour, estimates[measure])
                reported = row.reported and row.reported[SHOWN.index(measure)]
                if reported:
                    axis.plot(reported, place, "|", color=INK, markersize=13, markeredgewidth=1.6)
            axis.set_xlabel(NAMES[measure])
            axis.grid(axis="x")
            axis.spines["left"].set_visible(False)
        axes[0].set_yticks(range(len(rows)), [row.what for row in rows], color=INK)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        handles = [
            axes[0].plot([], [], marker, color=colour, label=words)[0]
            for marker, colour, words in (
                ("o", THEIRS, "chosen in the paper's way"),
                ("o", HONEST, "honest, or nothing chosen"),
                ("|", INK, "reported by Pi et al."),
            )
        ]
        drawn.figure.legend(handles=handles, loc="outside upper right", ncols=3, fontsize=8)
    return drawn.svg


def _point(axis: Any, place: float, colour: str, estimate: Estimate) -> None:
    if not math.isnan(estimate.low):
        ends = [estimate.low, estimate.high]
        axis.plot(ends, [place, place], color=colour, linewidth=2, alpha=0.5)
    axis.plot(estimate.value, place, "o", color=colour, markersize=5)


def confusion(vote: ChosenVote, name: str) -> str:
    """Knees by true and given grade, shaded by their share of the row."""
    counts = np.array(vote.scores.confusion, dtype=float)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    with drawing(name, 3.9) as drawn:
        axis = drawn.figure.subplots()
        for row in Grade:
            for column in Grade:
                colour = ACCENT if row == column else THEIRS
                share = shares[row, column]
                axis.bar(column, 0.94, 0.94, row - 0.47, color=colour, alpha=0.75 * share)
                words = f"{counts[row, column]:.0f}\n{share:.0%}"
                axis.text(column, row, words, ha="center", va="center", fontsize=8, color=INK)
        axis.set(xlabel="grade given", ylabel="true grade", xlim=(-0.5, 4.5), ylim=(4.5, -0.5))
        axis.set_xticks(range(5))
        axis.set_yticks(range(5))
        axis.set_aspect("equal")
        for spine in axis.spines.values():
            spine.set_visible(True)
            spine.set_color(LINE)
    return drawn.svg
