"""Mutated picture files: what is refused, what is read with a warning, and what is read wrongly.

    python benchmarks/mutated_files.py --count 10000

A sound knee is stored in every format that is read (and two that are not), and each copy is damaged
at random: bytes of any format, and of DICOM files also tags, lengths, fragments, value
representations, the window and the bits. Every file is read and checked for traces of damage, in a
process for its kind, whose death is a crash. A picture that is read with neither a warning nor a
trace, although over 5 % of its pixels are off by more than 8 of 255 greys, counts as unnoticed; it
is told apart from one that is shown just as its changed header says (another contrast, another
shape of pixels).
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
from mutations import MUTATIONS, mutated, sound_files

from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.integrity.damage import damage, traces
from kellgren.imaging.radiograph import read_radiograph

GREYS_OFF, SHARE_OFF = 8 / 255, 0.05
SLOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one file: its number, which decides all, and what became of it."""

    number: int
    kind: str
    mutation: str
    result: str  # refused, trace, warned, read, restated, unnoticed, or foreign: another exception
    seconds: float
    note: str = ""


def outcome(number: int, kind: str, sound: bytes, pixels: np.ndarray | None) -> Outcome:
    """Damage a sound file and read it; ``pixels`` are those of the sound one."""
    rng = random.Random(number)
    names = [name for name in MUTATIONS if kind.startswith("dicom") or "dicom" not in name]
    mutation = rng.choice(names)
    data = mutated(sound, mutation, rng)
    began = _seconds()
    try:
        found = read_radiograph(data)
        trace = damage(traces(found.pixels))
        result, note = _judged(found.pixels, bool(found.warnings), trace, pixels)
    except UnreadableRadiograph as refusal:
        result, note = "refused", refusal.problem
    except Exception as error:
        result, note = "foreign", repr(error)
    return Outcome(number, kind, mutation, result, _seconds() - began, note)


def _seconds() -> float:
    """Processor time of this process and of the decoders that it started."""
    return sum(os.times()[:4])


def _judged(
    read: np.ndarray, warned: bool, trace: str, sound: np.ndarray | None
) -> tuple[str, str]:
    if trace:
        return "trace", trace
    if warned:
        return "warned", ""
    if sound is None or (read.shape == sound.shape and _share_off(read, sound) <= SHARE_OFF):
        return "read", ""
    if read.shape != sound.shape or _is_other_contrast(read, sound):
        return "restated", ""
    return "unnoticed", f"{_share_off(read, sound):.0%}"


def _share_off(read: np.ndarray, sound: np.ndarray) -> float:
    return float((np.abs(read - sound) > GREYS_OFF).mean())


def _is_other_contrast(read: np.ndarray, sound: np.ndarray) -> bool:
    """Whether every grey of the sound picture has one grey in the other."""
    greys = np.rint(sound.ravel() * 255).astype(int)
    count = np.maximum(np.bincount(greys, minlength=256), 1)
    mean = np.bincount(greys, read.ravel(), 256) / count
    return _share_off(read, mean[greys].reshape(read.shape)) <= SHARE_OFF


def serve(kind: str, numbers: list[int]) -> None:
    """Print an outcome a line; the process that asks for them counts this one's death."""
    warnings.simplefilter("ignore")  # pydicom's, on writing what it is told to
    sound = sound_files()[kind]
    try:
        pixels = read_radiograph(sound).pixels
    except UnreadableRadiograph:  # a format that is not read
        pixels = None
    for number in numbers:
        print(json.dumps(asdict(outcome(number, kind, sound, pixels))), flush=True)
    import resource

    own, children = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps({"peak_mb": [own // 1024, children // 1024]}), flush=True)


def outcomes(kind: str, numbers: list[int]) -> Iterator[Outcome | list[int]]:
    """All of one kind, and at the end the peaks of memory: of the reader and of its decoders."""
    while numbers:
        command = [sys.executable, __file__, "--serve", kind, *map(str, numbers)]
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


COLUMNS = ("refused", "trace", "warned", "read", "restated", "unnoticed", "foreign", "crash")


def table(kinds: list[str], count: int, first: int) -> Iterator[str]:
    """Read ``count`` files, spread over the kinds; a line for each, then what failed."""
    yield f"{'kind':32}{'tried':>7}" + "".join(f"{c:>10}" for c in COLUMNS) + "  worst s  peak MB"
    total: Counter[str] = Counter()
    failed: list[Outcome] = []
    for place, kind in enumerate(kinds):
        counts: Counter[str] = Counter()
        worst, peak = 0.0, [0, 0]
        for found in outcomes(kind, list(range(first + place, first + count, len(kinds)))):
            if isinstance(found, list):
                peak = [max(pair) for pair in zip(peak, found, strict=True)]
                continue
            counts[found.result] += 1
            worst = max(worst, found.seconds)
            if found.result in COLUMNS[5:] or found.seconds > SLOW_SECONDS:
                failed.append(found)
        total += counts
        yield _line(kind, counts) + f"{worst:9.2f}  {peak[0]} + {peak[1]}"
    yield _line("all", total)
    for one in failed:
        yield f"{one.result}: {one.kind}, {one.number}, {one.mutation}, {one.note}"


def _line(kind: str, counts: Counter[str]) -> str:
    return f"{kind:32}{counts.total():7}" + "".join(f"{counts[c]:10}" for c in COLUMNS)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=1000, help="files in all")
    options.add_argument("--first", type=int, default=0, help="number of the first")
    options.add_argument("--kind", action="append", help="only this one; may be repeated")
    options.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        serve(given.serve[0], [int(number) for number in given.serve[1:]])
        return
    for line in table(given.kind or list(sound_files()), given.count, given.first):
        print(line, flush=True)


if __name__ == "__main__":
    main()
