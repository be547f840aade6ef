"""How well knees are found, oriented and refused: on real frames, synthetic films and non-knees.

    python benchmarks/films.py --data kneeKL299 [--frames frames] [--ankle FILE] [--films 500]

The synthetic films are made of knees of fold 0, which neither the localiser nor its limits learnt
from; real frames are judged on the part that `benchmarks/frames_boxes.csv` calls test. Needs the
train extra, which draws the films.
"""

from __future__ import annotations

import argparse
import csv
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kellgren import Ensemble
from kellgren.errors import KellgrenError, NotAKneeFilm
from kellgren.films import find_knees
from kellgren.grades import Side
from kellgren.localiser import Localiser
from kellgren.manifest import Knee, for_training, index
from kellgren.pipeline import KneeReading
from kellgren.preprocess import Region
from kellgren.radiograph import read_radiograph
from kellgren.splits import make_folds
from kellgren.training.film_maker import FilmMaker, erased
from kellgren.training.films import Film, expose
from kellgren.training.localiser_judge import limit_knees
from kellgren.training.localiser_run import read_boxes

FILM_SIZE = 1280
BOXES = Path(__file__).parent / "frames_boxes.csv"


def share(name: str, good: int, of: int) -> None:
    print(f"{name:<58} {good:>5} of {of:<5} {good / max(of, 1):.1%}")


def real_frames(folder: Path, localiser: Localiser) -> None:
    print("\nreal frames, held-out part")
    boxes = read_boxes(BOXES, "test")
    found = both = pairs = knees = 0
    off: list[float] = []
    for name, true in boxes.items():
        try:
            crops = find_knees(read_radiograph(folder / name), {}, localiser)
        except NotAKneeFilm:
            crops = []
        hits = [_nearest(box, [c.crop.region for c in crops if c.crop.region]) for box, _ in true]
        off += [hit for hit in hits if hit < 0.5]
        found += any(hit < 0.5 for hit in hits)
        pairs += len(true) == 2
        both += len(true) == 2 and all(hit < 0.5 for hit in hits)
        knees += len(true)
    share("a joint found", found, len(boxes))
    share("both found, of those with two", both, pairs)
    share("centre within 6 % of the knee's width", sum(o <= 0.06 for o in off), knees)
    print(f"median distance of the centre {np.median(off):.3f} widths, largest {max(off):.3f}")


def _nearest(box: Region, regions: Sequence[Region]) -> float:
    return min((math.dist(box.centre, r.centre) / box.width for r in regions), default=math.inf)


def fold_0(data: Path) -> list[Knee]:
    """Knees of fold 0 without those that the limits were taken from."""
    knees = for_training(index(data), data)
    held = make_folds(knees).held_out(knees, 0)
    out_of_it = [knee for knee, is_held in zip(knees, held, strict=True) if is_held]
    spent = {knee.patient for knee in limit_knees(out_of_it)}
    return [knee for knee in out_of_it if knee.patient not in spent]


def synthetic_films(knees: list[Knee], count: int, ensemble: Ensemble, folder: Path) -> None:
    print(f"\n{count} synthetic films")
    rng = np.random.default_rng(7)
    pixels = np.stack([np.asarray(Image.open(k.image).convert("L")) for k in knees])
    left = np.array([k.side is Side.LEFT for k in knees])
    of = {(k.patient, k.side): n for n, k in enumerate(knees)}
    pairs = [(of[p, s], of[p, Side.LEFT]) for p, s in of if s is Side.RIGHT if (p, Side.LEFT) in of]
    maker = FilmMaker(pixels, left, pairs, FILM_SIZE, natural=True)
    tally = dict.fromkeys(
        ("knees", "found", "told", "side", "inverted", "seen", "upright", "false", "same", "one"), 0
    )
    for number in range(count):
        film = expose(maker.lay_film(rng), rng)
        read = _read(film, ensemble, folder / f"film-{number}.png")
        tally["inverted" if film.inverted else "upright"] += 1
        turned = any(
            c.name == "inversion" and c.verdict == "warning" for r in read for c in r.checks
        )
        tally["seen" if film.inverted else "false"] += turned
        _compare(film, read, knees, ensemble, tally)
    share("knee found", tally["found"], tally["knees"])
    share("side right, both knees on the film", tally["side"], tally["told"])
    share("inverted film recognised", tally["seen"], tally["inverted"])
    share("other film taken for inverted", tally["false"], tally["upright"])
    share("grade as of the crop, where found", tally["same"], tally["found"])
    share("grade within one, where found", tally["one"], tally["found"])


def _read(film: Film, ensemble: Ensemble, path: Path) -> list[KneeReading]:
    left, top, right, bottom = film.content
    grey = np.rint(film.pixels[top:bottom, left:right].numpy() * 65535).astype(np.uint16)
    Image.fromarray(grey).save(path)
    try:
        return ensemble.read(path)
    except NotAKneeFilm:
        return []


