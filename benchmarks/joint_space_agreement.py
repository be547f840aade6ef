"""Joint spaces measured by hand: the rater with himself, and with the package.

    python benchmarks/joint_space_agreement.py results/joint_space/hand.csv
        [--data DATA] [--points METHOD.csv] [--plot PICTURE.png]

The table is what scripts/measure_joint_space.py collects, all passes in one file; each later pass
is compared with the first. With DATA, the published knees, the package measures the same pictures
and is compared with the mean of the passes;
--points writes its points, in the same pixels. Intervals, 95 %, are drawn over patients.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kellgren.data.manifest import Knee, index
from kellgren.evaluation.bootstrap import Estimate, PatientBootstrap, patient_indices
from kellgren.evaluation.draws import around
from kellgren.imaging.radiograph import read_radiograph
from kellgren.joint_space.measure_knee import measure
from kellgren.joint_space.measurement import JointSpace
from kellgren.knee import KneeCrop
from kellgren.libraries import import_matplotlib

Points = tuple[float, float, float, float]
Widths = dict[tuple[str, str], float]
"""By image and part: medial, lateral, condyles."""
LIMITS = 1.96
CORNER = 0.5  # the package counts from the picture's corner, the table from the first centre
COMPARTMENTS = ("medial", "lateral")
COLUMNS = ("image", "part", "x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Agreement:
    """Of pairs of lengths in pixels: the second less the first."""

    pairs: int
    width: float
    difference: Estimate
    low: Estimate
    high: Estimate
    share: Estimate
    variation: Estimate
    icc: Estimate


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("hand", type=Path)
    words.add_argument("--data", type=Path)
    words.add_argument("--points", type=Path)
    words.add_argument("--plot", type=Path)
    given = words.parse_args()
    points = read_passes(given.hand)
    passes = {name: widths_of(measured) for name, measured in points.items()}
    (_, first), *later = passes.items()
    comparisons = [(f"pass {name} less pass 1", first, other) for name, other in later]
    for title, one, other in comparisons:
        print(table(title, one, other))
    if given.data:
        knees = {knee.image.name: knee for knee in index(given.data)}
        hand = mean_of(list(passes.values()))
        names = sorted({name for name, _ in hand})
        found = {name: measured(knees[name]) for name in names}
        measured_points = dict(point for name in names for point in points_of(name, found[name]))
        if given.points:
            write_points(given.points, measured_points)
        method = widths_of(measured_points)
        print(table("method less hand", hand, method, knees))
        print(margins(points, found))
        print(worst(hand, method, knees))
        comparisons.append(("method less hand", hand, method))
    if given.plot:
        plot(given.plot, comparisons)


def read_passes(path: Path) -> dict[str, dict[tuple[str, str], Points]]:
    """Of each pass the measured points by image and part."""
    passes: dict[str, dict[tuple[str, str], Points]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            own = passes.setdefault(row["pass"], {})
            if row["x1"]:
                x1, y1, x2, y2 = (float(row[name]) for name in COLUMNS[2:])
                own[row["image"], row["part"]] = (x1, y1, x2, y2)
    return dict(sorted(passes.items()))


def mean_of(passes: list[Widths]) -> Widths:
    """The mean of each that all passes measured."""
    every = passes[0].keys()
    for widths in passes:
        every = every & widths.keys()
    return {key: sum(widths[key] for widths in passes) / len(passes) for key in every}


def widths_of(points: dict[tuple[str, str], Points]) -> Widths:
    """The distance between the two points of each."""
    return {key: math.dist(at[:2], at[2:]) for key, at in points.items()}


def measured(knee: Knee) -> JointSpace:
    """What the package says of a published crop."""
    return measure(KneeCrop(read_radiograph(knee.image).pixels, knee.side))


def points_of(name: str, found: JointSpace) -> Iterator[tuple[tuple[str, str], Points]]:
    """The narrowest places and the condyles as the package finds them, in the hand's pixels."""
    ends = {one.name: one.narrowest for one in found.compartments}
    ordered = found.condyles if found.compartments[0].name == "medial" else found.condyles[::-1]
    for part, pair in (*ends.items(), ("condyles", ordered)):
        if pair is not None:
            (x1, y1), (x2, y2) = pair
            yield (name, part), (x1 - CORNER, y1 - CORNER, x2 - CORNER, y2 - CORNER)


