"""Mutated picture files: which are refused, graded with a warning, and graded wrongly.

    python benchmarks/mutated_files.py --count 100000 --dicom 10000 --record mutated.jsonl

Ten sound knees are stored in every format that is read (and two that are not), and each copy is
damaged at random: bytes of any format; tags, tables, strips and chunks, with checksums made anew;
and the stored values themselves, in formats that keep them. ``--dicom`` more files get what is
wrong within DICOM's structure only. Each is read, and searched for knees with all checks, as
`Ensemble.read` does before its networks see the knee; in a process for its kind, whose death is a
crash. What is recorded is not tried again.

A knee that would be graded without a warning that the sound one has not, although over 5 % of its
pixels are off by more than 8 of 255 greys, counts as unnoticed. A changed header can state another
window, slope or number of bits, and a changed first value of a JPEG another brightness of all of
it; both are another tone of a whole picture. So the pixels are compared after the best map of grey
values that never falls; what is off only without it counts as toned.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mutations import mutated, mutations_of
from sound_pictures import KINDS, Kind

from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.knee import Region
from kellgren.localisation.film import DetectedKnee, find_joints
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.picture_checks import film_warnings

GREYS_OFF, SHARE_OFF = 8 / 255, 0.05
SLOW_SECONDS = 5.0
GREYS = 256


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one file: its number, which decides all, and what became of it."""

    number: int
    kind: str
    mutation: str
    result: str  # one of `COLUMNS`
    seconds: float
    note: str = ""


class Sound(NamedTuple):
    """A picture as it is read without damage, and what is warned of then."""

    pixels: np.ndarray
    known: frozenset[str]


class Judge:
    """Reads damaged files of one kind and compares them with the sound ones."""

    def __init__(self, kind: Kind, localiser: Localiser) -> None:
        self._kind, self._localiser = kind, localiser
        self._sound: dict[int, Sound] = {}

    def outcome(self, number: int, *, of_dicom_only: bool = False) -> Outcome:
        """Damage a file in the way that the number decides, and say what becomes of it."""
        rng = random.Random(number)
        mutation = rng.choice(mutations_of(self._kind, of_dicom_only=of_dicom_only))
        example, data = mutated(self._kind, mutation, rng)
        began = _seconds()
        try:
            found = read_radiograph(data)
            result, note = self._judged(found, example)
        except UnreadableRadiograph as refusal:
            result, note = "refused", refusal.problem
        except Exception as error:
            result, note = "foreign", repr(error)
        return Outcome(number, self._kind.name, mutation, result, _seconds() - began, note)

    def _sound_one(self, example: int) -> Sound:
        if example not in self._sound:
            found = read_radiograph(self._kind.sound(example))
            (knee,) = find_joints(found, (), self._localiser)
            assert not knee.refusal, knee.refusal
            self._sound[example] = Sound(found.pixels, frozenset(_warned(found, knee)))
        return self._sound[example]

    def _judged(self, found: Radiograph, example: int) -> tuple[str, str]:
        """The worst of what becomes of a picture's joints."""
        joints = find_joints(found, (), self._localiser)
        graded = [joint for joint in joints if not joint.refusal]
        if not graded:
            checks = {c.name for joint in joints for c in joint.checks if c.verdict == "refused"}
            return "damaged" if "damage" in checks else "no knee", " ".join(sorted(checks))
        sound = self._sound_one(example)
        return max(
            (_graded(found, joint, sound) for joint in graded),
            key=lambda one: COLUMNS.index(one[0]),
        )


def _graded(found: Radiograph, joint: DetectedKnee, sound: Sound) -> tuple[str, str]:
    new = set(_warned(found, joint)) - sound.known
    if new:
        return "warned", "; ".join(sorted(new))
    seen, whole = _both(found.pixels, sound.pixels, joint.crop.region)
    if share_off(seen, whole) <= SHARE_OFF:
        return "same", ""
    share = share_off(seen, toned(whole, seen))
    return ("toned", "") if share <= SHARE_OFF else ("unnoticed", f"{share:.0%}")


