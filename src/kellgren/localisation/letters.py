"""Side letters on a film, L and R: found as bright isolated shapes, read by comparison with a font.

A letter never gives a side by itself: what is taken for one may be a scratch. It contradicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from kellgren.arrays import Float32Array, Mask
from kellgren.grades import Side
from kellgren.imaging.evidence import SideStatement
from kellgren.knee import Plane, Region, image_of_rows
from kellgren.localisation.shapes import shapes

LETTER = "a letter beside it (contradicts, never decides)"
BACKWARDS = "{side}, written backwards"
_NEARER = 0.7  # of the distance to the other knee, up to which a letter belongs to one
_LONGEST = 900  # pixels of the film's longer side, at which letters are looked for
_LEVELS = (0.97, 0.85, 0.72, 0.6)  # of the brightest grey
_HEIGHTS = 0.02, 0.3  # of a letter, of the film's height
_LEAST_PIXELS = 9  # of its height
_ASPECTS = 0.3, 1.15  # width over height
_GRID = 24  # pixels of a side of the shapes compared
_BLUR = 1.2  # in these pixels: strokes need not lie on each other exactly
_STRETCH = 1.6  # by which a shape may be wider or narrower than a letter
_ALIKE = 0.72  # least overlap with the letter that it is read as
_AHEAD = 0.05  # by which that overlap is above that with any other letter
_SIDES = "LR"
_OTHERS = "ABCDEFGHIJKMNOPQSTUVWXYZ0123456789"
_THICKENED = (1, 3, 3, 5, 5, 5)  # squares that thicken a letter, one after the other


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter on the film.

    Attributes:
        side: L or R.
        mirrored: it is written backwards.
        centre: (x, y) in pixels of the picture searched.
    """

    side: Side
    mirrored: bool
    centre: tuple[float, float]


def letters_beside(
    film: Plane, regions: Sequence[Region], *, negative: bool = False
) -> list[tuple[SideStatement, ...]]:
    """What the letters on a film say of each of its knees, the nearer one's.

    Args:
        film: ``(H, W)`` bone bright.
        regions: of the knees, turned alike by quarters; others are not searched.
        negative: bone is dark on it, and it is turned over for the search.
    """
    said: list[list[SideStatement]] = [[] for _ in regions]
    quarters = {round(region.angle / 90) % 4 for region in regions}
    if len(quarters) != 1:
        return [() for _ in regions]
    (turns,) = quarters
    height, width = film.shape
    columns = [
        (x, y, width - x, height - y)[turns] for x, y in (region.centre for region in regions)
    ]
    for letter in side_letters(np.rot90(film, turns), negative=negative):
        away = [abs(letter.centre[0] - column) for column in columns]
        nearest = int(np.argmin(away))
        if all(away[nearest] < _NEARER * a for n, a in enumerate(away) if n != nearest):
            word = letter.side.value
            value = BACKWARDS.format(side=word) if letter.mirrored else word
            said[nearest].append(SideStatement(LETTER, value, letter.side))
    return [tuple(dict.fromkeys(statements)) for statements in said]


def side_letters(film: Plane, *, negative: bool = False) -> list[Letter]:
    """All letters L and R, upright or mirrored.

    Args:
        film: ``(H, W)`` upright, bone bright.
        negative: bone is dark on it, and it is turned over for the search.
    """
    scale = min(1.0, _LONGEST / max(film.shape))
    small = _shown(film, scale, negative=negative)
    brightest, found = float(small.max()), list[Letter]()
    for level in _LEVELS:
        bright = small >= level * brightest
        for left, top, right, bottom in _boxes(bright):
            if not _stands_alone(bright, (left, top, right, bottom)):
                continue
            read = _read(bright[top:bottom, left:right])
            if read is None:
                continue
            centre = ((left + right) / 2 / scale, (top + bottom) / 2 / scale)
            if all(abs(centre[0] - one.centre[0]) * scale > 4 for one in found):
                found.append(Letter(*read, centre))
    return found


def _shown(film: Plane, scale: float, *, negative: bool) -> Plane:
    """The film as it is searched: in fewer pixels, if in others, and bone bright."""

    def part(rows: slice) -> Plane:
        return np.float32(1) - film[rows] if negative else film[rows]

    if scale == 1:
        return part(slice(None))
    size = (max(1, round(film.shape[1] * scale)), max(1, round(film.shape[0] * scale)))
    return np.asarray(image_of_rows(film.shape, part).resize(size, Image.Resampling.BOX))


