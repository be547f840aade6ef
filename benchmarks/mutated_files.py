"""Mutated picture files: which are refused, graded with a warning, and graded wrongly.

    python benchmarks/mutated_files.py --count 100000 --dicom 10000

A sound knee is stored in every format that is read (and two that are not), and each copy is damaged
at random: bytes of any format, and of DICOM files also tags, lengths, fragments, value
representations, the window and the bits; ``--dicom`` more files get those of DICOM only. Each is
read, and searched for knees with all checks, as `Ensemble.read` does before its networks see the
knee; in a process for its kind, whose death is a crash.

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

import numpy as np
from mutations import DICOM_MUTATIONS, MUTATIONS, mutated, sound_files

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


class Judge:
    """Reads damaged copies of one file and compares them with it."""

    def __init__(self, kind: str, sound: bytes, localiser: Localiser) -> None:
        self._kind, self._sound, self._localiser = kind, sound, localiser
        self._pixels, self._known = np.zeros((1, 1), np.float32), set[str]()
        try:
            found = read_radiograph(sound)
        except UnreadableRadiograph:  # a format that is not read
            return
        self._pixels = found.pixels
        (knee,) = find_joints(found, (), localiser)
        assert not knee.refusal, knee.refusal
        self._known = set(_warned(found, knee))

    def outcome(self, number: int, *, of_dicom_only: bool = False) -> Outcome:
        """Damage the file in the way that the number decides, and say what becomes of it."""
        rng = random.Random(number)
        is_dicom = self._kind.startswith("dicom")
        names = [name for name in MUTATIONS if is_dicom or name not in DICOM_MUTATIONS]
        mutation = rng.choice(sorted(DICOM_MUTATIONS) if of_dicom_only else names)
        data = mutated(self._sound, mutation, rng)
        began = _seconds()
        try:
            result, note = self._judged(read_radiograph(data))
        except UnreadableRadiograph as refusal:
            result, note = "refused", refusal.problem
        except Exception as error:
            result, note = "foreign", repr(error)
        return Outcome(number, self._kind, mutation, result, _seconds() - began, note)

    def _judged(self, found: Radiograph) -> tuple[str, str]:
        """The worst of what becomes of a picture's joints."""
        joints = find_joints(found, (), self._localiser)
        graded = [joint for joint in joints if not joint.refusal]
        if not graded:
            checks = {c.name for joint in joints for c in joint.checks if c.verdict == "refused"}
            return "damaged" if "damage" in checks else "no knee", " ".join(sorted(checks))
        return max(
            (self._graded(found, joint) for joint in graded), key=lambda one: COLUMNS.index(one[0])
        )

    def _graded(self, found: Radiograph, joint: DetectedKnee) -> tuple[str, str]:
        new = set(_warned(found, joint)) - self._known
        if new:
            return "warned", "; ".join(sorted(new))
        seen, sound = self._both(found.pixels, joint.crop.region)
        if _share_off(seen, sound) <= SHARE_OFF:
            return "same", ""
        share = _share_off(seen, toned(sound, seen))
        return ("toned", "") if share <= SHARE_OFF else ("unnoticed", f"{share:.0%}")

    def _both(self, pixels: np.ndarray, region: Region | None) -> tuple[np.ndarray, np.ndarray]:
        """A knee's part of the damaged and of the sound picture, as far as both have it."""
        rows, columns = np.minimum(pixels.shape, self._pixels.shape)
        top, left, bottom, right = 0, 0, rows, columns
        if region is not None:
            corners = np.array(region.corners())
            left, top = np.clip(corners.min(axis=0).astype(int), 0, (columns - 1, rows - 1))
            right, bottom = np.ceil(corners.max(axis=0)).astype(int)
        part = np.s_[top:bottom, left:right]
        return pixels[:rows, :columns][part], self._pixels[:rows, :columns][part]


def _warned(found: Radiograph, knee: DetectedKnee) -> list[str]:
    """The file's warnings, and the checks that warn."""
    checks = [check.name for check in knee.checks if check.verdict == "warning"]
    return [*film_warnings(found.warnings, knee.checks), *checks]


def _seconds() -> float:
    """Processor time of this process and of the decoders that it started."""
    return sum(os.times()[:4])


def _share_off(one: np.ndarray, other: np.ndarray) -> float:
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
    judge = Judge(kind, sound_files()[kind], Localiser())
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


def table(kinds: list[str], count: int, first: int, *, of_dicom_only: bool) -> Iterator[str]:
    """Read ``count`` files, spread over the kinds; a line for each, then what failed."""
    yield f"{'kind':32}{'tried':>7}" + "".join(f"{c:>10}" for c in COLUMNS) + "  worst s  peak MB"
    total: Counter[str] = Counter()
    told: Counter[str] = Counter()
    failed: list[Outcome] = []
    for place, kind in enumerate(kinds):
        counts: Counter[str] = Counter()
        worst, peak = 0.0, [0, 0]
        numbers = list(range(first + place, first + count, len(kinds)))
        for found in outcomes(kind, numbers, of_dicom_only=of_dicom_only):
            if isinstance(found, list):
                peak = [max(pair) for pair in zip(peak, found, strict=True)]
                continue
            counts[found.result] += 1
            worst = max(worst, found.seconds)
            if found.result == "warned":
                told.update(found.note.split("; "))
            if found.result in FAILED or found.seconds > SLOW_SECONDS:
                failed.append(found)
        total += counts
        yield _line(kind, counts) + f"{worst:9.2f}  {peak[0]} + {peak[1]}"
    yield _line("all", total)
    for text, number in told.most_common():
        yield f"warned {number} times: {text}"
    for one in failed:
        yield f"{one.result}: {one.kind}, {one.number}, {one.mutation}, {one.note}"


def _line(kind: str, counts: Counter[str]) -> str:
    return f"{kind:32}{counts.total():7}" + "".join(f"{counts[c]:10}" for c in COLUMNS)


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=1000, help="files in all")
    options.add_argument("--dicom", type=int, default=0, help="more, with mutations of DICOM only")
    options.add_argument("--first", type=int, default=0, help="number of the first")
    options.add_argument("--kind", action="append", help="only this one; may be repeated")
    options.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    options.add_argument("--serve-dicom", nargs="+", help=argparse.SUPPRESS)
    given = options.parse_args()
    served = given.serve or given.serve_dicom
    if served:
        serve(served[0], [int(n) for n in served[1:]], of_dicom_only=bool(given.serve_dicom))
        return
    kinds = given.kind or list(sound_files())
    of_dicom = [kind for kind in kinds if kind.startswith("dicom")]
    for names, count in ((kinds, given.count), (of_dicom, given.dicom)):
        if not count or not names:
            continue
        for line in table(names, count, given.first, of_dicom_only=names is of_dicom):
            print(line, flush=True)


if __name__ == "__main__":
    main()
