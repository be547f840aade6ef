"""Score against input size as a picture, with what each size costs beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kellgren.atomic_files import replaced_whole
from kellgren.errors import TrainingError
from kellgren.libraries import import_matplotlib
from kellgren.training.campaign.sizes import MemberSizes, SizeChoice


def draw_sizes(members: Sequence[MemberSizes], path: Path) -> None:
    """Draw a row for each member: QWK with 95 % intervals by size, and minutes an epoch by size.

    The chosen size is ringed; the band shows what lies within one standard error of the best.

    Args:
        members: compared; those without a fold in common are left out.
        path: PNG to write.

    Raises:
        TrainingError: no member can be drawn.
    """
    drawn = [(member, member.choice) for member in members if member.choice is not None]
    if not drawn:
        raise TrainingError(
            path, "there is nothing to draw: no finished fold", "Go on with train ensemble"
        )
    figure = import_matplotlib().figure.Figure(figsize=(10, 3.4 * len(drawn)), layout="constrained")
    rows = figure.subplots(len(drawn), 2, squeeze=False)
    for (member, choice), (score, cost) in zip(drawn, rows, strict=True):
        _draw_scores(score, choice)
        score.set_title(f"{member.member}, {_folds(len(member.folds))}", loc="left")
        _draw_cost(cost, member, choice)
    with replaced_whole(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _draw_scores(axis: Any, choice: SizeChoice) -> None:
    sizes = [score.size for score in choice.scores]
    means = [score.mean for score in choice.scores]
    reach = [score.high - score.mean for score in choice.scores]
    spread = [0.0 if math.isnan(value) else value for value in reach]
    axis.errorbar(sizes, means, yerr=spread, fmt="o-", capsize=4)
    (best,) = (score for score in choice.scores if score.size == choice.best)
    if not math.isnan(best.standard_error):
        axis.axhspan(best.mean - best.standard_error, best.mean, alpha=0.15)
    chosen = means[sizes.index(choice.chosen)]
    axis.plot([choice.chosen], [chosen], "o", ms=14, mfc="none", mec="black")
    axis.annotate(
        f"chosen: {choice.chosen}", (choice.chosen, chosen), (8, -16), textcoords="offset points"
    )
    _dress(axis, sizes, "QWK out of fold, mean and 95 % interval")


def _draw_cost(axis: Any, member: MemberSizes, choice: SizeChoice) -> None:
    sizes = [score.size for score in choice.scores]
    axis.bar([str(size) for size in sizes], [member.minutes.get(size, 0.0) for size in sizes])
    _dress(axis, None, "minutes an epoch")


def _dress(axis: Any, sizes: Sequence[int] | None, label: str) -> None:
    axis.set(xlabel="input size, pixels", ylabel=label)
    if sizes is not None:
        axis.set_xticks(sizes)
    axis.grid(alpha=0.3, axis="y")
    axis.spines[["top", "right"]].set_visible(False)


def _folds(count: int) -> str:
    return f"{count} fold{'s' if count != 1 else ''}"
