"""Folds balanced by grade that no patient straddles, or by knee as others dealt them; saved."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from kellgren.arrays import Mask
from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee
from kellgren.errors import InvalidManifest, cause

By = Literal["patient", "knee"]


@dataclass(frozen=True)
class Folds:
    """Which patient is held out in which fold; or, dealt by knee, which knee.

    Attributes:
        of_patient: fold number, 0 to ``count - 1``, for each patient; empty where knees are dealt.
        count: how many folds.
        seed: of the shuffle.
        of_knee: fold number for each knee, named by its file and side; empty where patients are
            dealt, as they are unless somebody asks otherwise.
    """

    of_patient: dict[str, int]
    count: int
    seed: int
    of_knee: dict[str, int] = field(default_factory=dict)

    @property
    def by(self) -> By:
        """What is dealt."""
        return "knee" if self.of_knee else "patient"

    @property
    def hash(self) -> str:
        """SHA-256 of the assignment: equal for equal folds, whatever file they came from."""
        dealt = sorted(self.of_patient.items())
        text = json.dumps({"of_knee": sorted(self.of_knee.items())} if self.of_knee else dealt)
        return hashlib.sha256(text.encode()).hexdigest()

    def held_out(self, knees: Sequence[Knee], fold: int) -> Mask:
        """``(N,)`` mask of the knees that ``fold`` holds out.

        Raises:
            InvalidManifest: a patient, or a knee, has no fold, or the fold does not exist.
        """
        if not 0 <= fold < self.count:
            raise InvalidManifest(
                f"fold {fold}", "does not exist", f"Folds run from 0 to {self.count - 1}"
            )
        return np.array([place == fold for place in self._places(knees)], dtype=np.bool_)

    def straddling(self, knees: Sequence[Knee]) -> int:
        """How many patients have knees in several folds: none, where patients are dealt.

        Raises:
            InvalidManifest: a patient, or a knee, has no fold.
        """
        places: dict[str, set[int]] = {}
        for knee, place in zip(knees, self._places(knees), strict=True):
            places.setdefault(knee.patient, set()).add(place)
        return sum(len(of_one) > 1 for of_one in places.values())

    def _places(self, knees: Sequence[Knee]) -> list[int]:
        """The fold of each knee."""
        of = self.of_knee or self.of_patient
        names = [_name(knee) if self.of_knee else knee.patient for knee in knees]
        unknown = set(names) - of.keys()
        if unknown:
            raise InvalidManifest(
                "folds", f"{len(unknown)} {self.by}s have no fold", "Make new folds for this data"
            )
        return [of[name] for name in names]


def leak_warning(folds: Folds, knees: Sequence[Knee]) -> str:
    """What is to be said of folds that patients straddle; empty where none does."""
    patients, straddling = len({knee.patient for knee in knees}), folds.straddling(knees)
    if not straddling:
        return ""
    return (
        f"warning: folds by {folds.by} leak: {straddling} of {patients} patients have knees in "
        "several folds, so members are scored on patients that they learnt from, and the scores "
        "come out too good; deal folds by patient unless you repeat another study"
    )


def make_folds(knees: Sequence[Knee], count: int = 5, seed: int = 42, by: By = "patient") -> Folds:
    """Assign patients to folds so that each fold has the same share of every grade.

    A grade with fewer knees than there are folds is missing from some of them.

    By knee, a patient's knees may fall into two folds, so that scores out of fold come out too
    good. The deal is then that of scikit-learn's ``StratifiedKFold(count, shuffle=True,
    random_state=seed)`` over the knees in the order of the published folders: by grade, then by
    file name.

    Args:
        knees: graded; their order does not matter.
        count: folds.
        seed: of the shuffle.
        by: what is dealt.

    Raises:
        InvalidManifest: fewer than two folds, fewer patients than folds, fewer knees than folds
            in every grade, a knee without a grade, or, by knee, two of the same name and side.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    problem = _why_not(knees, count, by)
    if problem:
        raise InvalidManifest(
            "folds", problem, "Grade every knee, and make as many folds as the patients can fill"
        )
    if by == "knee":
        return _by_knee(knees, count, seed)
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


def _by_knee(knees: Sequence[Knee], count: int, seed: int) -> Folds:
    from sklearn.model_selection import StratifiedKFold

    ordered = sorted(
        knees, key=lambda knee: (int(knee.grade or 0), knee.image.name, knee.side.value)
    )
    grades = np.array([int(knee.grade or 0) for knee in ordered])
    splitter = StratifiedKFold(n_splits=count, shuffle=True, random_state=seed)
    of_knee: dict[str, int] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, held_out) in enumerate(splitter.split(grades, grades)):
            of_knee.update((_name(ordered[place]), fold) for place in held_out.tolist())
    return Folds({}, count, seed, of_knee)


def _name(knee: Knee) -> str:
    """What a knee is called in folds that are dealt by knee; wherever its file lies."""
    return f"{knee.image.name} {knee.side.value}"


def _why_not(knees: Sequence[Knee], count: int, by: By) -> str:
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
    twice = len(knees) - len({_name(knee) for knee in knees})
    if by == "knee" and twice:
        return f"{twice} knees have the file name and side of another"
    return ""


def folds_text(folds: Folds) -> str:
    """Folds as JSON with their hash."""
    content = {
        "count": folds.count,
        "seed": folds.seed,
        "hash": folds.hash,
        "of_patient": dict(sorted(folds.of_patient.items())),
    }
    if folds.of_knee:
        content["of_knee"] = dict(sorted(folds.of_knee.items()))
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
        of_knee = dict(content.get("of_knee", {}))
        folds = Folds(content["of_patient"], content["count"], content["seed"], of_knee)
        dealt = folds.of_knee or folds.of_patient
        numbers_fit = set(dealt.values()) == set(range(folds.count))
        intact = numbers_fit and folds.hash == content["hash"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidManifest(
            path, f"is not a file of folds ({cause(error)})", "Make it with data folds"
        ) from None
    if not intact:
        raise InvalidManifest(
            path, "the hash or the count does not fit the folds", "Restore the original file"
        )
    return folds
