"""How much of a knee is of one grey value, single specks, or noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kellgren.knee import bands

Grey = npt.NDArray[np.float32]

_TILES = 40  # along the shorter side
_SPECK = 0.2
_ROUGH = 0.05


def flat_share(knee: Grey) -> float:
    """Share of a knee ``(H, W)``, 0..1, in rectangles of one grey value away from its border."""
    tile = max(4, min(knee.shape) // _TILES)
    values = _of_tiles(np.maximum, knee, tile)
    is_flat = values == _of_tiles(np.minimum, knee, tile)
    area = 0
    for members in _groups(is_flat, values):
        rows, columns = members.T
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        inside = rows.min() > 0 and rows.max() < is_flat.shape[0] - 1
        reaches = columns.min() == 0 or columns.max() == is_flat.shape[1] - 1
        spans = columns.min() == 0 and columns.max() == is_flat.shape[1] - 1
        is_block = len(members) >= 0.9 * height * width and min(height, width) >= 2
        if inside and is_block and (spans or not reaches):
            area += len(members)
    return float(area / is_flat.size)


def _groups(mask: npt.NDArray[np.bool_], values: Grey) -> list[npt.NDArray[np.int64]]:
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


def speck_share(knee: Grey) -> float:
    """Share of a knee's pixels, 0..1, that are far darker or brighter than all their neighbours."""
    specks = 0
    for band in bands(len(knee) - 2, knee.shape[1]):
        part = knee[band.start : band.stop + 2]
        middle = part[1:-1, 1:-1]
        around = (part[:-2, 1:-1], part[2:, 1:-1], part[1:-1, :-2], part[1:-1, 2:])
        low = np.minimum.reduce(around)
        high = np.maximum.reduce(around)
        specks += int(((middle > high + _SPECK) | (middle < low - _SPECK)).sum())
    return float(specks / ((knee.shape[0] - 2) * (knee.shape[1] - 2)))


def noisy_share(knee: Grey) -> float:
    """Share of the tiles, 0..1, in which a pixel is as far from its neighbours as from the mean."""
    tile = max(8, min(knee.shape) // _TILES)
    down, across = ((length - 2) // tile for length in knee.shape)
    noisy = 0
    for band in bands(down, tile * knee.shape[1]):
        part = knee[band.start * tile : band.stop * tile + 2]
        middle = part[1:-1, 1:-1]
        smooth = (part[:-2, 1:-1] + part[2:, 1:-1] + part[1:-1, :-2] + part[1:-1, 2:]) / 4
        rough = _of_tiles(np.add, np.abs(middle - smooth), tile) / tile**2
        rows, columns = np.nonzero(rough > _ROUGH)
        tiles = _tiled(middle, tile)[rows, :, columns]
        spread = np.abs(tiles - tiles.mean(axis=(1, 2), keepdims=True)).mean(axis=(1, 2))
        noisy += int((rough[rows, columns] > 0.8 * spread).sum())
    return float(noisy / (down * across))


def _of_tiles(what: np.ufunc, values: Grey, tile: int) -> Grey:
    """The largest, least or sum of each tile, ``(rows, columns)``: down first, along whole rows."""
    rows, columns = values.shape[0] // tile, values.shape[1] // tile
    down = what.reduce(values[: rows * tile].reshape(rows, tile, -1), axis=1)
    return np.asarray(
        what.reduce(down[:, : columns * tile].reshape(rows, columns, tile), axis=2), np.float32
    )


def _tiled(values: Grey, tile: int) -> Grey:
    """``(rows, tile, columns, tile)``, without what is left over at the end."""
    rows, columns = values.shape[0] // tile, values.shape[1] // tile
    return values[: rows * tile, : columns * tile].reshape(rows, tile, columns, tile)
