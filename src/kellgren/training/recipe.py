"""A training run as data: frozen, read from TOML, where a typo is an error."""

from __future__ import annotations

import hashlib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kellgren.errors import InvalidRecipe

_LEAST_SIZE = 32
Size = Annotated[int, Field(ge=_LEAST_SIZE, le=1024, description="input width and height, pixels")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]

PATCHES = {"dinov2_vits14": 14}
"""Networks that cut a picture into patches of so many pixels: their sizes must be multiples."""


class _RecipePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Stage(_RecipePart):
    """Some epochs at one input size; later stages refine what earlier, smaller ones learnt."""

    epochs: Annotated[int, Field(ge=1, le=1000)]
    size: Size


class Network(_RecipePart):
    """Which network, and where it starts."""

    architecture: str
    pretrained: bool = True
    freeze_stem: bool = False
    mirror_left: bool = True
    level: bool = False
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None  # None: the network's own


class OneCycle(_RecipePart):
    """AdamW whose rate climbs to ``peak_rate`` and falls along a half cosine to nearly zero."""

    name: Literal["one-cycle"] = "one-cycle"
    peak_rate: Rate
    warm_up: Fraction = 0.2
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.02
    clip_norm: Annotated[float, Field(gt=0.0)] = 5.0


class HeadThenAll(_RecipePart):
    """The paper's: Adam on the head for one epoch, then on all layers, with stepwise decay.

    Early stopping watches a validation loss: training ends when ``patience`` epochs in a row
    counted against it. The epoch with the lowest loss is the one that is kept.

    Attributes:
        stopping: which epochs count. ``rise``, the authors' rule: those whose loss exceeds the
            lowest so far by more than ``delta``. ``stall``: those whose loss does not fall by more
            than ``delta``.
        stop_on: whose loss: that of the ``held-out`` fold, which the run is scored on, too, or of
            an ``inner`` part of the other folds' patients, one of ``inner_parts``, not learnt from.
        keep_epochs: whether the weights of epochs that do not count are kept, in half precision,
            with their predictions of the held-out knees.
    """

    name: Literal["head-then-all"] = "head-then-all"
    head_rate: Rate
    rate: Rate
    weight_decay: Annotated[float, Field(ge=0.0)]
    step_epochs: Annotated[int, Field(ge=1)]
    step_factor: Rate
    patience: Annotated[int, Field(ge=1)]
    delta: Annotated[float, Field(ge=0.0)]
    stopping: Literal["rise", "stall"] = "stall"
    stop_on: Literal["held-out", "inner"] = "held-out"
    inner_parts: Annotated[int, Field(ge=2, le=50)] = 10
    keep_epochs: bool = False

    @property
    def unused(self) -> set[str]:
        """The keys that came after the first recipes and are as if they were not there."""
        later = ("stopping", "stop_on", "inner_parts", "keep_epochs")
        fields = type(self).model_fields
        return {name for name in later if getattr(self, name) == fields[name].default}


class Targets(_RecipePart):
    """What the loss compares with: mass spread over the grades beside the labelled one.

    ``ordinal`` spreads it as exp(-sharpness * |distance|), so that a miss by one grade costs less
    than a miss by two; ``smooth`` gives every grade the same share ``smoothing / 5``.
    """

    kind: Literal["ordinal", "smooth"]
    sharpness: Annotated[float, Field(gt=0.0)] = 2.2
    smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class Teacher(_RecipePart):
    """Whose predictions the targets are mixed with.

    Attributes:
        source: folder of a campaign, a run or a bundle, from the working directory.
        weight: share of the teacher's distribution; the rest is the label's.
        temperature: above 1 flattens the teacher's distribution, below 1 sharpens it.
    """

    source: Annotated[str, Field(min_length=1)]
    weight: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    temperature: Annotated[float, Field(gt=0.0, le=20.0)] = 1.0


class Augmentation(_RecipePart):
    """Ranges of the random changes; zero switches one off.

    Attributes:
        mirror: probability of a left-right mirror.
        rotation: degrees, drawn from -rotation..rotation.
        scale: relative, drawn log-uniformly from 1/(1+scale)..(1+scale).
        shift: share of the width, drawn from -shift..shift for each axis.
        contrast: factor about the mean, drawn from 1-contrast..1+contrast.
        brightness: added, drawn from -brightness..brightness, pixels being 0..1.
        gamma: exponent, drawn log-uniformly from 1/(1+gamma)..(1+gamma).
        blur: probability that a picture loses resolution (shrunk to 55-95 % and back).
        noise: standard deviation of Gaussian noise at most, pixels being 0..1.
        erase: probability that a random rectangle is painted grey.
    """

    mirror: Fraction = 0.0
    rotation: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    scale: Fraction = 0.0
    shift: Fraction = 0.0
    contrast: Fraction = 0.0
    brightness: Fraction = 0.0
    gamma: Fraction = 0.0
    blur: Fraction = 0.0
    noise: Fraction = 0.0
    erase: Fraction = 0.0