def margins(passes: dict[str, dict[tuple[str, str], Points]], found: dict[str, JointSpace]) -> str:
    """How far below the hand's points the package's margins run, and where it is narrowest."""
    off: dict[str, list[float]] = {"femur": [], "tibia": []}
    places: dict[str, list[float]] = {"hand": [], "method": []}
    for name, space in found.items():
        ends = sorted(x - CORNER for x, _ in space.condyles)
        for one in space.compartments:
            noted = [
                points[name, one.name] for points in passes.values() if (name, one.name) in points
            ]
            if not noted or one.narrowest is None:
                continue
            x1, y1, x2, y2 = np.mean(noted, axis=0)
            for bone, margin, x, y in (("femur", one.femur, x1, y1), ("tibia", one.tibia, x2, y2)):
                across, down = np.array(margin.points).T - CORNER
                off[bone].append(float(np.interp(x, across, down) - y))
            for who, x in (("hand", x1), ("method", one.narrowest[0][0] - CORNER)):
                place = (x - ends[0]) / (ends[1] - ends[0])
                places[who].append(min(place, 1 - place))
    lines = [
        "\n| margin, method below hand | compartments | median | mean | within 1 pixel |",
        "|---|---|---|---|---|",
    ]
    for bone, values in off.items():
        near = np.abs(values) <= 1
        lines.append(
            f"| {bone} | {len(values)} | {np.median(values):.2f} | {np.mean(values):.2f} "
            f"| {100 * near.mean():.0f} % |"
        )
    for who, values in places.items():
        low, middle, high = np.percentile(values, (10, 50, 90))
        lines.append(
            f"\nnarrowest by {who}, of the condylar width: {middle:.2f} ({low:.2f} to {high:.2f})"
        )
    return "\n".join(lines)


def write_points(path: Path, points: dict[tuple[str, str], Points]) -> None:
    with path.open("x", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*key, *(f"{value:.2f}" for value in at)) for key, at in points.items())


