"""The parts `sides` and `headers` of benchmarks/gates.py."""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from films import BOXES, film_maker, fold_0, share
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset

from kellgren.errors import NotAKneeFilm
from kellgren.grades import Side
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane
from kellgren.localisation.film import DetectedKnee, find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.laterality import side_statements
from kellgren.training.knee_detector.film_maker import FilmMaker

SIZE = 800  # pixels of a synthetic film: sides need no more, and 500 are drawn in minutes
DIRT = ("specks", "letters", "ruler", "leg", "all")


@dataclass(frozen=True, slots=True)
class Shown:
    """A film whose knees are known: the column of each joint, and its side."""

    pixels: Plane
    knees: tuple[tuple[float, Side], ...]


def sides(options: argparse.Namespace, folder: Path) -> None:
    """Mirrored films of both knees; films of one knee with what may be taken for another."""
    localiser, rng = Localiser(), np.random.default_rng(15)
    knees, _ = fold_0(options.data)
    maker = film_maker(knees, SIZE, detector=False)
    pairs = [film for film in frame_films(options.frames) if len(film.knees) == 2]
    pairs = pairs[: options.mirrored]
    pairs += [pair_film(maker, knees, rng) for _ in range(options.mirrored - len(pairs))]
    usual = [["L", "F"], None]
    for orientation in usual:
        count_sides(pairs, orientation, localiser, folder, "as delivered")
    mirrored = [
        Shown(np.fliplr(film.pixels), tuple((film.pixels.shape[1] - x, s) for x, s in film.knees))
        for film in pairs
    ]
    count_sides(mirrored, ["R", "F"], localiser, folder, "mirrored")
    count_sides(mirrored, ["L", "H"], localiser, folder, "mirrored, a header of another film")
    ghosts(options, maker, localiser, rng)


def frame_films(folder: Path) -> list[Shown]:
    """The real frames, both parts: no side follows from what the detector learnt on them."""
    found: dict[str, list[tuple[float, Side]]] = {}
    with BOXES.open(newline="") as stream:
        for row in csv.DictReader(stream):
            knee = (float(row["centre_x"]), Side(row["side"]))
            found.setdefault(row["file"], []).append(knee)
    return [
        Shown(read_radiograph(folder / name).pixels, tuple(knees)) for name, knees in found.items()
    ]


def pair_film(maker: FilmMaker, knees: Sequence[Any], rng: np.random.Generator) -> Shown:
    """A synthetic film of both knees of a patient, upright."""
    while True:
        film = maker.lay_film(rng)
        if len(film.knees) == 2 and all(abs(knee.region.angle) < 45 for knee in film.knees):
            left, top, right, bottom = film.content
            places = [(k.region.centre[0] - left, knees[k.crop].side) for k in film.knees]
            return Shown(film.pixels[top:bottom, left:right].numpy(), tuple(places))


def count_sides(
    films: Sequence[Shown],
    orientation: list[str] | None,
    localiser: Localiser,
    folder: Path,
    name: str,
) -> None:
    """Knees whose side is right, swapped or unknown, on films under one orientation."""
    tally: Counter[str] = Counter()
    swapped_films = 0
    for film in films:
        header = {} if orientation is None else {"PatientOrientation": orientation}
        found = find(write_dicom(folder / "film.dcm", film.pixels, **header), localiser)
        wrong = 0
        for column, side in film.knees:
            near = min(
                found, key=lambda knee: abs(middle(knee, film.pixels) - column), default=None
            )
            if (
                near is None
                or abs(middle(near, film.pixels) - column) > 0.15 * film.pixels.shape[1]
            ):
                tally["not found"] += 1
            elif near.crop.side is Side.UNKNOWN:
                tally["unknown"] += 1
            else:
                wrong += near.crop.side is not side
                tally["right" if near.crop.side is side else "swapped"] += 1
        swapped_films += wrong > 0
    said = "none" if orientation is None else "\\".join(orientation)
    print(f"{len(films)} films of both knees, {name}, PatientOrientation {said}: {dict(tally)}")
    share("  films with a swapped side", swapped_films, len(films))


