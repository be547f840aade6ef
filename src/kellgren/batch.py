"""Many files: find them, read them side by side, keep what is done, never stop for one bad file."""

from __future__ import annotations

import csv
import glob
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import IO, Any, Protocol

from kellgren.errors import KellgrenError, UnreadableRadiograph
from kellgren.files import replaced_whole, written_whole
from kellgren.grades import Side
from kellgren.pipeline import Ensemble, KneeReading
from kellgren.radiograph import SUFFIXES

COLUMNS = (
    *("image", "side", "grade", "p0", "p1", "p2", "p3", "p4"),
    *("name", "certainty", "likely_low", "likely_high", "warnings", "note"),
)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes:
        image: the path as given.
        readings: of its knees; empty when it could not be graded.
        note: why not.
    """

    image: str
    readings: tuple[KneeReading, ...] = ()
    note: str = ""

    def rows(self) -> list[Row]:
        """One row a knee, or one with the reason."""
        if self.readings:
            return [{**reading.to_dict(), "note": ""} for reading in self.readings]
        return [{"image": self.image, "side": "", "grade": None, "note": self.note}]

    def warned(self, warnings: Sequence[str]) -> Outcome:
        """The same with more warnings on every knee."""
        readings = (replace(r, warnings=(*r.warnings, *warnings)) for r in self.readings)
        return replace(self, readings=tuple(readings))


def collect(paths: Sequence[str]) -> list[str]:
    """The files that paths, folders and glob patterns stand for, in their order, none twice.

    A path that matches nothing stays in the list, so that it is reported like a bad file.
    """
    found: dict[str, None] = {}
    for given in paths:
        if os.path.isdir(given):
            files = sorted(p for p in Path(given).rglob("*") if _is_picture(p))
            found.update(dict.fromkeys(str(p) for p in files))
        elif not os.path.exists(given) and glob.has_magic(given):
            matches = sorted(glob.glob(given, recursive=True))
            found.update(dict.fromkeys([m for m in matches if not os.path.isdir(m)] or [given]))
        else:
            found[given] = None
    return list(found)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")


def grade_file(ensemble: Ensemble, image: str, side: Side = Side.UNKNOWN) -> Outcome:
    """Grade one file; what is wrong with it becomes the outcome's note."""
    try:
        return Outcome(image, tuple(ensemble.read(image, side)))
    except KellgrenError as error:
        return Outcome(image, note=error.reason)
    except MemoryError:
        refused = UnreadableRadiograph(
            image, "is too large for this machine's memory", "Grade it on a larger machine"
        )
        return Outcome(image, note=refused.reason)


def grade_files(
    ensemble: Ensemble, images: Iterable[str], *, side: Side = Side.UNKNOWN, workers: int = 1
) -> Iterator[Outcome]:
    """Grade files side by side, and hand them over in their order.

    Never more than a few files per worker are in memory.

    Args:
        ensemble: its engine should use one thread when there are several workers.
        images: paths.
        side: of every knee, if the caller knows it.
        workers: how many files at a time.
    """
    waiting = iter(images)
    with ThreadPoolExecutor(workers) as pool:

        def submit(count: int) -> list[Future[Outcome]]:
            return [
                pool.submit(grade_file, ensemble, image, side) for image in islice(waiting, count)
            ]

        under_way = submit(2 * workers)
        while under_way:
            yield under_way.pop(0).result()
            under_way += submit(1)


class Journal:
    """Rows kept on disk as they come, so that an interrupted batch goes on where it was.

    Args:
        path: of the journal, beside the table it will become; ``None`` keeps rows in memory only.
        resume: take over the rows of an earlier, interrupted batch.
        model: of the readings; rows of another model are not taken over.
    """

    def __init__(self, path: Path | None, *, resume: bool, model: dict[str, str]) -> None:
        self.rows: list[Row] = []
        self._path = path
        self._stream: IO[str] | None = None
        if path is None:
            return
        if resume and path.is_file():
            self.rows = _intact_rows(path, model)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as stream:
            stream.writelines(_line(row) for row in self.rows)
        self._stream = path.open("a", encoding="utf-8")

    @property
    def done(self) -> set[str]:
        """Images that need no second look."""
        return {row["image"] for row in self.rows}

    def add(self, outcome: Outcome) -> list[Row]:
        """Keep an outcome's rows and return them."""
        rows = outcome.rows()
        self.rows += rows
        if self._stream is not None:
            self._stream.writelines(_line(row) for row in rows)
            self._stream.flush()
        return rows

    def close(self) -> None:
        """Let go of the file, and leave it to whoever resumes."""
        if self._stream is not None:
            self._stream.close()

    def discard(self) -> None:
        """Delete the file: not before the tables it stands in for are written."""
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """Write the table of readings; ``-`` is standard output."""
    if str(path) == "-":
        _csv_rows(rows, sys.stdout)
        return
    with written_whole(path) as stream:
        _csv_rows(rows, stream)


