"""Damaged values of many knees, in memory: which the traces of damage tell, and what they miss.

    python benchmarks/mutated_values.py KNEES --count 12000 [--first 0] [--sound 2000]

Much quicker than files, as nothing is stored or read: each number picks one of the pictures below
a folder, 8 or 12 bits, and one of the ways in which `mutated_files.py` damages stored values. Only
the traces of damage judge; that the joint is no longer found, or the picture gate refuses, is left
out. A knee counts as unnoticed as there. First some of the pictures, which may be films, are judged
as they are.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mutated_files import SHARE_OFF, share_off, toned
from mutated_pixels import PIXEL_MUTATIONS
from PIL import Image
from sound_pictures import with_low_bits

from kellgren.imaging.integrity.damage import Traces, ends_within_a_row, traces
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.film import find_joints
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.quality import check_damage

COLUMNS = ("refused", "warned", "same", "unnoticed")
SHARE_WIDE = 1 / 3
PICTURES = (".png", ".jpg", ".tif")


def values(path: Path) -> np.ndarray:
    """Stored values ``(H, W)`` of a picture, uint8."""
    with Image.open(path) as opened:
        return np.array(opened.convert("L"))


def plane(stored: np.ndarray) -> np.ndarray:
    """Grey values 0..1, as they are read."""
    return (stored / (255 if stored.dtype == np.uint8 else 4095)).astype(np.float32)


def result(sound: np.ndarray, seen: np.ndarray) -> str:
    """What becomes of a damaged knee: one of the columns."""
    check = check_damage(seen, None)
    if check is not None and check.verdict == "refused":
        return "refused"
    if check is not None or ends_within_a_row(seen):
        return "warned"
    is_off = min(share_off(seen, sound), share_off(seen, toned(sound, seen))) > SHARE_OFF
    return "unnoticed" if is_off else "same"


def damaged(paths: list[Path], first: int, count: int) -> Iterator[str]:
    """Lines of a table by mutation, and one for each knee that went unnoticed."""
    found: dict[str, Counter[str]] = {name: Counter() for name in PIXEL_MUTATIONS}
    for number in range(first, first + count):
        rng = random.Random(number)
        mutation, path = rng.choice(list(PIXEL_MUTATIONS)), rng.choice(paths)
        sound = values(path)
        if rng.random() < SHARE_WIDE:
            sound = with_low_bits(sound)
        seen = PIXEL_MUTATIONS[mutation](sound, rng)
        became = result(plane(sound), plane(seen))
        found[mutation][became] += 1
        if became == "unnoticed":
            yield f"unnoticed: {number}, {mutation}, {path.stem}"
    yield f"{'mutation':32}" + "".join(f"{column:>10}" for column in COLUMNS)
    for name, counts in [*found.items(), ("all", sum(found.values(), Counter()))]:
        yield f"{name:32}" + "".join(f"{counts[column]:10}" for column in COLUMNS)


def as_they_are(paths: list[Path]) -> Iterator[str]:
    """How many knees of sound pictures are refused or warned of, and the largest traces of crops.

    A film's knees are cut by other pixels than the traces are measured with.
    """
    localiser = Localiser()
    pictures = [find_joints(read_radiograph(path), (), localiser) for path in paths]
    knees = [knee for joints in pictures for knee in joints]
    told = [check for knee in knees for check in knee.checks if check.name == "damage"]
    yield f"{len(knees)} knees as they are, of {len(told)} damage is told"
    for (verdict, evidence), number in Counter((c.verdict, c.evidence) for c in told).items():
        yield f"{number:4} {verdict}: {evidence}"
    crops = [knee.crop.pixels for knee in knees if knee.crop.region is None]
    if crops:
        began = time.process_time()
        measured = np.sort(np.array([traces(crop) for crop in crops]), axis=0)
        each = (time.process_time() - began) / len(crops)
        yield f"the traces of one take {1000 * each:.1f} ms of processor time"
        for name, column in zip(Traces._fields, measured.T, strict=True):
            share = np.quantile(column, 0.995)
            yield f"{name:14} largest {column[-1]:.3f}, 99.5 % below {share:.3f}"


def main() -> None:
    """Print what sound knees show, and the table of damaged ones."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "knees", type=Path, help="folder of pictures, of one knee each to damage them"
    )
    options.add_argument("--count", type=int, default=2000, help="damaged knees")
    options.add_argument("--first", type=int, default=0, help="number of the first")
    options.add_argument("--sound", type=int, default=0, help="knees that are judged as they are")
    given = options.parse_args()
    paths = sorted(path for path in given.knees.rglob("*") if path.suffix in PICTURES)
    if given.sound:
        for line in as_they_are(random.Random(9).sample(paths, min(given.sound, len(paths)))):
            print(line)
    if given.count:
        for line in damaged(paths, given.first, given.count):
            print(line, flush=True)


if __name__ == "__main__":
    main()
