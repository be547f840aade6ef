"""Decoded knees on disk: mapped into memory by every job and runner of a machine, made once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from kellgren.data.manifest import Knee
from kellgren.errors import KellgrenError
from kellgren.grading.preprocess import Preprocess
from kellgren.training.input.decoding import (
    STEPS,
    Planes,
    Rest,
    checksum,
    decode_into,
    decoded,
    refuse_unreadable,
)

_FORMAT = b"kellgren planes 1\n"
_PAGE = 4096
_PROBES = 3
_UNUSED_DAYS = 14
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Store:
    """The knees of a data set as a network sees them.

    Attributes:
        planes: ``(N, S, S)`` uint8 in steps of 1/255: what is learnt from.
        rest: ``(N, S, S)`` int8, what that rounding left out: what is predicted sees both.
    """

    planes: Planes
    rest: Rest

    def exact(self, chosen: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.float32]:
        """The planes that grading sees, ``(n, S, S)`` float32 in 0..1, to 2.3e-5."""
        whole = self.planes[chosen].astype(np.float32) * STEPS + self.rest[chosen]
        return whole / np.float32(255 * STEPS)


def cached_store(
    knees: Sequence[Knee], preprocess: Preprocess, folder: Path, advance: Advance, processes: int
) -> Store:
    """Map the decoded knees, decoding them first where nobody has.

    Whoever needs the same knees at the same time waits for the one who decodes them. The file
    appears whole or not at all; a damaged one is made anew, and so is one whose planes are not
    what this version decodes. Files that nobody used for two weeks are deleted.

    Args:
        knees: their images' paths, sizes and times of change, their sides and their order are the
            file's name. Hashing the contents instead would read a third of a gigabyte a job.
        preprocess: of the member.
        folder: of the cache.
        advance: called with how many of how many are decoded.
        processes: that decode.

    Raises:
        UnreadableRadiograph: an image that does not decode.
        OSError: the cache cannot be written.
        TrainingError: a decoding process was killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"planes-{preprocess.size}-{_key(knees, preprocess)[:24]}.bin"
    mapped = _mapped(path, knees, preprocess)
    if mapped is None:
        with FileLock(path.with_suffix(".lock")):
            mapped = _mapped(path, knees, preprocess)  # else somebody made it while we waited
            if mapped is None:
                _clean(folder, path)
                _build(path, knees, preprocess, advance, processes)
                mapped = _mapped(path, knees, preprocess)
    if mapped is None:
        raise OSError(5, "what was written is not what is read back", str(path))
    os.utime(path)
    return mapped


def memory_store(
    knees: Sequence[Knee], preprocess: Preprocess, advance: Advance = lambda done, of: None
) -> Store:
    """Decode knees in this process, into memory.

    Raises:
        UnreadableRadiograph: images do not decode; raised when all others are.
        MemoryError: the planes do not fit.
    """
    shape = (len(knees), preprocess.size, preprocess.size)
    store = Store(np.empty(shape, np.uint8), np.empty(shape, np.int8))
    unreadable: list[KellgrenError] = []
    for position, knee in enumerate(knees):
        try:
            plane, rest = decoded(knee.image, knee.side, preprocess)
        except KellgrenError as error:
            unreadable.append(error)
            continue
        store.planes[position], store.rest[position] = plane, rest
        advance(position + 1, len(knees))
    refuse_unreadable(unreadable, len(knees))
    return store


def _key(knees: Sequence[Knee], preprocess: Preprocess) -> str:
    seen = preprocess.model_dump(include={"size", "mirror_left", "level"})
    rows = []
    for knee in knees:
        try:
            facts = knee.image.stat()
            changed = (facts.st_size, facts.st_mtime_ns)
        except OSError:
            changed = (-1, -1)  # decoding will say what is wrong
        rows.append((os.path.abspath(knee.image), *changed, knee.side.value))
    return hashlib.sha256(json.dumps([seen, rows]).encode()).hexdigest()


def _starts(count: int, size: int) -> tuple[int, int, int]:
    """Where the sums, the planes and the rest begin; the length is one block more."""
    sums = len(_FORMAT) + 16
    planes = (sums // 8 + 1) * 8 + count * 16
    planes += -planes % _PAGE
    block = count * size * size
    return (sums // 8 + 1) * 8, planes, planes + block + -block % _PAGE


def _mapped(path: Path, knees: Sequence[Knee], preprocess: Preprocess) -> Store | None:
    """The file's planes, if it is there, whole, and what would be decoded now."""
    count, size = len(knees), preprocess.size
    sums_at, planes_at, rest_at = _starts(count, size)
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size != rest_at + count * size * size:
                return None
            if stream.read(len(_FORMAT) + 16) != _head(count, size):
                return None
            stream.seek(sums_at)
            sums = np.frombuffer(stream.read(count * 16), np.uint64).reshape(count, 2)
    except OSError:
        return None
    shape = (count, size, size)
    # copied on write: torch takes it without a warning, and the file stays as it is
    planes = np.memmap(path, np.uint8, "c", planes_at, shape)
    store = Store(planes, np.memmap(path, np.int8, "c", rest_at, shape))
    parts = ((checksum(p), checksum(r)) for p, r in zip(store.planes, store.rest, strict=True))
    if any(
        computed != tuple(stored) for computed, stored in zip(parts, sums.tolist(), strict=True)
    ):
        return None
    return store if _is_current(store, knees, preprocess) else None


def _is_current(store: Store, knees: Sequence[Knee], preprocess: Preprocess) -> bool:
    """Whether a few knees, decoded again, are the same: another version may see them otherwise."""
    for position in np.linspace(0, len(knees) - 1, _PROBES).astype(int):
        plane, rest = decoded(knees[position].image, knees[position].side, preprocess)
        if not np.array_equal(store.planes[position], plane):
            return False
        if not np.array_equal(store.rest[position], rest):
            return False
    return True


def _head(count: int, size: int) -> bytes:
    return _FORMAT + count.to_bytes(8, "little") + size.to_bytes(8, "little")


def _build(
    path: Path, knees: Sequence[Knee], preprocess: Preprocess, advance: Advance, processes: int
) -> None:
    count, size = len(knees), preprocess.size
    sums_at, planes_at, rest_at = _starts(count, size)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    draft = Path(name)  # readable by its owner alone: these are pictures of patients
    try:
        with open(handle, "r+b") as stream:
            _reserve(stream, rest_at + count * size * size)
            sums = np.zeros((count, 2), np.uint64)
            decoded = decode_into(draft, (planes_at, rest_at), knees, preprocess, processes)
            for done, (position, sums_of_knee) in enumerate(decoded, start=1):
                sums[position] = sums_of_knee
                advance(done, count)
            stream.write(_head(count, size))
            stream.seek(sums_at)
            stream.write(sums.tobytes())
        draft.replace(path)  # not flushed to the disk first: what a crash damages, the sums notice
    finally:
        draft.unlink(missing_ok=True)


def _reserve(stream: IO[bytes], length: int) -> None:
    """Make the file that long; a disk that is too full is noticed now, not minutes later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, length)
    stream.truncate(length)


def _clean(folder: Path, path: Path) -> None:
    """Delete what a killed process left of this file, and files that nobody used for long."""
    for left in folder.glob(f".{path.stem}.*"):
        left.unlink(missing_ok=True)
    for other in folder.glob("planes-*.bin"):
        try:
            if time.time() - other.stat().st_mtime > _UNUSED_DAYS * 86400:
                other.unlink()
        except OSError:
            continue  # in use, where the system does not delete such files, or gone
