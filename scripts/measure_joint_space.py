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
"""

from __future__ import annotations

import argparse
import csv
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee, for_training, index
from kellgren.errors import InvalidManifest, InvalidOption
from kellgren.exchange.csv_text import table_text
from kellgren.grades import Side

SPOTS = ("left_femur", "left_tibia", "right_femur", "right_tibia", "left_end", "right_end")
NOTED = ("number", *(f"{spot}_{axis}" for spot in SPOTS for axis in "xy"), "remark")
COLUMNS = ("image", "pass", "part", "x1", "y1", "x2", "y2", "remark")
GRID = (0, 190, 255)
ROWS = 3
MARGIN = 16
MARKS = ((255, 70, 70), (70, 255, 70))

Points = dict[str, tuple[float, float]]


def main() -> None:
    """Draw, check or collect."""
    options = _options()
    knees = shuffled(
        chosen(for_training(index(options.data), options.data), options.each, options.seed),
        options.seed,
        options.turn,
    )
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
    words.add_argument("-o", "--output", type=Path, required=True)
    options = words.parse_args()
    if options.task != "draw" and options.notes is None:
        words.error("--notes is missing: name the table of points")
    if options.output.exists():
        words.error(f"{options.output} exists: name another place, nothing is overwritten")
    return options


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


def draw(knees: list[Knee], folder: Path) -> None:
    """Write ``01.png`` and so on, and the table to fill."""
    folder.mkdir(parents=True)
    for number, knee in enumerate(knees, 1):
        sheet(pixels_of(knee)).save(folder / f"{number:02}.png")
    with written_whole(folder / "notes.csv") as stream:
        stream.write(table_text(NOTED, ({"number": n} for n in range(1, len(knees) + 1))))


def pixels_of(knee: Knee) -> np.ndarray:
    """The grey values ``(H, W)`` of a knee."""
    with Image.open(knee.image) as picture:
        return np.asarray(picture.convert("L"))


def sheet(pixels: np.ndarray) -> Image.Image:
    """One knee: both condyles three times enlarged, below them both compartments eight times."""
    height, width = pixels.shape
    top, bottom = round(height * 0.5), round(height * 0.71)
    near, far = round(width * 0.12), round(width * 0.44)
    parts = [
        enlarged(pixels, (near, top, far, bottom), 8, 5),
        enlarged(pixels, (width - far, top, width - near, bottom), 8, 5),
    ]
    whole = enlarged(pixels, (0, round(height * 0.27), width, round(height * 0.72)), 3, 10)
    size = (parts[0].width + parts[1].width + 8, whole.height + parts[0].height + 8)
    canvas = Image.new("RGB", size)
    canvas.paste(whole, ((canvas.width - whole.width) // 2, 0))
    canvas.paste(parts[0], (0, whole.height + 8))
    canvas.paste(parts[1], (parts[0].width + 8, whole.height + 8))
    return canvas


def enlarged(
    pixels: np.ndarray, box: tuple[int, int, int, int], times: int, step: int, *, lines: bool = True
) -> Image.Image:
    """A box (left, top, right, bottom), its greys stretched, in a ruler of ``step`` pixels."""
    left, top, right, bottom = box
    part = pixels[top:bottom, left:right].astype(float)
    low, high = np.percentile(part, (1, 99.5))
    grey = np.clip((part - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)
    size = ((right - left) * times, (bottom - top) * times)
    picture = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    canvas = Image.new("RGB", (size[0] + 34, size[1] + 18))
    canvas.paste(picture, (34, 18))
    pen = ImageDraw.Draw(canvas, "RGBA")
    font = ImageFont.load_default(12)
    for x in range(left + -left % step, right, step):
        at = 34 + (x - left + 0.5) * times
        pen.line((at, 14, at, canvas.height if lines else 18), fill=(*GRID, 90))
        if x % 2 == 0 or step > 1:
            pen.text((at, 0), str(x), fill=GRID, font=font, anchor="ma")
    for y in range(top + -top % step, bottom, step):
        at = 18 + (y - top + 0.5) * times
        pen.line((30, at, canvas.width if lines else 34, at), fill=(*GRID, 90))
        pen.text((28, at), str(y), fill=GRID, font=font, anchor="rm")
    return canvas


def check(knees: list[Knee], notes: dict[int, Points], folder: Path) -> None:
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
            pixels = pixels_of(knees[number - 1])
            for column, spot in enumerate(SPOTS[:4]):
                if spot in notes[number]:
                    part = marked(pixels, notes[number][spot], MARKS[column % 2])
                    canvas.paste(part, (24 + column * (tile[0] + 4), down))
        canvas.save(folder / f"{numbers[0]:02}-{numbers[-1]:02}.png")


def marked(
    pixels: np.ndarray, point: tuple[float, float], colour: tuple[int, int, int]
) -> Image.Image:
    """The surroundings of a point, with ticks at its height left and right of it, not upon it."""
    times = 18
    left, top = (
        min(max(round(at) - MARGIN // 2, 0), size - MARGIN)
        for at, size in zip(point, pixels.shape[::-1], strict=True)
    )
    canvas = enlarged(pixels, (left, top, left + MARGIN, top + MARGIN), times, 1, lines=False)
    pen = ImageDraw.Draw(canvas)
    across, down = (
        start + (at - low + 0.5) * times
        for start, at, low in zip((34, 18), point, (left, top), strict=True)
    )
    pen.line((across - 90, down, across - 36, down), fill=colour)
    pen.line((across + 36, down, across + 90, down), fill=colour)
    return canvas


def read_notes(path: Path, count: int) -> dict[int, Points]:
    """The points of each number; a compartment that is empty with a remark is left out.

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
    return {int(row["number"]): _points(path, row) for row in rows}


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


def collect(knees: list[Knee], notes: dict[int, Points], turn: int, output: Path) -> None:
    """Write the points by name of the image, in its pixels; medial and lateral by its side.

    Raises:
        InvalidManifest: a point outside its picture, or the tibia above the femur.
    """
    rows = [
        row
        for number, knee in sorted(enumerate(knees, 1), key=lambda it: it[1].image.name)
        for row in _rows(knee, number, notes[number], turn)
    ]
    with written_whole(output) as stream:
        stream.write(table_text(COLUMNS, rows))


def _rows(knee: Knee, number: int, points: Points, turn: int) -> Iterator[dict[str, object]]:
    height, width = pixels_of(knee).shape
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
