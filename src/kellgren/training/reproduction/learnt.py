"""Whom a campaign's runs learnt from: their patients, and their pictures as far as they lie there.

A fold holds out what the other folds learn from, so every knee of the folds was learnt from by some
run, and none of them may be a test knee.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kellgren.artefacts import file_checksum
from kellgren.data.manifest import Knee
from kellgren.data.splits import load_folds
from kellgren.errors import TrainingError
from kellgren.file_names import patient_and_side
from kellgren.training.run_folder import FOLDS, OUT_OF_FOLD
from kellgren.training.selection.out_of_fold import Run
from kellgren.training.selection.unseen import refuse_learnt


@dataclass(frozen=True)
class Learnt:
    """What runs learnt from.

    Attributes:
        patients: those that the folds deal, and those that the tables' files are named after.
        pictures: files that the runs' tables name and that still lie there.
        gone: how many of those files lie elsewhere now.
    """

    patients: frozenset[str]
    pictures: tuple[Path, ...]
    gone: int


def learnt_by(runs: Sequence[Run]) -> Learnt:
    """Read whom runs learnt from, from their folds and tables.

    Raises:
        TrainingError: a run's folds are not there, or not those it was trained with.
        InvalidManifest: they are damaged.
    """
    patients: set[str] = set()
    pictures: dict[Path, bool] = {}
    for run in runs:
        patients |= _patients(run)
        if (run.folder / OUT_OF_FOLD).is_file():
            with (run.folder / OUT_OF_FOLD).open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    picture = Path(row["image"])
                    patients.add(patient_and_side(picture)[0])
                    if picture not in pictures:
                        pictures[picture] = picture.is_file()
    there = tuple(picture for picture, is_there in pictures.items() if is_there)
    return Learnt(frozenset(patients), there, len(pictures) - len(there))


def check_unseen(knees: Sequence[Knee], learnt: Learnt, subject: Path) -> None:
    """Refuse knees that runs learnt from, by patient and by the content of the files.

    Args:
        knees: to be predicted.
        learnt: from `learnt_by`.
        subject: the data that they come from, for the message.

    Raises:
        TrainingError: there are some.
    """
    refuse_learnt(knees, learnt.patients, subject)
    by_size: dict[int, list[Path]] = defaultdict(list)
    for picture in learnt.pictures:
        by_size[picture.stat().st_size].append(picture)
    hashes: dict[Path, str] = {}
    copies = []
    for knee in knees:
        alike = by_size.get(knee.image.stat().st_size, []) if knee.image.is_file() else []
        twin = next((it for it in alike if _hash(it, hashes) == _hash(knee.image, hashes)), None)
        if twin is not None:
            copies.append((knee.image, twin))
    if copies:
        image, twin = copies[0]
        raise TrainingError(
            subject,
            f"{len(copies)} of {len(knees)} pictures are copies of some that runs learnt from, "
            f"such as {image.name} of {twin.name}",
            "Leave them out",
        )


def _patients(run: Run) -> frozenset[str]:
    """All that the folds of a run deal: its own file of folds, or its campaign's."""
    places = (run.folder / FOLDS, run.folder.parent.parent / FOLDS)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise TrainingError(
            run.folder,
            f"has no {FOLDS}, neither itself nor its campaign: whom it learnt from is not known",
            "Restore the file",
        )
    folds = load_folds(path)
    if folds.hash != run.facts["folds_hash"]:
        raise TrainingError(
            path, f"holds other folds than {run.folder.name} was trained with", "Restore the file"
        )
    return frozenset(folds.of_patient)


def _hash(path: Path, known: dict[Path, str]) -> str:
    if path not in known:
        known[path] = file_checksum(path)
    return known[path]
