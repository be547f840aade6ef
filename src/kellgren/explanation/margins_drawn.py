"""The joint space over the picture of a knee: its margins, its narrowest places, its widths."""

from __future__ import annotations

import textwrap
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kellgren.joint_space.measurement import JointSpace, Margin, Point
from kellgren.joint_space.telling.placing import Corners, shares
from kellgren.joint_space.telling.space_words import compartment_words

FEMUR, TIBIA, NARROWEST = (94, 186, 255), (255, 176, 59), (255, 255, 255)
"""Colours of the margins and of the narrowest place."""
_FINER = 3  # times as fine as the picture, so that slanted lines have no steps
_LINE, _DOT = 2, 1.2  # widths and radius, pixels of the picture
_PAPER = (16, 19, 24)
_LETTERS = 66  # of a line below the knee


def with_margins(
    picture: Image.Image, shown: tuple[int, int], space: JointSpace, corners: Corners
) -> Image.Image:
    """Draw a joint space over a knee's picture.

    Args:
        picture: square, the knee in its middle without distortion.
        shown: width and height of the knee before it was fitted in, pixels.
        space: what was measured.
        corners: of the knee's picture.

    Returns:
        The picture with both margins of each compartment, femur blue and tibia orange, dotted where
        the picture does not tell the edge; a white line at the narrowest place; the widths below.
    """
    layer = Image.new("RGBA", [_FINER * length for length in picture.size])
    pen = ImageDraw.Draw(layer)
    for compartment in space.compartments:
        for margin, colour in ((compartment.femur, FEMUR), (compartment.tibia, TIBIA)):
            _margin(pen, _placed(margin.points, layer.size, shown, corners), margin, colour)
        if compartment.narrowest is not None:
            ends = _placed(compartment.narrowest, layer.size, shown, corners)
            _line(pen, ends, NARROWEST)
    smooth = layer.resize(picture.size, Image.Resampling.LANCZOS)
    drawn = Image.alpha_composite(picture.convert("RGBA"), smooth).convert("RGB")
    words = "\n".join(
        line
        for compartment in space.compartments
        for line in textwrap.wrap(compartment_words(compartment), _LETTERS)
    )
    place = (10, picture.height - 10)
    ImageDraw.Draw(drawn).multiline_text(
        *(place, words, NARROWEST, ImageFont.load_default(13), "ld"),
        stroke_width=2,
        stroke_fill=_PAPER,
    )
    return drawn


def _placed(
    points: tuple[Point, ...], size: tuple[int, int], shown: tuple[int, int], corners: Corners
) -> list[Point]:
    """Points of the radiograph as points of the layer."""
    scale = size[0] / max(shown)
    corner = (np.array(size) - scale * np.array(shown)) / 2
    placed = corner + shares(points, corners) * shown * scale
    return [(float(x), float(y)) for x, y in placed]


def _margin(
    pen: ImageDraw.ImageDraw, points: list[Point], margin: Margin, colour: tuple[int, int, int]
) -> None:
    told = list(zip(points, margin.told, strict=True))
    for (one, one_told), (other, other_told) in pairwise(told):
        if one_told and other_told:
            _line(pen, [one, other], colour)
    for (x, y), is_told in told:
        if not is_told:
            radius = _DOT * _FINER
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colour, 255))


def _line(pen: ImageDraw.ImageDraw, points: list[Point], colour: tuple[int, int, int]) -> None:
    pen.line(points, fill=(*colour, 255), width=_LINE * _FINER, joint="curve")
