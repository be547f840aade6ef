"""How well knees are found, oriented and refused: on real frames, synthetic films and non-knees.

    python benchmarks/films.py --data kneeKL299 [--frames frames] [--ankle FILE] [--films 500]

The synthetic films are made of knees of fold 0, which neither the members of the default bundle nor
the localiser and its limits learnt from (with `--limits`, of those that the limits did: to try
things on, so that the others stay unseen); real frames are judged on the part that
`benchmarks/frames_boxes.csv` calls test. Films are exposed as real knees were, half of them as
other crops, half as the frames if there are some; `--harsh` more are drawn as for the training of
the localiser: tones, noise and sizes beyond what X-ray rooms deliver, letters over the joint.
Needs the train extra, which draws the films.
"""

from __future__ import annotations

import argparse
import csv
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from exposures import Exposure, ExposureSimulator, exposure_of
from PIL import Image

from kellgren import Ensemble
from kellgren.data.manifest import Knee, for_training, index
from kellgren.data.splits import make_folds
from kellgren.errors import KellgrenError, NotAKneeFilm
from kellgren.evaluation.comparison import Grades, compare
from kellgren.evaluation.metrics import accuracy, qwk
from kellgren.grades import Side
from kellgren.grading.bundle import default_bundle
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane, Region
from kellgren.localisation.film import find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.laterality import side_statements
from kellgren.reading import KneeReading
from kellgren.training.knee_detector.film_maker import FilmMaker, erased
from kellgren.training.knee_detector.limits import limit_knees
from kellgren.training.knee_detector.run import read_boxes
from kellgren.training.knee_detector.synthetic_films import Film, expose

FILM_SIZE, HARSH_SIZE = 1600, 1280
BOXES = Path(__file__).parent / "frames_boxes.csv"
INVERTED = frozenset({"9564189", "9567704", "9602703", "9619739", "9790812"})
"""Patients of fold 0 whose knees were published with dark bone, both of each, seen by eye."""
PARTS = ("frames", "timing", "others", "crops", "erased", "films")
Expose = Callable[[Film, np.random.Generator], Film]
Graded = tuple[Knee, int, int]


def share(name: str, good: int, of: int) -> None:
    print(f"{name:<58} {good:>5} of {of:<5} {good / max(of, 1):.1%}")


def real_frames(folder: Path, localiser: Localiser) -> None:
    print("\nreal frames, held-out part")
    boxes = read_boxes(BOXES, "test")
    detected = both = pairs = knees = 0
    off: list[float] = []
    for name, true in boxes.items():
        try:
            crops = find_knees(read_radiograph(folder / name), (), localiser)
        except NotAKneeFilm:
            crops = []
        hits = [_nearest(box, [c.crop.region for c in crops if c.crop.region]) for box, _ in true]
        off += [hit for hit in hits if hit < 0.5]
        detected += any(hit < 0.5 for hit in hits)
        pairs += len(true) == 2
        both += len(true) == 2 and all(hit < 0.5 for hit in hits)
        knees += len(true)
    share("a joint found", detected, len(boxes))
    share("both found, of those with two", both, pairs)
    share("centre within 6 % of the knee's width", sum(o <= 0.06 for o in off), knees)
    print(f"median distance of the centre {np.median(off):.3f} widths, largest {max(off):.3f}")


def _nearest(box: Region, regions: Sequence[Region]) -> float:
    return min((math.dist(box.centre, r.centre) / box.width for r in regions), default=math.inf)


def fold_0(data: Path) -> tuple[list[Knee], list[Knee]]:
    """Knees of fold 0, without those that the limits were taken from, and those."""
    knees = for_training(index(data), data)
    held = make_folds(knees).held_out(knees, 0)
    out_of_it = [knee for knee, is_held in zip(knees, held, strict=True) if is_held]
    spent = {knee.patient for knee in limit_knees(out_of_it)}
    fresh = [knee for knee in out_of_it if knee.patient not in spent]
    return fresh, [knee for knee in out_of_it if knee.patient in spent]


def frame_exposures(frames: Path) -> list[Exposure]:
    """How the knees of the real frames were exposed."""
    exposures = []
    for part in ("train", "test"):
        for name, boxes in read_boxes(BOXES, part).items():
            film = read_radiograph(frames / name).pixels
            exposures += [exposure_of(_within(film, box)) for box, _ in boxes]
    return exposures


def _within(film: Plane, box: Region) -> Plane:
    """The part of a film inside an upright square."""
    (left, top), _, (right, bottom), _ = box.corners()
    return film[max(0, int(top)) : int(bottom), max(0, int(left)) : int(right)]


