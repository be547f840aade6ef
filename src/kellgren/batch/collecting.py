"""The files that paths, folders and patterns stand for, and what is skipped among them."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kellgren.imaging.search import OWN, Skipped, search, why_skipped


@dataclass(frozen=True, slots=True)
class Collected:
    """The files of a batch.

    Attributes:
        places: by the path of each file, in their order, its path below the folder that was given;
            of a file given by itself, its name.
        skipped: files in folders that are no radiographs, and this program's own output.
    """

    places: dict[str, str]
    skipped: tuple[Skipped, ...]

    @property
    def images(self) -> list[str]:
        """The paths of the files, none twice."""
        return list(self.places)


def collect(paths: Sequence[str]) -> Collected:
    """Find the files that paths, folders and glob patterns stand for.

    In folders, files are taken by their content; a file that is named, or matches a pattern, is
    taken whatever it holds. A path that matches nothing stays in the list, so that it is reported
    like an unreadable file.
    """
    places: dict[str, str] = {}
    skipped: dict[str, Skipped] = {}
    for given in paths:
        if os.path.isdir(given):
            found = search(Path(given))
            skipped |= {file.path: file for file in found.skipped}
            for path in found.images:
                places.setdefault(str(path), str(path.relative_to(given)))
            continue
        for name in _matches(given):
            if why_skipped(Path(name)) == OWN:
                skipped[name] = Skipped(name, OWN)
            else:
                places.setdefault(name, Path(name).name)
    return Collected(places, tuple(skipped.values()))


def _matches(given: str) -> list[str]:
    """The files that a pattern stands for; the path itself where it is none or matches nothing."""
    if os.path.exists(given) or not glob.has_magic(given):
        return [given]
    matches = sorted(glob.glob(given, recursive=True))
    return [match for match in matches if not os.path.isdir(match)] or [given]
