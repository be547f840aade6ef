"""Pictures that must not be graded as they are, drawn by the tests themselves with plain shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane

Draw = Callable[[ImageDraw.ImageDraw, int], None]


def knee(path: Path) -> Plane:
    """A knee of the examples, ``(299, 299)``."""
    return read_radiograph(path).pixels


def painted(
    pixels: Plane, draw: Draw, grey: int, *, blur: float = 0.6, noise: float = 0.0
) -> Plane:
    """Shapes of one grey value laid on a picture.

    Args:
        pixels: ``(H, W)`` 0..1.
        draw: draws the shapes with the value 255.
        grey: of the shapes, 0..255.
        blur: of their edge, in pixels.
        noise: standard deviation of the grain, over the whole picture.
    """
    mask = Image.new("L", pixels.shape[::-1])
    draw(ImageDraw.Draw(mask), 255)
    cover = np.asarray(mask.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32) / 255
    grain = noise * np.random.default_rng(0).standard_normal(pixels.shape)
    laid = pixels * (1 - cover) + grey / 255 * cover + grain
    return laid.clip(0, 1).astype(np.float32)


def total_knee(pen: ImageDraw.ImageDraw, ink: int) -> None:
    """Two rounded condyles and their bridge, a tray with a tapered keel."""
    pen.rounded_rectangle((28, 95, 130, 164), 22, ink)
    pen.rounded_rectangle((170, 95, 272, 164), 22, ink)
    pen.rectangle((110, 95, 190, 128), ink)
    pen.rectangle((30, 186, 270, 196), ink)
    pen.polygon([(125, 196), (175, 196), (160, 270), (140, 270)], ink)


def half_knee(pen: ImageDraw.ImageDraw, ink: int) -> None:
    """A prosthesis of one compartment."""
    pen.chord((168, 92, 272, 172), 0, 180, ink)
    pen.rectangle((170, 186, 268, 195), ink)
    pen.rectangle((212, 195, 220, 222), ink)


def plate(pen: ImageDraw.ImageDraw, ink: int) -> None:
    """A plate at the side of the tibia with four screws."""
    pen.line([(258, 190), (238, 225), (215, 299)], ink, 11)
    for y, x in ((196, 252), (212, 244), (245, 232), (272, 222)):
        pen.line([(x, y), (x - 150, y + 6)], ink, 7)


def rod(pen: ImageDraw.ImageDraw, ink: int) -> None:
    """A nail in the femur with two screws that lock it."""
    pen.rounded_rectangle((138, -20, 162, 135), 8, ink)
    pen.line([(70, 70), (235, 76)], ink, 7)
    pen.line([(70, 108), (235, 104)], ink, 7)


def growth_plates(pixels: Plane) -> Plane:
    """Dark wavy gaps across femur and tibia."""
    x = np.arange(299)

    def draw(pen: ImageDraw.ImageDraw, ink: int) -> None:
        for height, wave in ((88, 5.0), (226, -4.0)):
            y = height + wave * np.sin(x / 24) + 2 * np.sin(x / 7)
            line = [(float(a), float(b)) for a, b in zip(x[28:272], y[28:272], strict=True)]
            pen.line(line, ink, 6)

    shadow = painted(np.zeros_like(pixels), draw, 255, blur=1.5)
    return (pixels * (1 - 0.35 * shadow)).astype(np.float32)


def skyline() -> Plane:
    """A patella above the groove of the femur."""
    picture = Image.new("L", (400, 400), 10)
    pen = ImageDraw.Draw(picture)
    pen.ellipse((20, 60, 380, 700), 70)
    pen.polygon(
        [(80, 190), (150, 175), (205, 235), (265, 180), (330, 200), (360, 400), (50, 400)], 150
    )
    pen.line([(80, 190), (150, 175), (205, 235), (265, 180), (330, 200)], 230, 6)
    pen.polygon([(110, 130), (200, 95), (290, 125), (270, 160), (205, 205), (140, 165)], 165)
    pen.line([(110, 130), (140, 165), (205, 205), (270, 160), (290, 125)], 235, 5)
    return _soft(picture, 2.0, 0.02)


def head_slice(seed: int) -> Plane:
    """A slice of a head as magnetic resonance shows it: skull, folded cortex, ventricles."""
    rng = np.random.default_rng(seed)
    picture = Image.new("L", (320, 320), 4)
    pen = ImageDraw.Draw(picture)
    for inset, grey in ((30, 180), (42, 25), (50, 110)):
        pen.ellipse((inset, inset - 20, 320 - inset, 340 - inset), grey)
    for _ in range(60):
        x, y = rng.uniform(80, 230, 2)
        pen.arc((x, y, x + 30, y + 22), *sorted(rng.uniform(0, 360, 2)), 190, 5)
    pen.ellipse((130, 120, 152, 190), 20)
    pen.ellipse((168, 120, 190, 190), 20)
    return _soft(picture, 1.2, 0.03)


def speckle(seed: int) -> Plane:
    """Layers of speckle in a sector, as ultrasound shows tissue."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.uniform(0.1, 0.9, 12), 27)[:320]
    grain = rng.rayleigh(0.5, (320, 320))
    picture = Image.fromarray((rows[:, None] * grain * 160).clip(0, 255).astype(np.uint8))
    mask = Image.new("L", (320, 320))
    ImageDraw.Draw(mask).pieslice((-100, -250, 420, 320), 45, 135, 255)
    return _soft(Image.composite(picture, Image.new("L", (320, 320)), mask), 1.0, 0.0)


def diamonds(size: int = 232) -> Image.Image:
    """Five blue diamonds on white, two by two and one below."""
    picture = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(picture)
    for x, y in ((0.3, 0.25), (0.7, 0.25), (0.3, 0.53), (0.7, 0.53), (0.5, 0.78)):
        corners = [(x - 0.2, y), (x, y - 0.13), (x + 0.2, y), (x, y + 0.13)]
        pen.polygon([(size * a, size * b) for a, b in corners], (10, 90, 250))
    return picture


def _soft(picture: Image.Image, blur: float, noise: float) -> Plane:
    smooth = np.asarray(picture.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32) / 255
    grain = noise * np.random.default_rng(1).standard_normal(smooth.shape)
    return (smooth + grain).clip(0, 1).astype(np.float32)
