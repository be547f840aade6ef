"""One run of a campaign: what it is, where it lies, and whether it is finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kellgren.training.recipe import Recipe
from kellgren.training.run_folder import FACTS, HEAD, MODEL, OUT_OF_FOLD

JOBS = "jobs"


@dataclass(frozen=True)
class TrainingJob:
    """One run of a campaign.

    Attributes:
        member: its name.
        size: of its input, pixels.
        fold: held out; ``None`` for a final, which learns from all knees.
        recipe: how it is trained.
        run: folder of the run, whether it has begun or not.
    """

    member: str
    size: int
    fold: int | None
    recipe: Recipe
    run: Path

    @property
    def recipe_hash(self) -> str:
        """SHA-256 of the recipe: equal on every machine."""
        return self.recipe.hash

    @property
    def name(self) -> str:
        """The run's folder: member, size, fold, and the start of the recipe's hash."""
        return self.run.name

    @property
    def is_finished(self) -> bool:
        """Whether the run left all that it promises; each file is whole or not there.

        A final holds nothing out, and so leaves no out-of-fold predictions.
        """
        promised = (MODEL, HEAD, FACTS, *(() if self.fold is None else (OUT_OF_FOLD,)))
        return all((self.run / name).exists() for name in promised)

    @property
    def words(self) -> str:
        """The job for people: member, size, and fold or ``final``."""
        return f"{self.member} {self.size} {fold_words(self.fold)}"


def fold_words(fold: int | None) -> str:
    """``f3``, or ``final``: as folders and tables name what is held out."""
    return "final" if fold is None else f"f{fold}"
