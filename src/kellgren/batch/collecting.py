"""The files that paths, folders and patterns stand for, and what is skipped among them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from kellgren.imaging.search import OWN, Skipped, walked, why_skipped
from kellgren.scratch import sorted_on_disk


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a batch.

    Attributes:
        path: as it is opened.
        place: its path below the folder that was given; of a file given by itself, its name.
    """

    path: str
    place: str


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
    """Find the files that paths, folders and glob patterns stand for; see `found_files`."""
    places: dict[str, str] = {}
    skipped: dict[str, Skipped] = {}
    for file in found_files(paths):
        if isinstance(file, Skipped):
            skipped[file.path] = file
        else:
            places.setdefault(file.path, file.place)
    return Collected(places, tuple(skipped.values()))


def found_files(paths: Iterable[str]) -> Iterator[Found | Skipped]:
    """Find the files that paths, folders and glob patterns stand for, one by one as they are asked.

    In folders, files are taken by their content; a file that is named, or matches a pattern, is
    taken whatever it holds. A path that matches nothing stays in the list, so that it is reported
    like an unreadable file. What is given twice comes twice.
    """
    for given in paths:
        if os.path.isdir(given):
            for path, why in walked(Path(given)):
                if why:
                    yield Skipped(str(path), why)
                else:
                    yield Found(str(path), str(path.relative_to(given)))
            continue
        for name in _matches(given):
            if why_skipped(Path(name)) == OWN:
                yield Skipped(name, OWN)
            else:
                yield Found(name, Path(name).name)


def _matches(given: str) -> Iterator[str]:
    """The files that a pattern stands for; the path itself where it is none or matches nothing."""
    if os.path.exists(given) or not glob.has_magic(given) or "\0" in given:
        yield given
        return
    found = ((match, "") for match in glob.iglob(given, recursive=True))
    matches = (match for match, _ in sorted_on_disk(found) if not os.path.isdir(match))
    yield from chain([next(matches, given)], matches)