def _compare(
    film: Film,
    read: list[KneeReading],
    knees: list[Knee],
    ensemble: Ensemble,
    tally: dict[str, int],
) -> None:
    left, top, right, bottom = film.content
    whole = Region(((right - left) / 2, (bottom - top) / 2), float(right - left))
    for knee in film.knees:
        tally["knees"] += 1
        centre = (knee.region.centre[0] - left, knee.region.centre[1] - top)
        box = Region(centre, knee.region.width)
        near = [r for r in read if _nearest(box, [r.crop.region or whole]) < 0.3]
        if len(film.knees) == 2:
            tally["told"] += bool(near)
            tally["side"] += bool(near) and near[0].side is knees[knee.crop].side
        if near:
            original = ensemble.read(knees[knee.crop].image)[0].grade
            tally["found"] += 1
            tally["same"] += near[0].grade is original
            tally["one"] += abs(near[0].grade - original) <= 1


def real_knees(knees: list[Knee], localiser: Localiser) -> None:
    print(f"\n{len(knees)} real knees, cropped as published")
    refused = untouched = warned = contradicted = 0
    for knee in knees:
        radiograph = read_radiograph(knee.image)
        try:
            (found,) = find_knees(radiograph, {"the caller": knee.side}, localiser)
        except (NotAKneeFilm, ValueError):
            refused += 1
            continue
        untouched += np.array_equal(found.crop.pixels, radiograph.pixels)
        warned += bool(found.warnings)
        contradicted += any("anatomy" in warning for warning in found.warnings)
    share("refused", refused, len(knees))
    share("came out pixel by pixel", untouched, len(knees))
    share("came with a warning", warned, len(knees))
    share("of them: the anatomy contradicts the side", contradicted, len(knees))


def erased_joints(knees: list[Knee], ensemble: Ensemble, folder: Path) -> None:
    print("\njoint space and condyles painted over")
    rng = np.random.default_rng(3)
    refused = unsure = 0
    for knee in knees:
        picture = torch.from_numpy(read_radiograph(knee.image).pixels)
        height, width = picture.shape
        painted = erased(picture, Region((width / 2, height / 2), float(width)), rng)
        path = folder / "erased.png"
        Image.fromarray(np.rint(painted.numpy() * 255).astype(np.uint8)).save(path)
        try:
            unsure += ensemble.read(path)[0].certainty == "low"
        except NotAKneeFilm:
            refused += 1
    share("refused", refused, len(knees))
    share("refused, or graded with low certainty", refused + unsure, len(knees))


def no_knees(files: list[Path], localiser: Localiser, folder: Path) -> None:
    print("\nno knees")
    Image.new("L", (400, 400), 128).save(folder / "blank.png")
    noise = np.random.default_rng(0).integers(0, 256, (400, 400), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    files = [*files, folder / "blank.png", folder / "noise.png", *_parts(files, folder)]
    graded = []
    for path in files:
        try:
            find_knees(read_radiograph(path), {}, localiser)
            graded.append(path.name)
        except KellgrenError:
            pass
    share("refused", len(files) - len(graded), len(files))
    print(f"let through: {', '.join(graded) or 'none'}")


def _parts(files: list[Path], folder: Path) -> list[Path]:
    """The quarters of every photograph."""
    parts = []
    for path in (p for p in files if p.suffix == ".jpg"):
        picture = Image.open(path).convert("L")
        x, y = picture.width // 2, picture.height // 2
        for n, corner in enumerate(((0, 0), (x, 0), (0, y), (x, y))):
            parts.append(folder / f"{path.stem}-{n}.png")
            picture.crop((*corner, corner[0] + x, corner[1] + y)).save(parts[-1])
    return parts


def photographs() -> list[Path]:
    """Pictures that come with libraries of the train extra."""
    import matplotlib
    import sklearn

    images = Path(sklearn.__file__).parent / "datasets" / "images"
    samples = Path(matplotlib.get_data_path()) / "sample_data"
    found = [*images.glob("*.jpg"), *samples.glob("*.jpg"), *samples.glob("*.png")]
    return sorted(found)


def timing(film: Path, ensemble: Ensemble) -> None:
    print("\none film with two knees")
    began = time.perf_counter()
    command = [sys.executable, "-m", "kellgren", "grade", str(film)]
    subprocess.run(command, check=False, capture_output=True)
    print(f"cold, from the command line {time.perf_counter() - began:6.2f} s")
    ensemble.read(film)
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        knees = ensemble.read(film)
        spent.append(time.perf_counter() - began)
    print(f"warm, {len(knees)} knees              {np.median(spent):6.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--ankle", type=Path, help="a DICOM file of another body part")
    parser.add_argument("--films", type=int, default=500)
    parser.add_argument("--knees", type=int, default=1000)
    parser.add_argument("--erased", type=int, default=200)
    options = parser.parse_args()
    localiser, ensemble = Localiser(), Ensemble.default()
    knees = fold_0(options.data)
    rng = np.random.default_rng(1)
    chosen = [knees[n] for n in rng.permutation(len(knees))]
    if options.frames:
        real_frames(options.frames, localiser)
        with BOXES.open(newline="") as stream:
            two = next(r["file"] for r in csv.DictReader(stream) if r["knee"] == "2")
        timing(options.frames / two, ensemble)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        no_knees([*photographs(), *([options.ankle] if options.ankle else [])], localiser, folder)
        real_knees(chosen[: options.knees], localiser)
        erased_joints(chosen[: options.erased], ensemble, folder)
        synthetic_films(knees, options.films, ensemble, folder)


if __name__ == "__main__":
    main()
