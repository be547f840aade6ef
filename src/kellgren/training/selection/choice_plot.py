"""The candidates in a picture: score against number of members, and what the choice is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kellgren.atomic_files import replaced_whole
from kellgren.libraries import import_matplotlib
from kellgren.training.selection.choice import Choice
from kellgren.training.selection.subsets import ALL_RULES, Measure

_COLOURS = dict(
    zip(ALL_RULES, ("#7a869a", "#2f7ed8", "#2aa876", "#c46210", "#a03fbf"), strict=True)
)
_AXES: dict[Measure, str] = {
    "qwk": "quadratic weighted kappa",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "paper": "rounded accuracy + macro-F1",
}


def draw_choice(choice: Choice, path: Path) -> None:
    """Draw every candidate as a dot, and the nested estimate as a line with its interval."""
    figure = import_matplotlib().figure.Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    scores = choice.compared.scores(choice.measure)
    sizes = np.array([len(candidate.members) for candidate in choice.compared.candidates])
    rules = np.array([candidate.rule for candidate in choice.compared.candidates])
    present = [rule for rule in ALL_RULES if (rules == rule).any()]
    for number, rule in enumerate(present):
        mine = rules == rule
        beside = sizes[mine] + 0.12 * (number - (len(present) - 1) / 2)
        axis.plot(beside, scores[mine], "o", ms=4, alpha=0.6, color=_COLOURS[rule], label=rule)
    nested = choice.chosen
    axis.axhspan(nested.low, nested.high, color="#1d2733", alpha=0.08, lw=0)
    axis.axhline(nested.value, color="#1d2733", lw=1, label="nested estimate, 95 % interval")
    axis.set(xlabel="members", ylabel=f"{_AXES[choice.measure]}, out of fold")
    axis.set_xticks(range(1, int(sizes.max()) + 1))
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")
    with replaced_whole(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
