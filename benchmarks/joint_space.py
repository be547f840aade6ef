"""How exactly the joint space is measured: drawn knees, the same knees again, and all knees.

    python benchmarks/joint_space.py phantoms [--count 200]
    python benchmarks/joint_space.py repeat --data kneeKL299 [--knees 60]
    python benchmarks/joint_space.py knees --data kneeKL299 --csv widths.csv [--share 0/2]
    python benchmarks/joint_space.py sheet --data kneeKL299 --picture sheet.jpg [--knees 100]

``phantoms`` draws knees of known widths with the blur and the noise of the training crops, tilted,
without rims of the plateaus and with them, and prints bias and spread of the narrowest place in
pixels. ``repeat`` measures knees of grades 0
to 2 again, cut 5 % larger and smaller, turned by 5 degrees, mirrored and toned, and prints the
coefficient of variation. ``knees`` writes a row for each knee, in an order of chance, and goes on
with those that are not in the file yet; ``benchmarks/joint_space_tables.py`` reads it. ``sheet``
draws the margins on knees of chance, as many of each grade.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from joint_space_phantoms import Phantom, drawn_at_random, drawn_with_rims
from PIL import Image, ImageDraw

from kellgren.data.manifest import Knee, for_training, index
from kellgren.grades import Side
from kellgren.imaging.radiograph import read_radiograph
from kellgren.joint_space.measure_knee import measure
from kellgren.joint_space.measurement import JointSpace, Point
from kellgren.knee import KneeCrop, Plane, Region
from kellgren.localisation.candidates import upright_grey
from kellgren.localisation.crop import cut
from kellgren.localisation.knee_detector import Localiser

CHANGES = {  # width and turn of the square, whether it is mirrored, exponent of the grey values
    "as it is": (1.0, 0.0, False, 1.0),
    "cut 5 % larger": (1.05, 0.0, False, 1.0),
    "cut 5 % smaller": (0.95, 0.0, False, 1.0),
    "turned by 5 degrees": (1.0, 5.0, False, 1.0),
    "turned by -5 degrees": (1.0, -5.0, False, 1.0),
    "mirrored": (1.0, 0.0, True, 1.0),
    "brighter": (1.0, 0.0, False, 0.8),
    "darker": (1.0, 0.0, False, 1.25),
}
OTHER = {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT}
SURE = 0.01  # of the condylar width
BANDS = ((0, 2), (2, 4), (4, 8), (8, 12), (12, 18))  # pixels
NUMBERS = (
    *("medial_minimum", "medial_mean", "medial_uncertainty", "medial_told"),
    *("lateral_minimum", "lateral_mean", "lateral_uncertainty", "lateral_told"),
    *("medial_022", "lateral_078", "angle", "condyles", "condylar_uncertainty"),
    "milliseconds",
)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("what", choices=("phantoms", "repeat", "knees", "sheet"))
    words.add_argument("--data", type=Path)
    words.add_argument("--count", type=int, default=200)
    words.add_argument("--knees", type=int, default=0)
    words.add_argument("--csv", type=Path)
    words.add_argument("--share", default="0/1")
    words.add_argument("--picture", type=Path)
    words.add_argument("--seed", type=int, default=20)
    given = words.parse_args()
    chance = np.random.default_rng(given.seed)
    if given.what == "phantoms":
        phantoms(given.count, chance)
        return
    knees = for_training(index(given.data), given.data)
    if given.what == "repeat":
        repeat(by_grade(knees, (0, 1, 2), given.knees or 60, chance))
    elif given.what == "sheet":
        sheet(by_grade(knees, range(5), given.knees or 100, chance), given.picture)
    else:
        part, parts = map(int, given.share.split("/"))
        order = chance.permutation(len(knees))[: given.knees or None][part::parts]
        collect([knees[at] for at in order], given.csv)


def phantoms(count: int, chance: np.random.Generator) -> None:
    """Bias and spread of the narrowest place on drawn knees, without rims and with them."""
    print("plateaus without rims")
    drawn_errors([drawn_at_random(chance) for _ in range(count)], BANDS, chance)
    print("\nplateaus with two rims above the floor")
    drawn_errors([drawn_with_rims(chance) for _ in range(count)], BANDS[2:], chance)


def drawn_errors(
    phantoms: Sequence[Phantom], bands: Sequence[tuple[int, int]], chance: np.random.Generator
) -> None:
    """Print the errors of both compartments of each, by the drawn width."""
    pairs, milliseconds = [], []
    for phantom in phantoms:
        picture = phantom.draw(chance)
        begun = time.process_time()
        found = measure(KneeCrop(picture, Side.UNKNOWN))
        milliseconds.append(1000 * (time.process_time() - begun))
        for compartment, right in zip(found.compartments, (False, True), strict=True):
            if compartment.minimum is None:
                pairs.append((phantom.narrowest(right=right), math.nan))
            else:
                width = compartment.minimum.ratio * found.condylar_width
                pairs.append((phantom.narrowest(right=right), width))
    truth, seen = np.array(pairs).T
    print("pixels         spaces    bias  spread  within 1 pixel")
    for low, high in (*bands, (0, 99)):
        error = (seen - truth)[(truth >= low) & (truth < high)]
        known = error[np.isfinite(error)]
        within = (np.abs(error) <= 1).mean()
        spread = f"{known.mean():+.2f}    {known.std():.2f}    {within:.3f}"
        print(f"{low:>3} to {high:<8}{len(error):5}  {spread}")
    print(f"not measured {np.isnan(seen).sum()}; {np.median(milliseconds):.1f} ms a knee")


def repeat(knees: Sequence[Knee]) -> None:
    """Coefficient of variation over the changes: of the minima, and of the condylar width."""
    localiser = Localiser()
    taken = [list(changed(upright(knee, localiser), knee.side)) for knee in knees]
    for name in ("medial", "lateral"):
        minima = [[minimum_of(space, name) for space in spaces] for spaces in taken]
        values, doubts = np.array(minima).transpose(2, 0, 1)
        varied(name, values)
        sure = doubts[:, 0] < SURE
        each = np.nanstd(values[sure], axis=1, ddof=1) / np.nanmean(values[sure], axis=1)
        print(
            f"  of the {sure.sum()} with an uncertainty below {SURE}: {_root_mean_square(each):.4f}"
        )
        off = np.abs(values - values[:, :1]) / np.hypot(doubts, doubts[:, :1])
        within = (off[:, 1:] < 2).sum() / np.isfinite(off[:, 1:]).sum()
        print(f"  two measurements differ by less than two standard deviations: {within:.3f}")
    sizes = np.array([size for size, *_ in CHANGES.values()])
    widths = np.array([[space.condylar_width for space in spaces] for spaces in taken])
    varied("condyles", widths * sizes)


def minimum_of(space: JointSpace, name: str) -> tuple[float, float]:
    """Ratio of a compartment's minimum, and its uncertainty; nan: not measured."""
    found = next(one.minimum for one in space.compartments if one.name == name)
    if found is None:
        return math.nan, math.nan
    return found.ratio, math.nan if found.ratio_uncertainty is None else found.ratio_uncertainty


