"""Measure joint spaces by hand: draw knees enlarged and blind, take the points, write the table.

    python scripts/measure_joint_space.py draw DATA --pass 1 -o pass-1
    python scripts/measure_joint_space.py check DATA --pass 1 --notes pass-1/notes.csv -o marks-1
    python scripts/measure_joint_space.py collect DATA --pass 1 --notes pass-1/notes.csv -o 1.csv

`draw` takes as many knees of every grade, of different patients, and draws them one by one in an
order of the pass's own, numbered, without name or grade, with a ruler in pixels of the original
(the centre of the first pixel is 0). Beside them lies notes.csv: one line for each number, to be
filled with the narrowest place of the left and the right compartment of the picture (a point on
the femoral margin, one on the tibial) and the outermost points of the two condyles. A compartment
that cannot be measured stays empty, with the reason in the column remark. `check` draws the noted
points, more enlarged. `collect` refuses what is missing or out of place and names the knees.

With --without TABLE, one collected before, no knee of a patient measured there is taken. With
--disguise the knees are mirrored and each ruler begins at a number of its own, so that numbers
remembered from an earlier pass are of no use. `check` and `collect` need the same options.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joint_space_sheets import GRID, MARGIN, marked, sheet
from PIL import Image, ImageDraw, ImageFont

from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee, for_training, index
from kellgren.errors import InvalidManifest, InvalidOption
from kellgren.exchange.csv_text import table_text
from kellgren.grades import Side

SPOTS = ("left_femur", "left_tibia", "right_femur", "right_tibia", "left_end", "right_end")
NOTED = ("number", *(f"{spot}_{axis}" for spot in SPOTS for axis in "xy"), "remark")
COLUMNS = ("image", "pass", "part", "x1", "y1", "x2", "y2", "remark")
ROWS = 3
MARKS = ((255, 70, 70), (70, 255, 70))

Points = dict[str, tuple[float, float]]
Notes = dict[int, tuple[Points, str]]


@dataclass(frozen=True)
class Shown:
    """A knee as it is drawn.

    Attributes:
        knee: that is drawn.
        mirrored: left and right.
        start: of the ruler, across and down.
    """

    knee: Knee
    mirrored: bool = False
    start: tuple[int, int] = (0, 0)

    def pixels(self) -> np.ndarray:
        """The grey values ``(H, W)`` that are drawn."""
        with Image.open(self.knee.image) as picture:
            pixels = np.asarray(picture.convert("L"))
        return pixels[:, ::-1] if self.mirrored else pixels

    def drawn(self, point: tuple[float, float]) -> tuple[float, float]:
        """A noted point in pixels of what is drawn, the centre of the first one being 0."""
        return point[0] - self.start[0], point[1] - self.start[1]

    def true(self, points: Points) -> Points:
        """Noted points in pixels of the knee's file, left and right as there."""
        width = self.pixels().shape[1]
        found = {}
        for spot, point in points.items():
            x, y = self.drawn(point)
            side, rest = spot.split("_")
            if self.mirrored:
                side, x = ("right" if side == "left" else "left"), width - 1 - x
            found[f"{side}_{rest}"] = (round(x, 3), round(y, 3))
        return found


def main() -> None:
    """Draw, check or collect."""
    options = _options()
    every = for_training(index(options.data), options.data)
    if options.without:
        every = others(every, options.without)
    knees = [
        disguised(knee, options.seed, options.turn) if options.disguise else Shown(knee)
        for knee in shuffled(chosen(every, options.each, options.seed), options.seed, options.turn)
    ]
    if options.task == "draw":
        draw(knees, options.output)
    elif options.task == "check":
        check(knees, read_notes(options.notes, len(knees)), options.output)
    else:
        collect(knees, read_notes(options.notes, len(knees)), options.turn, options.output)


