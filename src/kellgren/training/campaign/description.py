"""A campaign as it is written down: TOML, in which a typo is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kellgren.data.manifest import Knee
from kellgren.data.splits import By
from kellgren.errors import InvalidCampaign, InvalidManifest
from kellgren.training.recipe import HeadThenAll, Recipe, Size, in_words, read_recipe

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
Priority = Annotated[int, Field(ge=-1000, le=1000, description="higher ones are trained first")]
Machine = Literal["accelerator", "processor"]
_REMEDY = "docs/reference/campaigns.md lists every key"


class _CampaignPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Folds(_CampaignPart):
    count: Annotated[int, Field(ge=2, le=50)] = 5
    seed: Annotated[int, Field(ge=0)] = 42
    by: By = "patient"


class _Member(_CampaignPart):
    recipe: str
    name: Name | None = None
    sizes: tuple[Size, ...] = ()
    priority: Priority = 0
    change: dict[str, Any] = {}


class _File(_CampaignPart):
    name: Name
    folds: _Folds = _Folds()
    splits: tuple[Literal["train", "val"], ...] = ()
    finals: bool = False
    machine: Machine = "accelerator"
    members: Annotated[tuple[_Member, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Campaign:
    """Which members are to be trained, and how many folds each.

    Attributes:
        name: of the campaign.
        folds: how many.
        seed: of their deal.
        recipes: one for each member and size, in the order of the file; a recipe's ``name`` is
            the member's, its ``final_size`` the size, and no two have both in common.
        finals: whether each member is trained on all knees too, after its folds.
        priorities: of the recipes, one each, higher ones first; empty: all alike.
        machine: for which the campaign was made.
        folds_by: what is dealt: patients, or knees, whose scores come out too good.
        splits: of a published data set, that the campaign knows; empty: all but its tests.
    """

    name: str
    folds: int
    seed: int
    recipes: tuple[Recipe, ...]
    finals: bool = False
    priorities: tuple[int, ...] = ()
    machine: Machine = "accelerator"
    folds_by: By = "patient"
    splits: tuple[str, ...] = ()

    def changed(
        self, folds_by: By | None = None, splits: Sequence[str] = (), *, keep_epochs: bool = False
    ) -> Campaign:
        """The campaign with other folds, fewer splits, or members that keep their epochs.

        Args:
            folds_by: what is dealt; ``None``: as it is.
            splits: that it knows; empty: as it is.
            keep_epochs: whether every member keeps the epochs that patience tolerates.

        Raises:
            InvalidCampaign: a member that would keep epochs does not stop early.
        """
        recipes = tuple(map(self._keeping, self.recipes)) if keep_epochs else self.recipes
        return replace(
            self,
            folds_by=folds_by or self.folds_by,
            splits=tuple(splits) or self.splits,
            recipes=recipes,
        )

    def _keeping(self, recipe: Recipe) -> Recipe:
        if not isinstance(recipe.schedule, HeadThenAll):
            raise InvalidCampaign(
                self.name,
                f"member {recipe.name} has no patience that would tolerate epochs",
                "Keep epochs of members whose schedule is head-then-all",
            )
        schedule = recipe.schedule.model_copy(update={"keep_epochs": True})
        return recipe.model_copy(update={"schedule": schedule})

    def check_splits(self, knees: Sequence[Knee]) -> None:
        """Refuse knees that the campaign leaves out.

        Raises:
            InvalidManifest: a knee is of another split.
        """
        other = sorted({knee.split for knee in knees} - set(self.splits)) if self.splits else []
        if other:
            raise InvalidManifest(
                self.name,
                f"knows {' and '.join(self.splits)} alone; there are knees of {other[0]!r}",
                "Leave them out, as for_training does where it is given the splits",
            )

    def by_priority(self) -> list[tuple[Recipe, int]]:
        """Each recipe with its priority, the highest first, equal ones in the file's order."""
        priorities = self.priorities or (0,) * len(self.recipes)
        return sorted(zip(self.recipes, priorities, strict=True), key=lambda pair: -pair[1])


def dealt_words(seed: int, by: By) -> str:
    """How folds are dealt; by patient where it is not said."""
    return f"seed {seed}" + ("" if by == "patient" else f", by {by}")


def shipped_campaigns() -> tuple[str, ...]:
    """Names of the campaigns that come with the package."""
    folder = resources.files("kellgren") / "campaigns"
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml")))


def read_campaign(source: Path | str, sizes: Sequence[int] = ()) -> Campaign:
    """Read a campaign from a TOML file, or one of the shipped campaigns by name.

    Args:
        source: file, or name.
        sizes: train every member at these instead of its own; empty: as the file says.

    Raises:
        InvalidCampaign: no such file or name, not TOML, a key unknown or missing, a value out of
            range, or a member twice at one size; the message names each.
        InvalidRecipe: a recipe that a member is made from.
    """
    path, text = _campaign_text(source)
    try:
        content = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidCampaign(source, f"is not TOML: {error}", "Mend that line") from None
    except ValidationError as error:
        raise InvalidCampaign(source, in_words(error, "campaign"), _REMEDY) from None
    recipes: list[Recipe] = []
    priorities: list[int] = []
    for member in content.members:
        member_recipes = _recipes(source, path.parent, member, tuple(sizes) or member.sizes)
        recipes += member_recipes
        priorities += [member.priority] * len(member_recipes)
    seen: set[tuple[str, int]] = set()
    for recipe in recipes:
        if (recipe.name, recipe.final_size) in seen:
            raise InvalidCampaign(
                source,
                f"member {recipe.name} is there twice at {recipe.final_size} pixels",
                "Give each member a name of its own",
            )
        seen.add((recipe.name, recipe.final_size))
    return Campaign(
        content.name,
        content.folds.count,
        content.folds.seed,
        tuple(recipes),
        content.finals,
        tuple(priorities),
        content.machine,
        content.folds.by,
        content.splits,
    )


def _campaign_text(source: Path | str) -> tuple[Path, str]:
    """The campaign's file and its text; a file comes before a shipped name."""
    path = Path(source)
    if not path.is_file() and str(source) in shipped_campaigns():
        text = (resources.files("kellgren") / "campaigns" / f"{source}.toml").read_text("utf-8")
        return path, text
    try:
        return path, path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(shipped_campaigns())
        missing = isinstance(error, FileNotFoundError)
        raise InvalidCampaign(
            source,
            "does not exist" if missing else f"cannot be read ({type(error).__name__})",
            f"Name a TOML file, or one of the shipped campaigns: {known}",
        ) from None


def _recipes(
    source: Path | str, folder: Path, member: _Member, sizes: Sequence[int]
) -> list[Recipe]:
    """The member's recipe at each size."""
    beside = folder / member.recipe
    base = read_recipe(beside if beside.is_file() else member.recipe)
    name = member.name or base.name
    try:
        changed = Recipe.model_validate(_merged(base.model_dump() | {"name": name}, member.change))
        return [changed.at_size(size) for size in sizes or (changed.final_size,)]
    except ValidationError as error:
        words = f"member {name}: {in_words(error, 'recipe')}"
        raise InvalidCampaign(source, words, "docs/reference/recipes.md lists every key") from None


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The base with changed values; a table of another ``name`` (a schedule) is replaced whole."""
    merged = dict(base)
    for key, new in change.items():
        old = merged.get(key)
        of_one_kind = (
            isinstance(old, dict)
            and isinstance(new, dict)
            and new.get("name", old.get("name")) == old.get("name")
        )
        merged[key] = _merged(old, new) if of_one_kind else new  # type: ignore[arg-type]
    return merged