def varied(name: str, values: np.ndarray) -> None:
    each = np.nanstd(values, axis=1, ddof=1) / np.nanmean(values, axis=1)
    print(
        f"{name}: coefficient of variation {_root_mean_square(each):.4f} (root mean square),"
        f" {np.nanmedian(each):.4f} (median), below 0.05 in {(each < 0.05).mean():.3f} of"
        f" {len(values)} knees; not measured {np.isnan(values).mean():.4f}"
    )


def _root_mean_square(values: np.ndarray) -> float:
    return math.sqrt(np.nanmean(values**2))


def changed(pixels: Plane, side: Side) -> Iterator[JointSpace]:
    length = pixels.shape[0]
    for size, turn, mirrored, exponent in CHANGES.values():
        seen = pixels
        if (size, turn) != (1.0, 0.0):
            seen = cut(pixels, Region((length / 2, length / 2), length * size, turn), length)
        if mirrored:
            seen = np.ascontiguousarray(seen[:, ::-1])
        toned = (seen**exponent).astype(np.float32)
        yield measure(KneeCrop(toned, OTHER[side] if mirrored else side))


def collect(knees: Sequence[Knee], path: Path) -> None:
    """A row for each knee that the table does not have yet."""
    localiser = Localiser()
    done = set()
    if path.exists():
        with path.open(newline="") as table:
            done = {row["image"] for row in csv.DictReader(table)}
    with path.open("a", newline="") as table:
        writer = csv.writer(table)
        if not done:
            writer.writerow(("image", "patient", "side", "grade", *NUMBERS))
        for knee in knees:
            if knee.image.name in done:
                continue
            crop = KneeCrop(upright(knee, localiser), knee.side)
            begun = time.process_time()
            found = measure(crop)
            row = [*numbers(found), 1000 * (time.process_time() - begun)]
            cells = ["" if value is None else f"{value:.6g}" for value in row]
            grade = "" if knee.grade is None else int(knee.grade)
            writer.writerow((knee.image.name, knee.patient, knee.side.value, grade, *cells))
            table.flush()


