"""The four distributions beside those of the reference: a page, or a picture. Needs matplotlib."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from kellgren.evaluation_report import html_tables, plots
from kellgren.evaluation_report.page import document, section
from kellgren.grades import GRADE_COUNT
from kellgren.shift.sample import Sample
from kellgren.shift.two_samples import Change, Shift
from kellgren.shift.words import missing_words, moved_words, name_of, verdict_words

_NAME = "Distributions now and in the reference"


def page_and_picture(
    source: str, shift: Shift, now: Sample, reference: Sample
) -> tuple[str, bytes]:
    """The comparison as the text of one HTML file without scripts or links, and its plots as PNG.

    Args:
        source: what was watched, for the title.
        shift: what was found.
        now: one knee of each patient.
        reference: likewise.
    """
    lead = (
        f"{shift.patients} patients against {shift.reference} of the reference, one knee of each. "
        f"Where nothing changed, a change is noticed in at most {shift.false_alarms:.0%} of such "
        "comparisons."
    )
    found = " ".join(filter(None, (verdict_words(shift), missing_words(shift))))
    rows = [
        [
            escape(name_of(it.key)),
            moved_words(it),
            f"{it.statistic:.3f}",
            f"{it.p_value:.4f}",
            f"{it.corrected:.4f}",
            "<b>changed</b>" if it.noticed else "-",
        ]
        for it in shift.changes
    ]
    head = ["quantity", "from, to", "statistic", "p", "p, corrected", ""]
    with plots.kept_as_png() as kept:
        drawn = distributions(shift, now, reference)
    page = document(
        f"Shift watch: {source}",
        lead,
        f"<p class=lead>{escape(found)}</p>",
        [section(_NAME, drawn), section("Tests", html_tables.table(head, rows, "versus"))],
    )
    return page, kept[_NAME]


def distributions(shift: Shift, now: Sample, reference: Sample) -> str:
    """The quantities that were compared, each with both samples, as SVG."""
    with plots.drawing(_NAME, 5.6, 7.0) as drawn:
        axes = drawn.figure.subplots(2, 2).ravel()
        for axis, change in zip(axes, shift.changes, strict=False):
            samples = ((reference, plots.QUIET, "reference"), (now, plots.ACCENT, "now"))
            for place, (sample, colour, name) in enumerate(samples):
                if change.key == "grade":
                    shares = change.after if place else change.before
                    _bars(axis, shares, place, colour, name)
                else:
                    _steps(axis, sample.values[change.key], colour, name)
            _labelled(axis, change)
        for axis in axes[len(shift.changes) :]:
            axis.set_axis_off()
        axes[0].legend(fontsize=8)
    return drawn.svg


def _bars(axis: Any, shares: tuple[float, ...], place: int, colour: str, name: str) -> None:
    where = np.arange(GRADE_COUNT) + 0.4 * place - 0.2
    axis.bar(where, shares, width=0.38, color=colour, label=name)


def _steps(axis: Any, ascending: np.ndarray, colour: str, name: str) -> None:
    """The share of knees up to each value, which needs no choice of bins."""
    axis.step(
        ascending, np.arange(1, len(ascending) + 1) / len(ascending), color=colour, label=name
    )


def _labelled(axis: Any, change: Change) -> None:
    found = "changed" if change.noticed else "no change noticed"
    axis.set_title(f"{name_of(change.key)}: {found}, p {change.corrected:.3f}", fontsize=9)
    axis.set_ylabel("share of knees" if change.key == "grade" else "share up to", fontsize=8)
    axis.grid(axis="y")
