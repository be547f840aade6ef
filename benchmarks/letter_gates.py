"""The part `letters` of benchmarks/gates.py: side letters on real frames, and films without any."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from films import BOXES, fold_0, share
from PIL import Image, ImageDraw, ImageFont

from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane
from kellgren.localisation.letters import side_letters
from kellgren.training.knee_detector.run import read_boxes

FONTS = {
    "sans-serif bold": ("DejaVuSans-Bold.ttf", "DejaVuSansMono-Bold.ttf"),
    "sans-serif": ("DejaVuSans.ttf", "DejaVuSansMono.ttf", "cmss10.ttf"),
    "oblique": ("DejaVuSans-Oblique.ttf", "DejaVuSans-BoldOblique.ttf"),
    "serif": ("DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "STIXGeneral.ttf", "cmr10.ttf"),
}
OTHERS = "ABCDEFHIJKPTXZ1478"


def letters(options: argparse.Namespace, _: Path) -> None:
    """What is read of letters in fonts that the templates were not drawn in, and of no letters."""
    import matplotlib

    folder, rng = Path(matplotlib.get_data_path()) / "fonts" / "ttf", np.random.default_rng(16)
    names = [*read_boxes(BOXES, "train"), *read_boxes(BOXES, "test")]
    frames = [read_radiograph(options.frames / name).pixels for name in names]
    share("frames without letters: one is read", sum(map(_reads, frames)), len(frames))
    knees = [read_radiograph(knee.image).pixels for knee in fold_0(options.data)[0][:500]]
    share("knees without letters: one is read", sum(map(_reads, knees)), len(knees))
    for kind, fonts in FONTS.items():
        tally: Counter[str] = Counter()
        for number in range(options.letters):
            font = folder / fonts[number % len(fonts)]
            letter, backwards = str(rng.choice(["L", "R"])), bool(rng.random() < 0.5)
            film = stamped(frames[number % len(frames)], letter, font, rng, backwards=backwards)
            read = {(one.side.value, one.mirrored) for one in side_letters(film)}
            missed = "not read" if not read else "read as another"
            tally["read" if read == {(letter, backwards)} else missed] += 1
        print(f"{options.letters} letters L and R, half backwards, {kind}: {dict(tally)}")
    wrong = 0
    for number in range(options.letters):
        font = folder / FONTS["sans-serif bold"][number % 2]
        other, backwards = str(rng.choice(list(OTHERS))), bool(rng.random() < 0.5)
        film = stamped(frames[number % len(frames)], other, font, rng, backwards=backwards)
        wrong += _reads(film)
    share("another letter or digit is read as L or R", wrong, options.letters)


def _reads(film: Plane) -> bool:
    return bool(side_letters(film))


def stamped(
    film: Plane, letter: str, font: Path, rng: np.random.Generator, *, backwards: bool
) -> Plane:
    """The film with room beside it, and a letter there of some size and tone, with noise."""
    height, width = film.shape
    tone = rng.uniform(0.6, 1.0) / max(float(film.max()), 1e-3)
    wide = np.full((height, round(1.3 * width)), np.quantile(film, 0.02), np.float32)
    wide[:, :width] = film
    picture = Image.fromarray(np.rint((wide * tone).clip(0, 1) * 255).astype(np.uint8))
    stamp = Image.new("L", (400, 400))
    drawn = ImageFont.truetype(font, round(height * rng.uniform(0.08, 0.2)))
    ImageDraw.Draw(stamp).text((200, 200), letter, 255, drawn, "mm")
    stamp = stamp.crop(stamp.getbbox())
    if backwards:
        stamp = stamp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    corner = round(1.15 * width), round(height * rng.uniform(0.1, 0.7))
    picture.paste(int(rng.integers(200, 256)), corner, stamp)
    pixels = np.asarray(picture, np.float32) / 255
    noisy: Plane = (pixels + rng.normal(0, 0.01, pixels.shape)).clip(0, 1).astype(np.float32)
    return noisy
