"""Knees that lie in folders named after their grades, as the published sets do, or alike."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from kellgren.file_names import patient_and_side
from kellgren.grades import Grade, Side
from kellgren.imaging.search import HIDDEN, Skipped, search

SPLITS = ("train", "val", "test", "auto_test")

OnSkipped = Callable[[Sequence[Skipped]], None]
Row = tuple[Path, str, Side, Grade, str, str]
"""Image, patient, side, grade, split and source."""

_GRADE_FOLDER = re.compile(r"^(?:kl|grade)?[-_ ]?([0-4])(?:[-_ ].*)?$", re.IGNORECASE)
_AUTO_TEST_NAME = re.compile(r"^\d{7}_[12]$")
_UNGRADED = "beside the folders named after grades"
_UNSPLIT = "beside the folders train, val, test and auto_test"


def knees_in(root: Path, on_skipped: OnSkipped) -> Iterator[Row]:
    """The knees of a folder; none where it has no layout that is known.

    Args:
        root: with ``{train,val,test,auto_test}/{0..4}/``, one of these splits, or with a folder
            per grade.
        on_skipped: called with what is passed over: files that are no radiographs, and files and
            folders of no grade or split.
    """
    name = _true_name(root)
    splits = {name: root} if name in SPLITS else {split: root / split for split in SPLITS}
    there = {split: folder for split, folder in splits.items() if folder.is_dir()}
    published = False
    for split, folder in there.items():
        for row in _one_folder_per_grade(folder, split, _source(folder / ".."), on_skipped):
            published = True
            yield row
    if not published:
        yield from _one_folder_per_grade(root, "", name, on_skipped)
    elif name not in SPLITS:
        on_skipped(_others(root, there.values(), _UNSPLIT))


def looks_like_auto_test(image: Path) -> bool:
    """Whether a file is one of the published automatic re-crops of test knees."""
    return "auto_test" in image.parts or _AUTO_TEST_NAME.match(image.stem) is not None


def _one_folder_per_grade(
    root: Path, split: str, source: str, on_skipped: OnSkipped
) -> Iterator[Row]:
    grades = {path: _GRADE_FOLDER.match(path.name) for path in root.iterdir() if path.is_dir()}
    of_grades = {path: int(found[1]) for path, found in sorted(grades.items()) if found}
    if of_grades:
        on_skipped(_others(root, of_grades, _UNGRADED))
    for folder, grade in of_grades.items():
        found = search(folder)
        on_skipped(found.skipped)
        for image in found.images:
            patient, side = patient_and_side(image)
            if split == "auto_test" and _AUTO_TEST_NAME.match(image.stem):
                patient = image.stem[:-2]
            yield image, patient, side, Grade(grade), split, source


def _others(root: Path, known: Collection[Path], why: str) -> list[Skipped]:
    """What else lies in a folder."""
    others = sorted(path for path in root.iterdir() if path not in known)
    return [Skipped(str(path), HIDDEN if path.name.startswith(".") else why) for path in others]


def _true_name(folder: Path) -> str:
    """The folder's own name, also where it is named ``.``, as after ``cd test``."""
    return Path(os.path.abspath(folder)).name


def _source(root: Path) -> str:
    name = _true_name(root)
    return "chen2018" if not name.startswith("kneeKL") else f"chen2018-{name[6:]}"
