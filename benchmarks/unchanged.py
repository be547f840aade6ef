"""Whether a change of the code changes a reading: what each step makes of many pictures, recorded.

    python benchmarks/unchanged.py --images FOLDER ... [--every 33] [--mutated 1500] --record A.json
    python benchmarks/unchanged.py --compare A.json B.json

The first is run in both checkouts. It records, to the last digit, what is read, found, cut,
checked and measured on each picture, what the networks are shown, and what the small bundle reads
of every tenth; pixels and maps by their SHA-256. Mutated files are those of `mutated_files.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mutations import mutated, mutations_of
from sound_pictures import KINDS

from kellgren import Ensemble
from kellgren.errors import KellgrenError
from kellgren.grading.bundle import default_bundle, fast_bundle, open_bundle
from kellgren.imaging.integrity.damage import traces
from kellgren.imaging.integrity.fine_detail import fine_detail
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.imaging.radiograph_input import RadiographInput
from kellgren.imaging.search import search
from kellgren.localisation.film import DetectedKnee, find_joints
from kellgren.reading import KneeReading

GRADED_EVERY = 10


class Steps:
    """What every step makes of a picture, as text."""

    def __init__(self) -> None:
        self._ensemble = Ensemble.open(fast_bundle(), threads=1)
        bundles = [open_bundle(folder) for folder in (default_bundle(), fast_bundle())]
        self._inputs = [member.preprocess for b in bundles for member in b.card.members]

    def of(self, source: RadiographInput, *, graded: bool) -> list[str]:
        """One text a step, or the error."""
        try:
            read = read_radiograph(source)
            joints = find_joints(read, (), self._ensemble.localiser)
            told = [_read(read), *(self._joint(joint) for joint in joints)]
            if graded:
                told += [_reading(one) for one in self._ensemble.read(source, force=True)]
        except KellgrenError as error:
            return [str(error)]
        return told

    def _joint(self, joint: DetectedKnee) -> str:
        pixels = joint.crop.pixels
        shown = [_sum(one.plane(joint.crop)) for one in self._inputs]
        found = (joint.checks, joint.crop.region, joint.confidence, joint.side_evidence)
        return repr((found, _sum(pixels), shown, fine_detail(pixels), traces(pixels)))


def _read(read: Radiograph) -> str:
    outliers = None if read.outliers is None else _sum(read.outliers)
    return repr((_sum(read.pixels), outliers, read.warnings, read.header, read.colours))


def _reading(one: KneeReading) -> str:
    space = None if one.joint_space is None else repr(one.joint_space)
    return repr((one.probabilities, one.grade_set, one.warnings, _sum(one.maps), space))


def _sum(values: np.ndarray) -> str:
    content = np.ascontiguousarray(values).tobytes()
    return hashlib.sha256(content + repr((values.dtype, values.shape)).encode()).hexdigest()


def pictures(
    folders: list[Path], every: int, mutations: int
) -> Iterator[tuple[str, RadiographInput]]:
    """Name and source of each picture."""
    for folder in folders:
        for path in search(folder).images[::every]:
            yield str(path), path
    kinds = list(KINDS.values())
    for number in range(mutations):
        kind, rng = kinds[number % len(kinds)], random.Random(number)
        mutation = rng.choice(mutations_of(kind))
        yield f"{kind.name}, {number}, {mutation}", mutated(kind, mutation, rng)[1]


def record(options: argparse.Namespace) -> dict[str, list[str]]:
    """What every step makes of all pictures, by their names."""
    warnings.simplefilter("ignore")  # pydicom's, on writing what it is told to
    steps = Steps()
    sources = pictures(options.images, options.every, options.mutated)
    return {
        name: steps.of(source, graded=number % GRADED_EVERY == 0)
        for number, (name, source) in enumerate(sources)
    }


def compared(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """The number of pictures, and each that is not as before."""
    unlike = [name for name in one if one[name] != other.get(name)]
    readable = sum(len(told) > 1 for told in one.values())
    yield f"{len(one)} pictures, {readable} of them read; not as before: {len(unlike)}"
    yield from unlike


def main() -> None:
    """Record, or compare two records."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--images", type=Path, nargs="*", default=[])
    options.add_argument("--every", type=int, default=1, help="of a folder's pictures")
    options.add_argument("--mutated", type=int, default=0)
    options.add_argument("--record", type=Path)
    options.add_argument("--compare", type=Path, nargs=2)
    given = options.parse_args()
    if given.compare:
        one, other = (json.loads(path.read_text()) for path in given.compare)
        print("\n".join(compared(one, other)))
        return
    given.record.write_text(json.dumps(record(given)))


if __name__ == "__main__":
    main()