def synthetic_films(
    knees: list[Knee],
    maker: FilmMaker,
    show: Expose,
    count: int,
    ensemble: Ensemble,
    crops: Crops,
    folder: Path,
) -> None:
    rng = np.random.default_rng(7)
    tally = dict.fromkeys(
        ("knees", "found", "pairs", "side", "inverted", "seen", "upright", "false", "same", "one"),
        0,
    )
    graded: list[Graded] = []
    for number in range(count):
        film = show(maker.lay_film(rng), rng)
        read = _read(film, ensemble, folder / "film.png")
        tally["inverted" if film.inverted else "upright"] += 1
        turned = any(
            c.name == "inversion" and c.verdict == "warning" for r in read for c in r.checks
        )
        tally["seen" if film.inverted else "false"] += turned
        graded += _compare(film, read, knees, crops, tally)
        if number % 20 == 19:
            print(f"{number + 1} films: {tally}", file=sys.stderr, flush=True)
    share("knee found", tally["found"], tally["knees"])
    share("side right, both knees on the film", tally["side"], tally["pairs"])
    share("inverted film recognised", tally["seen"], tally["inverted"])
    share("other film taken for inverted", tally["false"], tally["upright"])
    share("grade as of the crop, where found", tally["same"], tally["found"])
    share("grade within one, where found", tally["one"], tally["found"])
    against_labels(graded)


def against_labels(graded: list[Graded]) -> None:
    """What a film costs, and what a change of grade means: by the label, not by the crop."""
    if not graded:
        return
    labels = np.array([knee.grade for knee, _, _ in graded])
    film, crop = (np.array([grades[at] for grades in graded]) for at in (1, 2))
    comparison = compare(
        labels, Grades(film), Grades(crop), [knee.patient for knee, _, _ in graded]
    )
    for key in ("accuracy", "qwk", "mae"):
        result, gap = comparison.metrics[key], comparison.metrics[key].difference
        between = f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
        line = f"{key} by the label: film, crop, difference"
        print(f"{line:<58} {result.this:.3f} {result.other:.3f} {between}")
    moved = film != crop
    for name, grades in (("film", film), ("crop", crop)):
        line = f"of changed grades, the {name}'s is the label's"
        share(line, int((grades == labels)[moved].sum()), int(moved.sum()))


def film_maker(knees: list[Knee], size: int, *, detector: bool) -> FilmMaker:
    pixels = np.stack([np.asarray(Image.open(k.image).convert("L")) for k in knees])
    left = np.array([k.side is Side.LEFT for k in knees])
    of = {(k.patient, k.side): n for n, k in enumerate(knees)}
    pairs = [(of[p, s], of[p, Side.LEFT]) for p, s in of if s is Side.RIGHT if (p, Side.LEFT) in of]
    return FilmMaker(pixels, left, pairs, size, natural=True, detector=detector)


def _read(film: Film, ensemble: Ensemble, path: Path) -> list[KneeReading]:
    left, top, right, bottom = film.content
    grey = np.rint(film.pixels[top:bottom, left:right].numpy() * 65535).astype(np.uint16)
    Image.fromarray(grey).save(path, compress_level=1)
    try:
        return ensemble.read(path)
    except NotAKneeFilm:
        return []


def _compare(
    film: Film,
    read: list[KneeReading],
    knees: list[Knee],
    crops: Crops,
    tally: dict[str, int],
) -> list[Graded]:
    """Each knee that was found, with its grade on the film and as the crop."""
    graded = []
    left, top, right, bottom = film.content
    whole = Region(((right - left) / 2, (bottom - top) / 2), float(right - left))
    for knee in film.knees:
        tally["knees"] += 1
        centre = (knee.region.centre[0] - left, knee.region.centre[1] - top)
        box = Region(centre, knee.region.width)
        near = [r for r in read if _nearest(box, [r.crop.region or whole]) < 0.3]
        if len(film.knees) == 2:
            tally["pairs"] += bool(near)
            tally["side"] += bool(near) and near[0].side is knees[knee.crop].side
        if near:
            on_film, as_crop = own_grade(near[0]), crops.grade(knees[knee.crop].image)
            graded.append((knees[knee.crop], on_film, as_crop))
            off = abs(on_film - as_crop)
            tally["found"] += 1
            tally["same"] += off == 0
            tally["one"] += off <= 1
    return graded


def own_grade(reading: KneeReading) -> int:
    """Before a second knee on the film had a say: a crop has none."""
    return int(np.argmax(reading.alone))


