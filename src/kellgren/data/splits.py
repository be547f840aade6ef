"""Folds that no patient straddles, balanced by grade, saved with their hash."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kellgren.arrays import Mask
from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee
from kellgren.errors import InvalidManifest


@dataclass(frozen=True)
class Folds:
    """Which patient is held out in which fold.

    Attributes:
        of_patient: fold number, 0 to ``count - 1``, for each patient.
        count: how many folds.
        seed: of the shuffle.
    """

    of_patient: dict[str, int]
    count: int
    seed: int

    @property
    def hash(self) -> str:
        """SHA-256 of the assignment: equal for equal folds, whatever file they came from."""
        text = json.dumps(sorted(self.of_patient.items()))
        return hashlib.sha256(text.encode()).hexdigest()

    def held_out(self, knees: Sequence[Knee], fold: int) -> Mask:
        """``(N,)`` mask of the knees that ``fold`` holds out.

        Raises:
            InvalidManifest: a patient has no fold, or the fold does not exist.
        """
        if not 0 <= fold < self.count:
            raise InvalidManifest(
                f"fold {fold}", "does not exist", f"Folds run from 0 to {self.count - 1}"
            )
        unknown = {knee.patient for knee in knees} - self.of_patient.keys()
        if unknown:
            raise InvalidManifest(
                "folds", f"{len(unknown)} patients have no fold", "Make new folds for this data"
            )
        return np.array([self.of_patient[knee.patient] == fold for knee in knees], dtype=np.bool_)


def make_folds(knees: Sequence[Knee], count: int = 5, seed: int = 42) -> Folds:
    """Assign patients to folds so that each fold has the same share of every grade.

    A grade with fewer knees than there are folds is missing from some of them.

    Args:
        knees: graded; their order does not matter.
        count: folds.
        seed: of the shuffle.

    Raises:
        InvalidManifest: fewer than two folds, fewer patients than folds, fewer knees than folds
            in every grade, or a knee without a grade.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    problem = _why_not(knees, count)
    if problem:
        raise InvalidManifest(
            "folds", problem, "Grade every knee, and make as many folds as the patients can fill"
        )
    ordered = sorted(knees, key=lambda knee: (knee.image.name, knee.image.as_posix()))
    patients = np.array([knee.patient for knee in ordered])
    grades = np.array([int(knee.grade or 0) for knee in ordered])
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    of_patient: dict[str, int] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, held_out) in enumerate(splitter.split(grades, grades, patients)):
            of_patient.update((str(patient), fold) for patient in patients[held_out])
    return Folds(of_patient, count, seed)


def _why_not(knees: Sequence[Knee], count: int) -> str:
    """What keeps the knees from being split into so many folds; empty where nothing does."""
    patients = len({knee.patient for knee in knees})
    ungraded = sum(knee.grade is None for knee in knees)
    if count < 2:
        return f"{count} folds leave nothing to learn from"
    if ungraded:
        return f"{ungraded} knees have no grade"
    if patients < count:
        return f"{patients} patients cannot fill {count} folds"
    if max(Counter(knee.grade for knee in knees).values()) < count:
        return f"no grade has {count} knees, one for each fold"
    return ""


def folds_text(folds: Folds) -> str:
    """Folds as JSON with their hash."""
    content = {
        "count": folds.count,
        "seed": folds.seed,
        "hash": folds.hash,
        "of_patient": dict(sorted(folds.of_patient.items())),
    }
    return json.dumps(content, indent=0)


def save_folds(folds: Folds, path: Path) -> None:
    """Write folds as JSON with their hash."""
    with written_whole(path) as stream:
        stream.write(folds_text(folds))


def load_folds(path: Path) -> Folds:
    """Read folds and check their hash.

    Raises:
        InvalidManifest: not such a file, or its hash or count does not fit.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        folds = Folds(content["of_patient"], content["count"], content["seed"])
        numbers_fit = set(folds.of_patient.values()) == set(range(folds.count))
        intact = numbers_fit and folds.hash == content["hash"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidManifest(
            path, f"is not a file of folds ({type(error).__name__})", "Make it with data folds"
        ) from None
    if not intact:
        raise InvalidManifest(
            path, "the hash or the count does not fit the folds", "Restore the original file"
        )
    return folds
