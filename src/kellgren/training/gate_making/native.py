"""Native knees as X-ray rooms show them: what the gate must let pass, whatever the tone."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kellgren.knee import Plane, Region
from kellgren.localisation.crop import cut
from kellgren.training.gate_making.painting import blurred, unit


def moved(knee: Plane, rng: np.random.Generator, *covered: Plane) -> tuple[Plane, ...]:
    """Cut again as far off as the detector's squares are: place, width and angle.

    Args:
        knee: ``(S, S)``.
        rng: draws.
        covered: masks of the same size, which are cut alike.
    """
    size = knee.shape[0]
    off = rng.normal(0, 0.02, 2).clip(-0.06, 0.06) * size
    region = Region(
        (float(size / 2 + off[0]), float(size / 2 + off[1])),
        float(size * np.clip(rng.normal(1, 0.05), 0.88, 1.14)),
        float(np.clip(rng.normal(0, 3), -8, 8)),
    )
    masks = (cut(mask, region, size, outside=0.0) for mask in covered)
    return cut(knee, region, size), *masks


def marked(knee: Plane, rng: np.random.Generator) -> Plane:
    """Perhaps a lead letter beside the bone, and collimation at the edges: no implants."""
    size = knee.shape[0]
    shown = knee.copy()
    if rng.random() < 0.25:
        picture = Image.fromarray(np.rint(shown * 255).astype(np.uint8))
        font = ImageFont.load_default(int(size * rng.uniform(0.06, 0.14)))
        at = rng.choice([0.01, 0.86]) * size, rng.choice([0.02, 0.1, 0.8, 0.86]) * size
        word = str(rng.choice(["R", "L", "AP", "W"]))
        ImageDraw.Draw(picture).text(at, word, int(rng.integers(200, 256)), font)
        shown = unit(np.asarray(picture, dtype=np.float32) / 255)
    if rng.random() < 0.3:
        value = rng.choice([0.0, 0.0, 0.0, 1.0])
        for edge in range(4):
            if rng.random() < 0.5:
                wide = int(size * rng.uniform(0.01, 0.28 if edge % 2 == 0 else 0.15))
                np.rot90(shown, edge)[:wide] = value
    return shown


def exposed(knee: Plane, rng: np.random.Generator) -> Plane:
    """Another tone, noise, sharpness, and at times the traces of JPEG."""
    if rng.random() < 0.3:
        return knee
    shown: Plane = (knee ** rng.uniform(0.6, 1.6)).astype(np.float32)
    low = rng.uniform(0, 0.15)
    shown = (low + rng.uniform(0.7, 1.03) * shown).clip(0, 1)
    if rng.random() < 0.3:
        smooth = blurred(shown.astype(np.float32), 1.0)
        shown = shown + rng.uniform(-1.0, 0.8) * (smooth - shown)
    grain = rng.choice([0.0, 0.005, 0.02])
    shown = (shown + grain * rng.standard_normal(knee.shape)).clip(0, 1).astype(np.float32)
    return _jpeg(shown, int(rng.integers(40, 96))) if rng.random() < 0.2 else shown


def _jpeg(plane: Plane, quality: int) -> Plane:
    stream = io.BytesIO()
    Image.fromarray(np.rint(plane * 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as picture:
        return unit(np.asarray(picture, dtype=np.float32) / 255)
