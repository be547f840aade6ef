"""The tree of exceptions: each message names the file or argument, the problem and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class KellgrenError(Exception):
    """What every error of this package is: the reason, and the remedy.

    Args:
        subject: the file, folder or setting at fault; an attribute of the error too, as text.
        problem: what was found there, as a plain sentence without a final full stop; likewise.
        remedy: what the user can do about it, as a sentence; likewise.
    """

    def __init__(self, subject: Path | str, problem: str, remedy: str) -> None:
        remedy = remedy.rstrip(".") + "."
        super().__init__(f"{subject}: {problem}. {remedy}")
        self.subject = str(subject)
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[KellgrenError], tuple[str, str, str]]:
        # Exceptions are pickled by their message alone, of which this one could not be made again:
        # a pool of processes would hang or break instead of raising it.
        return type(self), (self.subject, self.problem, self.remedy)

    @property
    def reason(self) -> str:
        """The problem and the remedy without the file's name, for tables that already show it."""
        return f"{self.problem}. {self.remedy}"


class InvalidOption(KellgrenError):
    """An argument outside its choices or its range, or a path that may not be written to."""


class UnreadableRadiograph(KellgrenError):
    """A file, array or buffer that cannot be turned into grey values.

    It is damaged, too large, of another kind, or holds no grey picture.
    """


class NotAKneeFilm(KellgrenError):
    """A picture that can be read, but shows no knee that may be graded."""


class UnanswerableSource(KellgrenError):
    """A file that can be read but not answered in DICOM: it does not identify its picture."""


class InvalidManifest(KellgrenError):
    """A table or folder of graded knees in which something required is missing or wrong."""


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
    """Training state that cannot be written: a full disk, a folder without write permission."""


class ClusterError(KellgrenError):
    """A cluster that cannot be reached, whose nodes are not alike, or that cannot work."""


class MissingExtra(KellgrenError):
    """A feature whose optional dependencies are not installed."""


def cause(error: Exception) -> str:
    """Why something failed, in the system's words; else the name of the error."""
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def check_choice(option: str, value: object, choices: Sequence[str]) -> None:
    """Raise where a value is none of the choices.

    Args:
        option: the argument's name.
        value: what was given.
        choices: what may be given.

    Raises:
        InvalidOption: the value is none of them; the message names them all.
    """
    if not isinstance(value, str) or value not in choices:
        listed = " or ".join(repr(choice) for choice in choices)
        raise InvalidOption(option, f"is {value!r}", f"Choose {listed}")