def _both(
    pixels: np.ndarray, sound: np.ndarray, region: Region | None
) -> tuple[np.ndarray, np.ndarray]:
    """A knee's part of the damaged and of the sound picture, as far as both have it."""
    rows, columns = np.minimum(pixels.shape, sound.shape)
    top, left, bottom, right = 0, 0, rows, columns
    if region is not None:
        corners = np.array(region.corners())
        left, top = np.clip(corners.min(axis=0).astype(int), 0, (columns - 1, rows - 1))
        right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    part = np.s_[top:bottom, left:right]
    return pixels[:rows, :columns][part], sound[:rows, :columns][part]


def _warned(found: Radiograph, knee: DetectedKnee) -> list[str]:
    """The file's warnings, and the checks that warn."""
    checks = [check.name for check in knee.checks if check.verdict == "warning"]
    return [*film_warnings(found.warnings, knee.checks), *checks]


def _seconds() -> float:
    """Processor time of this process and of the decoders that it started."""
    return sum(os.times()[:4])


def share_off(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the pixels that are off by more than 8 of 255 greys."""
    return float((np.abs(one - other) > GREYS_OFF).mean())


def toned(sound: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The sound pixels after the map of grey values, never falling, that fits the others best.

    By least squares: means over the sound picture's greys, of which neighbours that fall are
    pooled.
    """
    greys = np.rint(sound.ravel() * (GREYS - 1)).astype(int)
    counts = np.bincount(greys, minlength=GREYS)
    sums = np.bincount(greys, seen.ravel(), GREYS)
    pools: list[tuple[float, int, int]] = []  # sum, pixels, greys
    for grey in np.flatnonzero(counts):
        pool = (float(sums[grey]), int(counts[grey]), 1)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    table = np.zeros(GREYS)
    table[counts > 0] = np.repeat([p[0] / p[1] for p in pools], [p[2] for p in pools])
    return np.asarray(table[greys].reshape(seen.shape))


def serve(kind: str, numbers: list[int], *, of_dicom_only: bool) -> None:
    """Print an outcome a line; the process that asks for them counts this one's death."""
    warnings.simplefilter("ignore")  # pydicom's, on writing what it is told to
    judge = Judge(KINDS[kind], Localiser())
    for number in numbers:
        found = judge.outcome(number, of_dicom_only=of_dicom_only)
        print(json.dumps(asdict(found)), flush=True)
    import resource

    own, children = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps({"peak_mb": [own // 1024, children // 1024]}), flush=True)


def outcomes(
    kind: str, numbers: list[int], *, of_dicom_only: bool
) -> Iterator[Outcome | list[int]]:
    """All of one kind, and at the end the peaks of memory: of the reader and of its decoders."""
    while numbers:
        how = "--serve-dicom" if of_dicom_only else "--serve"
        command = [sys.executable, __file__, how, kind, *map(str, numbers)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            answer = json.loads(line)
            if "peak_mb" in answer:
                yield answer["peak_mb"]
            else:
                yield Outcome(**answer)
                numbers = numbers[1:]
        if child.wait() and numbers:
            yield Outcome(numbers[0], kind, "", "crash", 0.0, f"exit {child.returncode}")
            numbers = numbers[1:]
        elif numbers:
            raise RuntimeError("the reader ended early")


COLUMNS = (
    *("refused", "no knee", "damaged"),  # not graded: by its bytes, another check, its pixels
    *("same", "toned", "warned"),  # graded: as the sound one, in another tone, with a new warning
    *("unnoticed", "foreign", "crash"),
)
FAILED = COLUMNS[6:]


class Record:
    """What was tried, a line each, in a file that a later run goes on with; or in memory."""

    def __init__(self, path: Path | None) -> None:
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self._path, self._lines = path, [json.loads(line) for line in lines]

    def add(self, of_dicom_only: bool, kind: str, found: Outcome | list[int]) -> None:
        """Keep an outcome, or the memory that a kind's process took at most."""
        is_peak = isinstance(found, list)
        line = {"dicom": of_dicom_only, "kind": kind}
        line |= {"peak_mb": found} if is_peak else {"outcome": asdict(found)}
        self._lines.append(line)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def outcomes(self, of_dicom_only: bool, kind: str) -> dict[int, Outcome]:
        """By number."""
        mine = (one for one in self._of(of_dicom_only, kind) if "outcome" in one)
        found = (Outcome(**one["outcome"]) for one in mine)
        return {outcome.number: outcome for outcome in found}

    def peak(self, of_dicom_only: bool, kind: str) -> list[int]:
        """Memory in MB of the reader and of its decoders."""
        peaks = [one["peak_mb"] for one in self._of(of_dicom_only, kind) if "peak_mb" in one]
        return [max(pair) for pair in zip([0, 0], *peaks, strict=True)]

    def _of(self, of_dicom_only: bool, kind: str) -> Iterator[dict[str, Any]]:
        wanted = (of_dicom_only, kind)
        return (one for one in self._lines if (one["dicom"], one["kind"]) == wanted)


def table(
    kinds: list[str], count: int, first: int, record: Record, *, of_dicom_only: bool
) -> Iterator[str]:
    """Read ``count`` files, spread over the kinds; a line for each, then what failed."""
    yield f"{'kind':32}{'tried':>7}" + "".join(f"{c:>10}" for c in COLUMNS) + "  worst s  peak MB"
    everything: list[Outcome] = []
    for place, kind in enumerate(kinds):
        numbers = range(first + place, first + count, len(kinds))
        known = record.outcomes(of_dicom_only, kind)
        left = [number for number in numbers if number not in known]
        for found in outcomes(kind, left, of_dicom_only=of_dicom_only):
            record.add(of_dicom_only, kind, found)
        known = record.outcomes(of_dicom_only, kind)
        mine = [known[number] for number in numbers]
        everything += mine
        own, decoders = record.peak(of_dicom_only, kind)
        worst = max((one.seconds for one in mine), default=0.0)
        yield _line(kind, mine) + f"{worst:9.2f}  {own} + {decoders}"
    yield _line("all", everything)
    for mutation in sorted({one.mutation for one in everything}):
        yield _line(mutation, [one for one in everything if one.mutation == mutation])
    told = Counter(
        text for one in everything if one.result == "warned" for text in one.note.split("; ")
    )
    for text, number in told.most_common():
        yield f"warned {number} times: {text}"
    for one in everything:
        if one.result in FAILED or one.seconds > SLOW_SECONDS:
            yield f"{one.result}: {one.kind}, {one.number}, {one.mutation}, {one.note}"


def _line(name: str, found: list[Outcome]) -> str:
    counts = Counter(one.result for one in found)
    return f"{name:32}{len(found):7}" + "".join(f"{counts[c]:10}" for c in COLUMNS)


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=1000, help="files in all")
    options.add_argument("--dicom", type=int, default=0, help="more, with mutations of DICOM only")
    options.add_argument("--first", type=int, default=0, help="number of the first")
    options.add_argument("--kind", action="append", help="only this one; may be repeated")
    options.add_argument("--record", type=Path, help="file of what was tried; goes on with it")
    options.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    options.add_argument("--serve-dicom", nargs="+", help=argparse.SUPPRESS)
    given = options.parse_args()
    served = given.serve or given.serve_dicom
    if served:
        serve(served[0], [int(n) for n in served[1:]], of_dicom_only=bool(given.serve_dicom))
        return
    record = Record(given.record)
    kinds = given.kind or list(KINDS)
    of_dicom = [kind for kind in kinds if KINDS[kind].is_dicom]
    for names, count in ((kinds, given.count), (of_dicom, given.dicom)):
        if not count or not names:
            continue
        for line in table(names, count, given.first, record, of_dicom_only=names is of_dicom):
            print(line, flush=True)


if __name__ == "__main__":
    main()