def middle(knee: DetectedKnee, pixels: Plane) -> float:
    region = knee.crop.region
    return pixels.shape[1] / 2 if region is None else region.centre[0]


def find(path: Path, localiser: Localiser) -> list[DetectedKnee]:
    radiograph = read_radiograph(path)
    statements = side_statements(radiograph.header.sides, Side.UNKNOWN, Side.UNKNOWN)
    try:
        return find_knees(radiograph, statements, localiser)
    except NotAKneeFilm:
        return []


def ghosts(
    options: argparse.Namespace, maker: FilmMaker, localiser: Localiser, rng: np.random.Generator
) -> None:
    """Films of one knee without a word of its side: a side can come from a ghost only."""
    single = [film.pixels for film in frame_films(options.frames) if len(film.knees) == 1]
    tally: dict[str, Counter[str]] = {kind: Counter() for kind in DIRT}
    for number in range(options.ghosts):
        kind = DIRT[number % len(DIRT)]
        half = options.ghosts // 2
        film = single[number % len(single)] if number < half else one_knee(maker, rng)
        pixels = dirty(film, kind, rng)
        radiograph = read_radiograph(np.rint(pixels * 65535).astype(np.uint16))
        try:
            found = find_knees(radiograph, (), localiser)
        except NotAKneeFilm:
            found = []
        tally[kind]["films"] += 1
        tally[kind]["with a side"] += any(knee.crop.side is not Side.UNKNOWN for knee in found)
        tally[kind]["more than one knee"] += len(found) > 1
        tally[kind]["refused"] += not found
    for kind, counts in tally.items():
        print(f"one knee with {kind}: {dict(counts)}")
    told = sum(counts["with a side"] for counts in tally.values())
    share("films of one knee with a side that nothing but a ghost told", told, options.ghosts)


def one_knee(maker: FilmMaker, rng: np.random.Generator) -> Plane:
    while True:
        film = maker.lay_film(rng)
        if len(film.knees) == 1:
            left, top, right, bottom = film.content
            pixels: Plane = film.pixels[top:bottom, left:right].numpy()
            return pixels