def table(title: str, first: Widths, second: Widths, knees: dict[str, Knee] | None = None) -> str:
    """Markdown: one row for each part, and by grades where these are known."""
    lines = [
        f"\n{title[0].upper()}{title[1:]}, pixels\n",
        "| | pairs | mean width | mean difference | share of the width | limits of agreement "
        "| coefficient of variation | ICC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, keys in rows_of(first, second, knees):
        if len(keys) > 2:
            lines.append(_line(name, agreement(keys, first, second)))
    return "\n".join(lines)


def rows_of(
    first: Widths, second: Widths, knees: dict[str, Knee] | None
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The name of each row, and the keys that both have."""
    both = sorted(first.keys() & second.keys())
    for part in (*COMPARTMENTS, "condyles"):
        yield part, [key for key in both if key[1] == part]
    yield "both compartments", [key for key in both if key[1] != "condyles"]
    for low, high in ((0, 2), (3, 4)) if knees else ():
        for part in COMPARTMENTS:
            graded = [key for key in both if low <= int(knees[key[0]].grade or 0) <= high]
            yield f"{part}, grades {low}-{high}", [key for key in graded if key[1] == part]


def agreement(keys: list[tuple[str, str]], first: Widths, second: Widths) -> Agreement:
    """Bland and Altman's limits, within-subject variation and ICC(A,1) with intervals."""
    one, other = (np.array([widths[key] for key in keys]) for widths in (first, second))
    patients, count = patient_indices(name.rsplit(".", 1)[0][:-1] for name, _ in keys)
    draws = PatientBootstrap(count, len(keys), 2000, 42)(statistics(one, other, patients))
    return Agreement(
        len(keys), float(((one + other) / 2).mean()), *(around(it, count) for it in draws.T)
    )


def statistics(
    one: np.ndarray, other: np.ndarray, patients: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Of counts ``(r, P)``: ``(r, 6)`` difference, two limits, share, variation, ICC."""
    difference, middle = other - one, (one + other) / 2

    def of(counts: np.ndarray) -> np.ndarray:
        weights = counts[:, patients]
        n = weights.sum(axis=1)
        mean, level = weights @ difference / n, weights @ middle / n
        spread = (weights @ difference**2 / n - mean**2) * n / (n - 1)
        deviation = np.sqrt(np.maximum(spread, 0))
        within = np.sqrt(weights @ difference**2 / (2 * n))
        between = 2 * (weights @ middle**2 / n - level**2) * n / (n - 1)
        error = spread / 2
        raters = n * mean**2 / 2
        icc = (between - error) / (between + error + 2 * (raters - error) / n)
        low, high = mean - LIMITS * deviation, mean + LIMITS * deviation
        return np.column_stack((mean, low, high, mean / level, within / level, icc))

    return of


def _line(name: str, found: Agreement) -> str:
    def shown(it: Estimate, percent: bool = False) -> str:
        times, unit = (100, " %") if percent else (1, "")
        return f"{it.value * times:.2f}{unit} ({it.low * times:.2f} to {it.high * times:.2f})"

    return (
        f"| {name} | {found.pairs} | {found.width:.1f} | {shown(found.difference)} "
        f"| {shown(found.share, True)} | {shown(found.low)}, {shown(found.high)} "
        f"| {shown(found.variation, True)} | {found.icc.value:.3f} "
        f"({found.icc.low:.3f} to {found.icc.high:.3f}) |"
    )


def worst(hand: Widths, method: Widths, knees: dict[str, Knee], count: int = 12) -> str:
    """The compartments that differ most, and those that one of the two did not measure."""
    lines = ["\n| image | grade | part | hand | method |", "|---|---|---|---|---|"]
    both = [key for key in hand.keys() & method.keys() if key[1] != "condyles"]
    for key in sorted(both, key=lambda key: -abs(hand[key] - method[key]))[:count]:
        grade = int(knees[key[0]].grade or 0)
        lines.append(f"| {key[0]} | {grade} | {key[1]} | {hand[key]:.1f} | {method[key]:.1f} |")
    only = sorted(hand.keys() ^ method.keys())
    return "\n".join([*lines, "", f"measured by one alone: {only}"])


def plot(path: Path, comparisons: list[tuple[str, Widths, Widths]]) -> None:
    """Bland and Altman's picture of each comparison."""
    figure = import_matplotlib().figure.Figure(
        figsize=(5.2 * len(comparisons), 3.8), layout="constrained"
    )
    for place, (title, first, second) in enumerate(comparisons, 1):
        axes = figure.add_subplot(1, len(comparisons), place)
        keys = sorted(key for key in first.keys() & second.keys() if key[1] != "condyles")
        found = agreement(keys, first, second)
        for part, colour in zip(COMPARTMENTS, ("#1f5f99", "#c2571a"), strict=True):
            own = [(first[key], second[key]) for key in keys if key[1] == part]
            middle, difference = [(a + b) / 2 for a, b in own], [b - a for a, b in own]
            axes.scatter(middle, difference, s=14, color=colour, alpha=0.7, label=part)
        for level, style in ((found.difference, "-"), (found.low, "--"), (found.high, "--")):
            axes.axhline(level.value, color="0.3", linestyle=style, linewidth=1)
        axes.set(xlabel="mean of the two, pixels", ylabel=f"{title}, pixels")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
