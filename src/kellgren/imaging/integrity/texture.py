"""How much of a knee is of one grey value, single specks, or noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kellgren.knee import Plane, bands

_TILES = 40  # along the shorter side
_SPECK = 0.2
_ROUGH, _LEAST_ROUGH = 0.05, 0.02  # grey values: of noise in any film, and in a smooth one
_TIMES_USUAL = 3  # of its tiles that show anything
_NO_STRUCTURE = 0.002  # grey values


class Flat(NamedTuple):
    """Shares of a knee, 0..1, in rectangles of one grey value, by where they lie."""

    inside: float
    at_a_border: float  # reaching one
    at_two_borders: float


class Noisy(NamedTuple):
    """Shares of a knee, 0..1, in tiles without any smoothness, by how rough they are."""

    rough: float
    rougher_than_others: float


def flat_shares(knee: Plane) -> Flat:
    """Shares of a knee ``(H, W)`` in rectangles of one grey value.

    One across the whole width is inside if it reaches neither the top nor the bottom; else it is a
    margin, as all that reach three borders are, which do not count. One with other rows below it,
    though too few for a tile, counts as reaching two.
    """
    tile = max(4, min(knee.shape) // _TILES)
    values = _of_tiles(np.maximum, knee, tile)
    is_flat = values == _of_tiles(np.minimum, knee, tile)
    areas = [0, 0, 0]  # by the borders that they reach
    for members in _groups(is_flat, values):
        rows, columns = members.T
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        if len(members) < 0.9 * height * width or min(height, width) < 2:
            continue
        ends = (rows.min() == 0, rows.max() == is_flat.shape[0] - 1)
        sides = (columns.min() == 0, columns.max() == is_flat.shape[1] - 1)
        borders = sum(ends) + sum(sides)
        if all(sides) and not any(ends):
            borders = 0
        elif all(sides) and not ends[0] and (knee[-1] != values[rows[0], columns[0]]).any():
            borders = 2  # the last tiles may end some rows before the knee does: no margin
        if borders < len(areas):
            areas[borders] += len(members)
    return Flat(*(area / is_flat.size for area in areas))


def _groups(mask: npt.NDArray[np.bool_], values: Plane) -> list[npt.NDArray[np.int64]]:
    """Tiles that touch and have one value: ``(n, 2)`` row and column of each."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    groups = []
    while left:
        first = left.pop()
        group, edge = [first], [first]
        while edge:
            row, column = edge.pop()
            beside = ((row, column - 1), (row, column + 1))
            for near in ((row - 1, column), (row + 1, column), *beside):
                if near in left and values[near] == values[first]:
                    left.remove(near)
                    group.append(near)
                    edge.append(near)
        groups.append(np.array(group))
    return groups


def speck_share(knee: Plane) -> float:
    """Share of a knee's pixels, 0..1, that are far darker or brighter than all their neighbours."""
    specks = 0
    for band in bands(len(knee) - 2, knee.shape[1]):
        part = knee[band.start : band.stop + 2]
        middle = part[1:-1, 1:-1]
        up, down, left, right = part[:-2, 1:-1], part[2:, 1:-1], part[1:-1, :-2], part[1:-1, 2:]
        low = np.minimum(np.minimum(up, down), np.minimum(left, right))
        high = np.maximum(np.maximum(up, down), np.maximum(left, right))
        is_speck = (middle > high + _SPECK) | (middle < low - _SPECK)
        specks += int(np.count_nonzero(is_speck))
    return float(specks / ((knee.shape[0] - 2) * (knee.shape[1] - 2)))


def noisy_shares(knee: Plane) -> Noisy:
    """Shares of the tiles in which a pixel is as far from its neighbours as from the mean.

    Each film has a little noise of its own, so only tiles count that are rougher than any film's,
    or far rougher than the knee's others.
    """
    tile = max(8, min(knee.shape) // _TILES)
    parts = list(bands((len(knee) - 2) // tile, tile * knee.shape[1]))
    rough = np.concatenate([_roughness(knee, part, tile) for part in parts])
    structured = rough[rough > _NO_STRUCTURE]
    if not structured.size:
        return Noisy(0.0, 0.0)
    usual = float(np.median(structured))
    least = min(_ROUGH, max(_LEAST_ROUGH, _TIMES_USUAL * usual))
    tiles = np.lib.stride_tricks.sliding_window_view(knee[1:-1, 1:-1], (tile, tile))[::tile, ::tile]
    found = [np.zeros(0, np.float32)]
    for part in parts:
        places = np.nonzero(rough[part] > least)
        some = tiles[part][places]
        spread = np.abs(some - some.mean(axis=(1, 2), keepdims=True)).mean(axis=(1, 2))
        here = rough[part][places]
        found.append(here[here > 0.8 * spread])
    noise = np.concatenate(found)
    return Noisy(np.count_nonzero(noise > _ROUGH) / rough.size, len(noise) / rough.size)


def _roughness(knee: Plane, part: slice, tile: int) -> Plane:
    """Mean distance of a tile's pixels from the mean of their neighbours; some rows of tiles."""
    rows = knee[part.start * tile : part.stop * tile + 2]
    smooth = (rows[:-2, 1:-1] + rows[2:, 1:-1] + rows[1:-1, :-2] + rows[1:-1, 2:]) / 4
    return _of_tiles(np.add, np.abs(rows[1:-1, 1:-1] - smooth), tile) / np.float32(tile**2)


def _of_tiles(what: np.ufunc, values: Plane, tile: int) -> Plane:
    """The largest, least or sum of each tile, ``(rows, columns)``: down first, along whole rows."""
    rows, columns = values.shape[0] // tile, values.shape[1] // tile
    down = what.reduce(values[: rows * tile].reshape(rows, tile, -1), axis=1)
    return np.asarray(
        what.reduce(down[:, : columns * tile].reshape(rows, columns, tile), axis=2), np.float32
    )
