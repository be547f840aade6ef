"""Which weights a campaign's members start from, and whether they can be had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kellgren.errors import InvalidRecipe, WeightsUnavailable
from kellgren.training.architectures import find
from kellgren.training.architectures.weights import WeightSource
from kellgren.training.campaign.description import Campaign
from kellgren.training.recipe import Recipe

_RANDOM = "random weights"


@dataclass(frozen=True)
class Start:
    """Where a member starts.

    Attributes:
        recipe: of the member.
        words: the file, the download, or what is missing and its remedy.
        missing: whether the member cannot be trained for want of it.
    """

    recipe: Recipe
    words: str
    missing: bool


def starts_of(campaign: Campaign, weights_dir: Path | None) -> list[Start]:
    """Look for every member's weights; nothing is downloaded.

    Args:
        campaign: whose members.
        weights_dir: with files of weights; what is not in it would be downloaded.
    """
    return [_start(recipe, weights_dir) for recipe, _ in campaign.by_priority()]


def _start(recipe: Recipe, weights_dir: Path | None) -> Start:
    try:
        pretrained = find(recipe.network.architecture).pretrained
        if not recipe.network.pretrained:
            return Start(recipe, _RANDOM, missing=False)
        if not isinstance(pretrained, WeightSource):
            return Start(recipe, "weights of its own, not looked for yet", missing=False)
        return Start(recipe, pretrained.available(weights_dir), missing=False)
    except (InvalidRecipe, WeightsUnavailable) as error:
        return Start(recipe, str(error), missing=True)


def weights_wanted(recipe: Recipe) -> str:
    """What a member needs to start, whether it is at hand or not."""
    if not recipe.network.pretrained:
        return _RANDOM
    try:
        source = find(recipe.network.architecture).pretrained
    except InvalidRecipe as error:
        return str(error)
    if not isinstance(source, WeightSource):
        return "weights of its own"
    file = f"{source.pattern} in --weights-dir"
    return file if source.download is None else f"{source.available(None)}, or {file}"
