"""One exception tree. Every message says which file, what was found and what to do about it."""

from __future__ import annotations

from pathlib import Path


class KellgrenError(Exception):
    """Anything this package refuses to do, with the reason and the remedy.

    Args:
        subject: the file, folder or setting at fault.
        problem: what was found there, as a plain sentence without a final full stop.
        remedy: what the user can do about it, as a sentence.
    """

    def __init__(self, subject: Path | str, problem: str, remedy: str) -> None:
        remedy = remedy.rstrip(".") + "."
        super().__init__(f"{subject}: {problem}. {remedy}")
        self.subject = str(subject)
        self.problem = problem
        self.remedy = remedy

    @property
    def reason(self) -> str:
        """The problem and the remedy without the file's name, for tables that already show it."""
        return f"{self.problem}. {self.remedy}"


class UnreadableRadiograph(KellgrenError):
    """A file that cannot be turned into grey values: damaged, too large, or of another kind."""


class NotAKneeFilm(KellgrenError):
    """A picture that can be read, but shows no knee that may be graded."""


class UnanswerableSource(KellgrenError):
    """A file that can be read but not answered in DICOM: it does not say which picture it is."""


class InvalidManifest(KellgrenError):
    """A table or folder of graded knees that does not say what it must."""


class InvalidRecipe(KellgrenError):
    """A training recipe with a typo, a missing key or a value out of range."""


class InvalidCampaign(KellgrenError):
    """A campaign with a typo, a missing key, or members that cannot be told apart."""


class InvalidPredictions(KellgrenError):
    """A table of predictions that cannot be scored against the labels given."""


class BundleError(KellgrenError):
    """A model bundle that is missing, damaged, incomplete or written by a newer version."""


class InvalidPack(KellgrenError):
    """A pack with a piece missing or damaged, or with files that it does not list."""


class WeightsUnavailable(KellgrenError):
    """Pretrained weights that could not be found or do not fit the network."""


class TrainingError(KellgrenError):
    """Training that cannot start or go on: a changed recipe, a damaged checkpoint, a full disk."""


class CannotKeep(TrainingError):
    """What was learnt cannot be written: a full disk, a folder without leave to write."""


class MissingExtra(KellgrenError):
    """A feature whose optional dependencies are not installed."""