def _options() -> argparse.Namespace:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("task", choices=("draw", "check", "collect"))
    words.add_argument("data", type=Path, help="published folder or manifest")
    words.add_argument("--pass", type=int, dest="turn", required=True, help="1, 2, ...")
    words.add_argument("--notes", type=Path, help="the filled table; for check and collect")
    words.add_argument("--each", type=int, default=12, help="knees of every grade")
    words.add_argument("--seed", type=int, default=20, help="of the choice and of the orders")
    words.add_argument("--without", type=Path, help="table whose patients are left out")
    words.add_argument("--disguise", action="store_true", help="mirrored, with another ruler")
    words.add_argument("-o", "--output", type=Path, required=True)
    options = words.parse_args()
    if options.task != "draw" and options.notes is None:
        words.error("--notes is missing: name the table of points")
    if options.output.exists():
        words.error(f"{options.output} exists: name another place, nothing is overwritten")
    return options


def others(knees: list[Knee], measured: Path) -> list[Knee]:
    """The knees of patients of whom ``measured``, a collected table, holds none.

    Raises:
        InvalidManifest: the table names no image, or one that is not among the knees.
    """
    with measured.open(newline="", encoding="utf-8") as stream:
        names = {row.get("image") or "" for row in csv.DictReader(stream)}
    patients = {knee.image.name: knee.patient for knee in knees}
    unknown = sorted(names - patients.keys())
    if unknown or not names:
        raise InvalidManifest(
            measured, f"names no knee of the data: {unknown[:3]}", "Name a collected table of it"
        )
    gone = {patients[name] for name in names}
    return [knee for knee in knees if knee.patient not in gone]


def chosen(knees: list[Knee], each: int, seed: int) -> list[Knee]:
    """As many knees of every grade, no two of one patient, in the order of their files.

    Raises:
        InvalidOption: the data set has too few.
    """
    rng = random.Random(seed)
    taken: list[Knee] = []
    for grade in sorted({int(knee.grade or 0) for knee in knees}, reverse=True):
        # From the rarest grade down: patients of a rare one are not spent on a common one.
        theirs = sorted(
            (knee for knee in knees if int(knee.grade or 0) == grade), key=lambda it: it.image.name
        )
        rng.shuffle(theirs)
        patients = {knee.patient for knee in taken}
        first = {knee.patient: knee for knee in reversed(theirs) if knee.patient not in patients}
        own = [knee for knee in theirs if first.get(knee.patient) is knee][:each]
        if len(own) < each:
            raise InvalidOption("--each", f"grade {grade} has {len(own)} knees", "Ask for fewer")
        taken += own
    return sorted(taken, key=lambda knee: knee.image.name)


def shuffled(knees: list[Knee], seed: int, turn: int) -> list[Knee]:
    """The order of a pass: knee ``number`` lies at ``number - 1``."""
    knees = list(knees)
    random.Random(f"{seed}, pass {turn}").shuffle(knees)
    return knees


def disguised(knee: Knee, seed: int, turn: int) -> Shown:
    """The knee mirrored, with a ruler that begins between 100 and 600."""
    rng = random.Random(f"{seed}, pass {turn}, {knee.image.name}")
    return Shown(knee, mirrored=True, start=(rng.randint(100, 600), rng.randint(100, 600)))


def draw(knees: list[Shown], folder: Path) -> None:
    """Write ``01.png`` and so on, and the table to fill."""
    folder.mkdir(parents=True)
    for number, knee in enumerate(knees, 1):
        sheet(knee.pixels(), knee.start).save(folder / f"{number:02}.png")
    with written_whole(folder / "notes.csv") as stream:
        stream.write(table_text(NOTED, ({"number": n} for n in range(1, len(knees) + 1))))