def dirty(film: Plane, kind: str, rng: np.random.Generator) -> Plane:
    """The film on one twice as wide, with dirt beside the knee and on it."""
    height, width = film.shape
    wide = np.full((height, 2 * width), np.quantile(film, 0.02), np.float32)
    at = int(rng.integers(0, width + 1))
    wide[:, at : at + width] = film
    picture = Image.fromarray(np.rint(wide.clip(0, 1) * 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for one, draw in (("specks", _specks), ("letters", _letters), ("ruler", _ruler)):
        if kind in (one, "all"):
            draw(pen, picture.size, rng)
    pixels = np.asarray(picture, np.float32) / 255
    if kind in ("leg", "all"):
        pixels = _leg(pixels, at < width / 2, rng)
    noisy: Plane = (pixels + rng.normal(0, 0.01, pixels.shape)).clip(0, 1).astype(np.float32)
    return noisy


def _points(size: tuple[int, int], count: int, rng: np.random.Generator) -> Iterator[Any]:
    for _ in range(count):
        yield tuple(rng.uniform(0, length) for length in size)


def _specks(pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Dust, and hairs."""
    for x, y in _points(size, 40, rng):
        reach, tone = rng.uniform(0.5, 0.015 * max(size)), int(rng.integers(90, 256))
        pen.ellipse((x, y, x + reach, y + reach * rng.uniform(0.4, 1)), fill=tone)
    for x, y in _points(size, 6, rng):
        dx, dy = rng.normal(0, 0.1 * max(size), 2)
        pen.line((x, y, x + dx, y + dy), fill=int(rng.integers(120, 256)), width=2)


def _letters(pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    words = ("L", "R", "AP STANDING", "KNEE 2/3", "PA", "LT", "RT", "12.03.2019", "O", "8")
    for x, y in _points(size, 6, rng):
        font = ImageFont.load_default(float(rng.uniform(0.05, 0.3)) * size[1])
        pen.text((x, y), str(rng.choice(words)), int(rng.integers(150, 256)), font)


def _ruler(pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    x, tone, step = rng.uniform(0, size[0]), int(rng.integers(140, 256)), size[1] / 40
    pen.line((x, 0, x, size[1]), fill=tone, width=3)
    for tick in range(40):
        reach = size[0] * (0.05 if tick % 10 == 0 else 0.02)
        pen.line((x, tick * step, x + reach, tick * step), fill=tone, width=2)


def _leg(pixels: Plane, at_right: bool, rng: np.random.Generator) -> Plane:
    """The soft edge of another leg at the film's border, with a shaft of bone in it."""
    height, width = pixels.shape
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    reach, bulge = rng.uniform(0.08, 0.3) * width, rng.uniform(-0.08, 0.08) * width
    pen.polygon(
        ((0, 0), (reach, 0), (reach + bulge, height / 2), (reach, height), (0, height)), 110
    )
    pen.rectangle((0, 0, reach * rng.uniform(0.1, 0.6), height), 190)
    soft = mask.filter(ImageFilter.GaussianBlur(0.01 * width))
    leg = np.asarray(soft, np.float32) / 255
    return np.maximum(pixels, leg[:, ::-1] if at_right else leg)


def write_dicom(path: Path, pixels: Plane, **elements: Any) -> Path:
    """A DX film of 12 bits."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID, dataset.Modality = "2.25.15", "DX"
    dataset.BodyPartExamined, dataset.ViewPosition = "KNEE", "AP"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.add_new("PixelData", "OW", np.rint(pixels * 4095).astype("<u2").tobytes())
    dataset.save_as(path, enforce_file_format=True)
    return path


HEADERS: dict[str, list[dict[str, Any]]] = {
    "another modality": [{"Modality": m} for m in ("MR", "CT", "US", "NM", "PT", "MG", "OT")],
    "another body part": [
        {"BodyPartExamined": part}
        for part in ("CHEST", "HAND", "FOOT", "ANKLE", "HIP", "PELVIS", "SHOULDER", "ELBOW")
    ],
    "another view": [
        {"ViewPosition": view}
        for view in ("LL", "RL", "LLO", "RLO", "LATERAL", "AXIAL", "SUNRISE", "SKYLINE", "OBLIQUE")
    ],
    "from the side or above, by PatientOrientation": [
        {"PatientOrientation": towards} for towards in (["A", "F"], ["P", "F"], ["L", "P"])
    ],
    "a child": [{"PatientAge": age} for age in ("007Y", "017Y", "204M", "100W")],
    "raw, derived, test, text in the picture": [
        {"PresentationIntentType": "FOR PROCESSING"},
        {"ImageType": ["DERIVED", "SECONDARY"]},
        {"QualityControlImage": "YES"},
        {"BurnedInAnnotation": "YES"},
        {"SOPClassUID": uid.SecondaryCaptureImageStorage},
    ],
    "a film of an adult's knee from the front": [
        {"PatientOrientation": ["L", "F"], "PatientAge": "061Y"},
        {"ViewPosition": "PA"},
        {"Modality": "CR", "SOPClassUID": uid.ComputedRadiographyImageStorage},
    ],
}


def headers(options: argparse.Namespace, folder: Path) -> None:
    """The example knees under each header."""
    localiser = Localiser()
    knees = [read_radiograph(path).pixels for path in sorted(options.examples.glob("*.png"))]
    print(f"{'header':<48} {'tried':>6} {'refused':>8} {'warned':>7} {'silent':>7}")
    for kind, variants in HEADERS.items():
        counts: Counter[str] = Counter()
        for elements in variants:
            for pixels in knees:
                found = find(write_dicom(folder / "film.dcm", pixels, **elements), localiser)
                checks = [c.verdict for k in found for c in k.checks if c.name == "header"]
                said = "warned" if "warning" in checks else "silent"
                counts[said if found else "refused"] += 1
        tried = sum(counts.values())
        line = " ".join(f"{counts[word]:>7}" for word in ("refused", "warned", "silent"))
        print(f"{kind:<48} {tried:>6}  {line}")
