"""The files that paths, folders and patterns stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from kellgren.imaging.own_sheets import begins_as_own_sheet
from kellgren.imaging.picture import SUFFIXES


def collect(
    paths: Sequence[str], on_own_sheet: Callable[[str], None] = lambda path: None
) -> list[str]:
    """The files that paths, folders and glob patterns stand for, in their order, none twice.

    A path that matches nothing stays in the list, so that it is reported like an unreadable file.

    Args:
        paths: as given.
        on_own_sheet: called with each picture in a folder, or that fits a pattern, which this
            software drew itself; it is left out.
    """
    images: dict[str, None] = {}
    for given in paths:
        if os.path.isdir(given):
            files = sorted(p for p in Path(given).rglob("*") if _is_picture(p))
            images.update(dict.fromkeys(_without_sheets(map(str, files), on_own_sheet)))
        elif not os.path.exists(given) and glob.has_magic(given):
            matches = sorted(glob.glob(given, recursive=True))
            matches = [match for match in matches if not os.path.isdir(match)] or [given]
            images.update(dict.fromkeys(_without_sheets(matches, on_own_sheet)))
        else:
            images[given] = None
    return list(images)


def _without_sheets(paths: Iterable[str], on_own_sheet: Callable[[str], None]) -> Iterator[str]:
    for path in paths:
        if begins_as_own_sheet(Path(path)):
            on_own_sheet(path)
        else:
            yield path


def _is_picture(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    return path.suffix.lower() in SUFFIXES or _is_unnamed_dicom(path)


def _is_unnamed_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content, as archives export them: without a suffix."""
    if path.name.upper() == "DICOMDIR":  # the directory of such a disk, no picture
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False