def _boxes(bright: Mask) -> list[list[int]]:
    """Left, top, right and bottom of each connected shape that may be a letter by its size."""
    height, width = bright.shape
    boxes = shapes(bright)
    left, top, right, bottom = boxes.T
    tall, aspect = bottom - top, (right - left) / (bottom - top)
    is_inside = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    is_tall = (tall >= max(_LEAST_PIXELS, _HEIGHTS[0] * height)) & (tall <= _HEIGHTS[1] * height)
    is_letter = is_inside & is_tall & (aspect >= _ASPECTS[0]) & (aspect <= _ASPECTS[1])
    found: list[list[int]] = boxes[is_letter].tolist()
    return found


def _stands_alone(bright: Mask, box: tuple[int, int, int, int]) -> bool:
    """Whether hardly anything around the shape is as bright: no bone, no other letter's part."""
    left, top, right, bottom = box
    reach = max(2, round(0.2 * (bottom - top)))
    rows = slice(max(0, top - reach), bottom + reach)
    columns = slice(max(0, left - reach), right + reach)
    around = bright[rows, columns].sum() - bright[top:bottom, left:right].sum()
    return bool(around <= 0.02 * (bottom - top) * (right - left))


def _read(shape: Mask) -> tuple[Side, bool] | None:
    """The side that a shape is read as, and whether it is mirrored."""
    aspect = shape.shape[1] / shape.shape[0]
    seen = _on_grid(Image.fromarray(shape.astype(np.uint8) * 255))
    if _overlaps(seen, aspect, _templates(_SIDES)).max() < _ALIKE:
        return None  # as most shapes: nothing else need be compared, nor drawn, which takes longer
    templates = _templates(_SIDES + _OTHERS)
    overlaps = _overlaps(seen, aspect, templates)
    best = overlaps.reshape(len(_THICKENED), -1).max(axis=0)
    second, first = np.argsort(best)[-2:].tolist()
    name, mirrored = templates.names[first]
    if name not in _SIDES or best[first] < _ALIKE or best[first] - best[second] < _AHEAD:
        return None
    return Side(name), mirrored


def _overlaps(seen: Plane, aspect: float, templates: _Templates) -> Float32Array:
    """``(T * N,)`` what a shape shares with each template; 0 with wider and slimmer ones."""
    near = np.flatnonzero(np.maximum(aspect / templates.wide, templates.wide / aspect) <= _STRETCH)
    common = np.minimum(seen.ravel(), templates.grids[near]).sum(axis=1)
    overlaps = np.zeros(len(templates.wide), dtype=np.float32)
    overlaps[near] = common / (seen.sum() + templates.sums[near] - common)
    return overlaps


def _on_grid(shape: Image.Image) -> Plane:
    small = shape.resize((_GRID, _GRID), Image.Resampling.BOX)
    small = small.filter(ImageFilter.GaussianBlur(_BLUR))
    return np.asarray(small, dtype=np.float32) / np.float32(255)


@dataclass(frozen=True, slots=True, eq=False)
class _Templates:
    """The shapes that letters are compared with: all in one thickness, then in the next.

    Attributes:
        names: of the N in one thickness, the letter, and whether it is mirrored.
        grids: ``(T * N, GRID * GRID)`` shapes.
        sums: ``(T * N,)`` of each.
        wide: ``(T * N,)`` width over height.
    """

    names: tuple[tuple[str, bool], ...]
    grids: Float32Array
    sums: Float32Array
    wide: Float32Array


@cache
def _templates(letters: str) -> _Templates:
    """Each letter, upright and mirrored, thin to bold.

    Thickened by squares of 3, 5, 9, 13 and 17 pixels; each adds the next one's edge to the last,
    which is the same as one large square and quick.
    """
    font = ImageFont.load_default(96)
    pictures = [Image.new("L", (130, 130)) for _ in letters]
    for letter, picture in zip(letters, pictures, strict=True):
        ImageDraw.Draw(picture).text((65, 65), letter, 255, font, "mm")
    grids, wide = list[Plane](), list[float]()
    for added in _THICKENED:
        pictures = [picture.filter(ImageFilter.MaxFilter(added)) for picture in pictures]
        for picture in pictures:
            shape = picture.crop(picture.getbbox())
            grid = _on_grid(shape)
            grids += [grid.ravel(), grid[:, ::-1].ravel()]
            wide += [shape.width / shape.height] * 2
    flat = np.stack(grids)
    names = tuple((letter, mirrored) for letter in letters for mirrored in (False, True))
    return _Templates(names, flat, flat.sum(axis=1), np.array(wide, dtype=np.float32))