class Crops:
    """Grades of crops read from their files, each read once."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble, self.read = ensemble, dict[Path, int]()

    def grade(self, path: Path) -> int:
        """Of one crop, forced if a gate refuses it."""
        if path not in self.read:
            self.read[path] = own_grade(self._ensemble.read(path, force=True)[0])
        return self.read[path]


def real_knees(
    knees: list[Knee],
    spent: list[Knee],
    crops: Crops,
    localiser: Localiser,
    table: dict[str, int],
) -> None:
    """The gates are judged on the first list only, the grades on both."""
    graded = refused = untouched = restored = warned = contradicted = 0
    truth, passed = [], []
    for number, knee in enumerate([*knees, *spent]):
        whole, judged = read_radiograph(knee.image), number < len(knees)
        try:
            (knee_box,) = find_knees(whole, side_statements((), knee.side, Side.UNKNOWN), localiser)
        except NotAKneeFilm:
            refused += judged
            continue
        same = np.array_equal(knee_box.crop.pixels, whole.pixels)
        graded += 1
        truth.append(knee.grade)
        passed.append(table[knee.image.name] if same else crops.grade(knee.image))
        if judged:
            untouched += same
            restored += np.array_equal(knee_box.crop.pixels, np.float32(1) - whole.pixels)
            warned += bool(knee_box.warnings)
            contradicted += any("anatomy" in warning for warning in knee_box.warnings)
    share("refused", refused, len(knees))
    share("came out pixel by pixel", untouched, len(knees))
    share("came out pixel by pixel, or inverted so", untouched + restored, len(knees))
    share("came with a warning", warned, len(knees))
    share("of them: the anatomy contradicts the side", contradicted, len(knees))
    share("graded, of all knees of the fold", graded, len(knees) + len(spent))
    labels, grades = np.array(truth, dtype=np.int64), np.array(passed)
    print(f"accuracy {accuracy(labels, grades):.4f}, quadratic kappa {qwk(labels, grades):.4f}")


def out_of_fold(bundle: Path) -> dict[str, int]:
    """Predictions of the bundle.s members for the crops' pixels, by file name."""
    with (bundle / "out_of_fold.csv").open(newline="") as stream:
        return {
            Path(row["image"]).stem + ".jpg": int(
                np.argmax([float(row[f"p{g}"]) for g in range(5)])
            )
            for row in csv.DictReader(stream)
        }


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
            find_knees(read_radiograph(path), (), localiser)
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
    paths = [*images.glob("*.jpg"), *samples.glob("*.jpg"), *samples.glob("*.png")]
    return sorted(paths)


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
    parser.add_argument("--harsh", type=int, default=100, help="films beyond what rooms deliver")
    parser.add_argument("--erased", type=int, default=200)
    parser.add_argument("--bundle", type=Path, default=default_bundle(), help="another model")
    parser.add_argument(
        "--limits", action="store_true", help="films of the knees that the limits came from"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    ensemble = Ensemble.open(options.bundle, threads=1)
    knees, spent = fold_0(options.data)
    rng = np.random.default_rng(1)
    chosen = [knees[n] for n in rng.permutation(len(knees))]
    parts, localiser, crops = options.parts, ensemble.localiser, Crops(ensemble)
    if options.frames and "frames" in parts:
        real_frames(options.frames, localiser)
    if options.frames and "timing" in parts:
        with BOXES.open(newline="") as stream:
            two = next(r["file"] for r in csv.DictReader(stream) if r["knee"] == "2")
        timing(options.frames / two, Ensemble.default())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "others" in parts:
            files = [*photographs(), *([options.ankle] if options.ankle else [])]
            no_knees(files, localiser, folder)
        if "crops" in parts:
            print(f"\n{len(chosen[:1000])} real knees, cropped as published", flush=True)
            real_knees(
                chosen[:1000],
                [*chosen[1000:], *spent],
                crops,
                localiser,
                out_of_fold(options.bundle),
            )
        if "erased" in parts:
            erased_joints(chosen[: options.erased], ensemble, folder)
        if "films" in parts:
            films(options, spent if options.limits else knees, crops, ensemble, folder)


def films(
    options: argparse.Namespace,
    knees: list[Knee],
    crops: Crops,
    ensemble: Ensemble,
    folder: Path,
) -> None:
    """Synthetic films of knees whose bone is bright as published, so that inversion is known."""
    bright = [knee for knee in knees if knee.patient not in INVERTED]
    print(f"\n{options.films} synthetic films, exposed as real knees were", flush=True)
    own = [exposure_of(read_radiograph(knee.image).pixels) for knee in bright]
    room = ExposureSimulator([own, *([frame_exposures(options.frames)] if options.frames else [])])
    maker = film_maker(bright, FILM_SIZE, detector=True)

    def show(film: Film, rng: np.random.Generator) -> Film:
        return room.expose(film, own[film.knees[0].crop], rng)

    synthetic_films(bright, maker, show, options.films, ensemble, crops, folder)
    print(f"\n{options.harsh} synthetic films beyond that", flush=True)
    maker = film_maker(bright, HARSH_SIZE, detector=False)
    synthetic_films(bright, maker, expose, options.harsh, ensemble, crops, folder)
    table = out_of_fold(options.bundle)
    agreed = sum(table[path.name] == grade for path, grade in crops.read.items())
    share("crops read: grade as in the bundle's table", agreed, len(crops.read))


if __name__ == "__main__":
    main()
