"""Knees on their way to another machine: packed with their folders, unpacked byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kellgren.archives import (
    Advance,
    Contents,
    Kind,
    Pack,
    PackedFile,
    describe,
    draft_in,
    extract,
    find_packs,
    verify,
    write_pack,
)
from kellgren.data.manifest import for_training, index
from kellgren.errors import InvalidPack


@dataclass(frozen=True)
class Unpacked:
    """What was done with a pack's files: their names.

    Attributes:
        written: files that were not there.
        kept: files that were there, and equal.
    """

    written: tuple[str, ...]
    kept: tuple[str, ...]


def pack_knees(
    source: Path,
    out: Path,
    piece_bytes: int,
    *,
    training_only: bool = False,
    advance: Advance = lambda done, of: None,
) -> Contents:
    """Pack the pictures of a data set with their folders, and its manifest where it is one.

    Args:
        source: folder of knees, or a manifest whose pictures lie in its folder or below.
        out: new or empty folder.
        piece_bytes: most bytes of a piece.
        training_only: leave out the test splits, of which training takes nothing.
        advance: called with the bytes packed so far, and of how many.

    Raises:
        InvalidManifest: the source is neither.
        InvalidPack: a picture lies outside the manifest's folder, or cannot be read.
    """
    knees = index(source)
    if training_only:
        knees = for_training(knees, source)
    is_table = source.is_file()
    root = source.parent if is_table else source
    paths = [source] if is_table else []
    paths += sorted({knee.image for knee in knees})
    return write_pack(
        "knees",
        source.stem if is_table else source.resolve().name,
        [(_described(path, root), path) for path in paths],
        out,
        piece_bytes,
        advance,
    )


def unpack(
    paths: Sequence[Path],
    out: Path,
    kind: Kind = "knees",
    advance: Advance = lambda done, of: None,
) -> Unpacked:
    """Write the files of packs into a folder; equal files that lie there stay.

    Every piece is checked before a file is written.

    Args:
        paths: manifests, pieces, or folders of them.
        out: new, empty, or of an earlier unpacking.
        kind: of the packs.
        advance: called with the bytes of a pack read so far, and of how many.

    Raises:
        InvalidPack: a piece is missing or damaged, or another file lies where one should.
    """
    packs = find_packs(paths, kind)
    for pack in packs:
        verify(pack)
    written: list[str] = []
    kept: list[str] = []
    for pack in packs:
        there = _already_there(pack, out)
        wanted = {file.name for file in pack.contents.packed} - there
        if wanted:
            with draft_in(out) as draft:
                extract(pack, draft, wanted, advance)
                _move(draft, out, sorted(wanted))
        written += sorted(wanted)
        kept += sorted(there)
    return Unpacked(tuple(written), tuple(kept))


def _described(path: Path, root: Path) -> PackedFile:
    try:
        return describe(path.relative_to(root).as_posix(), path)
    except ValueError:
        raise InvalidPack(
            path, f"does not lie in {root.resolve()}", "Put the manifest above its pictures"
        ) from None
    except OSError as error:
        raise InvalidPack(
            path, f"cannot be read ({error.strerror})", "Mend the data set; data check lists all"
        ) from None


def _already_there(pack: Pack, out: Path) -> set[str]:
    """Names of the files that lie there already."""
    there = {file for file in pack.contents.packed if (out / file.name).exists()}
    different = sorted(
        file.name
        for file in there
        if not (out / file.name).is_file() or describe(file.name, out / file.name) != file
    )
    if different:
        raise InvalidPack(
            out / different[0],
            f"is another file than the pack's ({len(different)} differ)",
            "Name another folder, or move these files away",
        )
    return {file.name for file in there}


def _move(draft: Path, out: Path, names: Sequence[str]) -> None:
    for name in names:
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (draft / name).replace(target)