def write_json(rows: Iterable[Row], model: dict[str, str], path: Path) -> None:
    """Write all readings as one JSON document; ``-`` is standard output."""
    content = {
        "notice": "Research software, not a medical device.",
        "model": model,
        "readings": [{k: v for k, v in row.items() if k != "model"} for row in rows],
    }
    text = json.dumps(content, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    with written_whole(path) as stream:
        stream.write(text)


class ReadingFolder(Protocol):
    """Where something is written for each file that was graded."""

    def save(self, readings: Sequence[KneeReading]) -> list[str]:
        """Write what belongs to one file's readings; sentences on what could not be written."""


class OverlayFolder:
    """A folder of pictures, one for each knee, named after its file; equal names are numbered.

    Args:
        folder: made if it is not there.
        images: of the whole batch, so that a resumed one gives out the same names again.
    """

    def __init__(self, folder: Path, images: Sequence[str]) -> None:
        self._folder = folder
        self._names = _distinct_names(images)
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, readings: Sequence[KneeReading]) -> list[str]:
        """Write the pictures of one file's readings; there is nothing to warn of."""
        for number, reading in enumerate(readings, start=1):
            name = self._names[reading.image] + (f" knee {number}" if len(readings) > 1 else "")
            with replaced_whole(self._folder / f"{name}.png") as temporary:
                temporary.write_bytes(reading.overlay())
        return []


def _distinct_names(images: Sequence[str]) -> dict[str, str]:
    """A name for each path: its stem, or its stem and a number where that is taken."""
    taken: set[str] = set()
    candidates: dict[str, Iterator[str]] = {}
    names = {}
    for image in images:
        stem = Path(image).stem
        numbered = candidates.setdefault(stem, _numbered(stem))
        names[image] = next(name for name in numbered if name.casefold() not in taken)
        taken.add(names[image].casefold())
    return names


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    for number in count(2):
        yield f"{stem}-{number}"


def grade_batch(
    ensemble: Ensemble,
    images: Sequence[str],
    journal: Journal,
    *,
    side: Side = Side.UNKNOWN,
    folders: Sequence[ReadingFolder] = (),
    workers: int = 1,
    tell: Callable[[list[Row]], None] = lambda rows: None,
) -> list[Row]:
    """Grade what the journal does not hold yet.

    Args:
        ensemble: reads.
        images: paths, in the order of the result.
        journal: keeps each file's rows as soon as they are there.
        side: of every knee, if the caller knows it.
        folders: where what is made of the readings goes.
        workers: files at a time.
        tell: called with each file's rows.

    Returns:
        All rows in the order of the images.
    """
    done = journal.done
    try:
        for outcome in grade_files(
            ensemble, [image for image in images if image not in done], side=side, workers=workers
        ):
            for folder in folders:
                outcome = outcome.warned(folder.save(outcome.readings))
            tell(journal.add(outcome))
    finally:
        journal.close()
    place = {image: position for position, image in enumerate(images)}
    return sorted((r for r in journal.rows if r["image"] in place), key=lambda r: place[r["image"]])


def _csv_rows(rows: Iterable[Row], stream: IO[str]) -> None:
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        flat = dict(row)
        if row["grade"] is not None:
            flat.update({f"p{g}": f"{p:.6f}" for g, p in enumerate(row["probabilities"])})
            flat["likely_low"], flat["likely_high"] = row["likely"]
            flat["warnings"] = "; ".join(row["warnings"])
        writer.writerow(flat)


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def _intact_rows(path: Path, model: dict[str, str]) -> list[Row]:
    """Rows of an interrupted batch: without a last line cut short, and graded by this model."""
    rows: list[Row] = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        with suppress(json.JSONDecodeError, TypeError, KeyError):
            row = json.loads(line)
            if row["grade"] is not None and row["model"] == model:
                rows.append(row)
    return rows