class Recipe(_RecipePart):
    """Everything that decides what a training run computes, but for the data and the fold.

    Attributes:
        batch: pictures a step.
        average: decay of the weights' running average; 0: none is kept.
        consistency: above 0, a batch shows half as many knees, each of them twice, changed in
            two ways, and so much counts how far the two predictions lie apart.
        last_batch: whether the knees that do not fill an epoch's last batch are learnt from, as a
            smaller one, or sit that epoch out.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    seed: Annotated[int, Field(ge=0)] = 42
    batch: Annotated[int, Field(ge=2, le=1024)] = 32
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    average: Annotated[float, Field(ge=0.0, lt=1.0, description="EMA decay; 0 is off")] = 0.0
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    network: Network
    schedule: Annotated[OneCycle | HeadThenAll, Field(discriminator="name")]
    targets: Targets
    teacher: Teacher | None = None
    augmentation: Augmentation
    consistency: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0
    last_batch: Literal["keep", "drop"] = "drop"

    @model_validator(mode="after")
    def _early_stopping_needs_one_stage(self) -> Self:
        if isinstance(self.schedule, HeadThenAll) and len(self.stages) > 1:
            raise ValueError("the head-then-all schedule trains in one stage, at one size")
        return self

    @model_validator(mode="after")
    def _sizes_are_whole_patches(self) -> Self:
        patch = PATCHES.get(self.network.architecture, 1)
        for size in (stage.size for stage in self.stages if stage.size % patch):
            below, above = size // patch * patch, (size // patch + 1) * patch
            near = f"{below} or {above}" if below >= _LEAST_SIZE else f"{above}"
            raise ValueError(
                f"{self.network.architecture} takes sizes that are multiples of {patch}; "
                f"instead of {size} choose {near}"
            )
        return self

    @property
    def views(self) -> int:
        """How often a batch shows each of its knees."""
        return 2 if self.consistency else 1

    @property
    def epochs(self) -> int:
        """Epochs at most, all stages together."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def final_size(self) -> int:
        """The size at which the member is judged and shipped."""
        return self.stages[-1].size

    def size_of(self, epoch: int) -> int:
        """Input size of the given epoch, counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.size
            epoch -= stage.epochs
        raise IndexError("the recipe has fewer epochs")

    def at_size(self, size: int) -> Recipe:
        """The same run for a member of another size.

        The last stage gets that size; earlier ones keep their proportion to it, rounded to
        multiples of 16, or of the network's patches.

        Raises:
            ValidationError: the size is not between 32 and 1024, or not one of the network's.
        """
        if size == self.final_size:
            return self
        share = size / self.final_size
        step = PATCHES.get(self.network.architecture, 16)
        least = -(-_LEAST_SIZE // step) * step
        *early, last = (stage.model_dump() for stage in self.stages)
        for stage in early:
            stage["size"] = min(size, max(least, round(stage["size"] * share / step) * step))
        last["size"] = size
        return Recipe.model_validate(self.model_dump() | {"stages": [*early, last]})

    @property
    def hash(self) -> str:
        """SHA-256 over every value: two recipes with the same hash describe the same run.

        A recipe that uses none of the keys that came later keeps the hash it had before them.
        """
        unused: dict[str, Any] = {} if self.network.level else {"network": {"level"}}
        unused |= {} if self.consistency else {"consistency": True}
        unused |= {} if self.teacher else {"teacher": True}
        unused |= {} if self.last_batch == "keep" else {"last_batch": True}
        if isinstance(self.schedule, HeadThenAll):
            unused["schedule"] = self.schedule.unused
        return hashlib.sha256(self.model_dump_json(exclude=unused).encode()).hexdigest()


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    folder = resources.files("kellgren") / "recipes"
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml")))


def recipe_text(source: Path | str) -> str:
    """The TOML of a file, or of one of the shipped recipes by name.

    Raises:
        InvalidRecipe: no such file or name.
    """
    path = Path(source)
    if not path.is_file() and str(source) in shipped_recipes():
        return (resources.files("kellgren") / "recipes" / f"{source}.toml").read_text("utf-8")
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(shipped_recipes())
        missing = isinstance(error, FileNotFoundError)
        raise InvalidRecipe(
            source,
            "does not exist" if missing else f"cannot be read ({type(error).__name__})",
            f"Name a TOML file, or one of the shipped recipes: {known}",
        ) from None


def read_recipe(source: Path | str) -> Recipe:
    """Read a recipe from a TOML file, or one of the shipped recipes by name.

    Raises:
        InvalidRecipe: no such file or name, not TOML, a key unknown or missing, a value out of
            range; the message names each.
    """
    text = recipe_text(source)
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidRecipe(source, f"is not TOML: {error}", "Mend that line") from None
    except ValidationError as error:
        raise InvalidRecipe(
            source,
            in_words(error, "recipe"),
            "docs/reference/recipes.md lists every key",
        ) from None


def in_words(errors: ValidationError, kind: str) -> str:
    """Every error of a file of that kind as a phrase, with the key it is about."""
    return "; ".join(_explain(error, kind) for error in errors.errors())


def _explain(error: Any, kind: str) -> str:
    # pydantic puts the schedule's name into the path, where the file has no such table
    named = (str(part) for part in error["loc"] if part not in ("one-cycle", "head-then-all"))
    where = ".".join(named) or kind
    if error["type"] == "extra_forbidden":
        return f"{where} is not a key of a {kind}"
    if error["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}"