def check(knees: list[Shown], notes: Notes, folder: Path) -> None:
    """Write ``01-03.png`` and so on: three knees, each noted margin eighteen times enlarged."""
    folder.mkdir(parents=True)
    tile = marked(np.zeros((MARGIN, MARGIN), np.uint8), (0, 0), MARKS[0]).size
    for first in range(1, len(knees) + 1, ROWS):
        numbers = range(first, min(first + ROWS, len(knees) + 1))
        canvas = Image.new("RGB", (24 + 4 * (tile[0] + 4), ROWS * (tile[1] + 6)))
        pen = ImageDraw.Draw(canvas)
        for row, number in enumerate(numbers):
            down = row * (tile[1] + 6)
            pen.text((2, down), str(number), fill=GRID, font=ImageFont.load_default(16))
            knee, (points, _) = knees[number - 1], notes[number]
            for column, spot in enumerate(SPOTS[:4]):
                if spot in points:
                    point, colour = knee.drawn(points[spot]), MARKS[column % 2]
                    part = marked(knee.pixels(), point, colour, knee.start)
                    canvas.paste(part, (24 + column * (tile[0] + 4), down))
        canvas.save(folder / f"{numbers[0]:02}-{numbers[-1]:02}.png")


def read_notes(path: Path, count: int) -> Notes:
    """Points and remark of each number; a compartment that is empty with a remark is left out.

    Raises:
        InvalidManifest: a number missing, twice or unknown; a point missing or no number.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or set(NOTED) - set(rows[0]):
        raise InvalidManifest(path, "lacks columns", f"These are needed: {', '.join(NOTED)}")
    numbers = [row["number"].strip() for row in rows]
    if sorted(numbers) != sorted(str(n) for n in range(1, count + 1)):
        raise InvalidManifest(path, "misses or repeats numbers", f"One line for each of 1-{count}")
    return {int(row["number"]): (_points(path, row), row["remark"].strip()) for row in rows}


def _points(path: Path, row: dict[str, str]) -> Points:
    points = {}
    for spot in SPOTS:
        given = [(row[f"{spot}_{axis}"] or "").strip() for axis in "xy"]
        if given == ["", ""] and (row["remark"] or "").strip() and not spot.endswith("end"):
            continue
        try:
            at = (float(given[0]), float(given[1]))
        except ValueError:
            at = (math.nan, math.nan)
        if not all(map(math.isfinite, at)):
            raise InvalidManifest(
                path, f"number {row['number']} has no {spot}", "Note it, or say why in remark"
            )
        points[spot] = at
    return points


def collect(knees: list[Shown], notes: Notes, turn: int, output: Path) -> None:
    """Write the points by name of the image, in its pixels; medial and lateral by its side.

    Raises:
        InvalidManifest: a point outside its picture, or the tibia above the femur.
    """
    rows = [
        row
        for number, knee in sorted(enumerate(knees, 1), key=lambda it: it[1].knee.image.name)
        for row in _rows(knee, number, *notes[number], turn)
    ]
    with written_whole(output) as stream:
        stream.write(table_text(COLUMNS, rows))


def _rows(
    shown: Shown, number: int, noted: Points, remark: str, turn: int
) -> Iterator[dict[str, object]]:
    knee, points = shown.knee, shown.true(noted)
    height, width = shown.pixels().shape
    for spot, (x, y) in points.items():
        if not (0 <= x < width and 0 <= y < height):
            raise InvalidManifest(f"number {number}", f"{spot} is outside", "Look at it again")
    medial = "right" if knee.side is Side.RIGHT else "left"
    lateral = "left" if medial == "right" else "right"
    for part, first, second in (
        ("medial", f"{medial}_femur", f"{medial}_tibia"),
        ("lateral", f"{lateral}_femur", f"{lateral}_tibia"),
        ("condyles", f"{medial}_end", f"{lateral}_end"),
    ):
        row: dict[str, object] = {"image": knee.image.name, "pass": turn, "part": part}
        row["remark"] = "" if part == "condyles" else remark
        if (first in points) != (second in points):
            raise InvalidManifest(f"number {number}", f"{part} has one point", "Note both, or none")
        if first in points:
            (x1, y1), (x2, y2) = points[first], points[second]
            if part != "condyles" and y2 < y1:
                raise InvalidManifest(
                    f"number {number}", f"{part}: the tibia lies above the femur", "Look again"
                )
            row |= {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
        yield row


if __name__ == "__main__":
    main()