def numbers(found: JointSpace) -> list[float | None]:
    values: list[float | None] = []
    for one in (found.medial, found.lateral):
        if one is None:
            values += [None] * 4
            continue
        told = np.array(one.femur.told) & np.array(one.tibia.told)
        minimum, mean = one.minimum, one.mean
        values += [
            None if minimum is None else minimum.ratio,
            None if mean is None else mean.ratio,
            None if minimum is None else minimum.ratio_uncertainty,
            float(told.mean()),
        ]
    for one, x in ((found.medial, 0.225), (found.lateral, 0.775)):
        places = () if one is None else one.fixed
        width = next((place.width for place in places if place.x == x), None)
        values.append(None if width is None else width.ratio)
    return [
        *values,
        found.convergence_angle,
        found.condylar_width,
        found.condylar_uncertainty,
    ]


def upright(knee: Knee, localiser: Localiser) -> Plane:
    """Grey values of a crop, bone bright."""
    return upright_grey(read_radiograph(knee.image).pixels, localiser)[0]


def by_grade(
    knees: Sequence[Knee], grades: Sequence[int], count: int, chance: np.random.Generator
) -> list[Knee]:
    """As many knees of each grade, drawn at random."""
    drawn = []
    for grade in grades:
        own = [knee for knee in knees if knee.grade == grade]
        some = chance.choice(len(own), min(len(own), count // len(grades)), replace=False)
        drawn += [own[at] for at in some]
    return drawn


def sheet(knees: Sequence[Knee], path: Path, columns: int = 10, width: int = 224) -> None:
    """The joints of these knees with their margins and narrowest places."""
    localiser = Localiser()
    height = width * 2 // 5
    rows = -(-len(knees) // columns)
    picture = Image.new("RGB", (columns * width, rows * height))
    for at, knee in enumerate(knees):
        pixels = upright(knee, localiser)
        place = (at % columns * width, at // columns * height)
        picture.paste(joint(pixels, measure(KneeCrop(pixels, knee.side)), knee, width), place)
    picture.save(path, quality=85)


def joint(pixels: Plane, found: JointSpace, knee: Knee, width: int) -> Image.Image:
    """The joint level, as wide as 1.12 condylar widths, in its own range of grey values."""
    (left, top), (right, bottom) = found.condyles
    side = 1.12 * found.condylar_width
    turn = math.degrees(math.atan2(bottom - top, right - left))
    square = Region(((left + right) / 2, (top + bottom) / 2), side, turn)
    whole = cut(pixels, square, width)
    shown = whole[width * 3 // 10 : width * 7 // 10]
    low, high = np.percentile(shown, (1, 99.5))
    grey = np.clip((shown - low) / max(high - low, 1e-6), 0, 1) * 255
    picture = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    origin, across, _, down = (np.array(corner) for corner in square.corners())

    def placed(points: Sequence[Point]) -> list[tuple[float, float]]:
        away = (np.array(points) - origin) / side**2 * width
        places = np.column_stack((away @ (across - origin), away @ (down - origin)))
        return [(float(x), float(y) - width * 3 // 10) for x, y in places]

    for compartment in found.compartments:
        for margin, colour in ((compartment.femur, "#ff5050"), (compartment.tibia, "#50ff50")):
            points = placed(margin.points)
            for at in range(len(points) - 1):
                seen = margin.told[at] and margin.told[at + 1]
                draw.line(points[at : at + 2], fill=colour if seen else "#808080")
        if compartment.narrowest is not None:
            draw.line(placed(compartment.narrowest), fill="#ffff00", width=2)
    grade = "" if knee.grade is None else int(knee.grade)
    draw.text((2, 0), f"{knee.image.stem} {grade}", fill="#ffff00")
    return picture


if __name__ == "__main__":
    main()
