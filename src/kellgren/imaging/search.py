"""The radiographs in a folder, found by their content, and what else lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from kellgren.exchange.own_output import is_own_output
from kellgren.imaging.picture import HEAD_BYTES, SUFFIXES, RejectedPicture, sniffed_format
from kellgren.scratch import sorted_on_disk

OWN = "pictures and objects that kellgren wrote itself"
DIRECTORY = "tables of contents of DICOM media (DICOMDIR)"
OTHER = "files of other kinds"
HIDDEN = "hidden files and folders"
SPECIAL = "pipes, sockets or devices"
LINKED = "links to folders, which are not followed"
BROKEN = "links that lead nowhere"

# Media Storage Directory Storage, in the first elements of the file.
_DIRECTORY_CLASS = b"1.2.840.10008.1.3.10"
_FILE_META_BYTES = 512
_FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not taken for a radiograph, and why: one of the constants above."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Search:
    """What a folder holds, at any depth, in the order of the paths.

    Attributes:
        images: files with the content, or at least the name, of a PNG, JPEG, TIFF or DICOM file;
            and files and folders that cannot be read, so that they are reported one by one.
        skipped: all other files.
    """

    images: tuple[Path, ...]
    skipped: tuple[Skipped, ...]


def search(folder: Path) -> Search:
    """Look into every file of a folder, at any depth; hidden ones and links to folders apart."""
    images: list[Path] = []
    skipped: list[Skipped] = []
    for path, why in walked(folder):
        if why == "":
            images.append(path)
        else:
            skipped.append(Skipped(str(path), why))
    return Search(tuple(images), tuple(skipped))


def walked(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file, folder that cannot be listed, and link to a folder; and why it is skipped.

    Hidden folders are not looked into: thumbnails, trash, environments of programs.
    They come in the order of their paths, each looked into when it is its turn: the names of one
    folder at a time are listed, on disk.
    """
    try:
        with os.scandir(folder) as entries:
            named = sorted_on_disk((entry.name, _kind(entry)) for entry in entries)
            # Taken here, while the folder is open: listing it may fail too.
            first = next(named, None)
    except OSError:
        yield folder, ""
        return
    for name, kind in () if first is None else chain((first,), named):
        path = folder / name
        if name.startswith("."):
            yield path, HIDDEN
        elif kind == _FOLDER:
            yield from walked(path)
        else:
            yield path, kind or why_skipped(path)


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        is_folder = entry.is_dir()
    except OSError:
        return ""
    if not is_folder:
        return ""
    return LINKED if entry.is_symlink() else _FOLDER


def why_skipped(path: Path) -> str:
    """Why a file is not taken for a radiograph; empty: it is one, or cannot be opened.

    Damaged files are taken that have the suffix of a radiograph: each of them is reported then.
    """
    named = path.suffix.lower() in SUFFIXES
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return SPECIAL
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except (OSError, ValueError):  # no path holds a NUL, but a list of paths may
        return BROKEN if path.is_symlink() and not named else ""
    if is_own_output(head):
        return OWN
    if _DIRECTORY_CLASS in head[:_FILE_META_BYTES]:
        return DIRECTORY
    try:
        sniffed_format(head)
    except RejectedPicture:
        return "" if named else OTHER
    return ""
