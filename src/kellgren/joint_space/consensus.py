"""The margins on which several looks at the same joint agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kellgren.joint_space.edges import EDGE_PLACES, PlacedEdges

_AGREED = 0.008  # of the condylar width: two pixels of the training crops


def turned_back(edges: PlacedEdges, turn: float, size: float) -> PlacedEdges:
    """The edges that were placed in a square turned and resized about the joint, in the other.

    Args:
        edges: in the turned square.
        turn: degrees by which it was turned clockwise.
        size: its width over that of the other.

    Returns:
        At the places that the turned square does not show, nothing is told.
    """
    if (turn, size) == (0.0, 1.0):
        return edges
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    below, told = np.empty_like(edges.below), np.zeros_like(edges.told)
    rims = np.zeros_like(edges.rims)
    for at, sign in enumerate((1, -1)):  # places count from the outer edge of each condyle
        outwards = sign * (EDGE_PLACES - 0.5)
        for bone in (0, 1):
            down = edges.below[at, :, bone]
            along = 0.5 + sign * size * (cosine * outwards - sine * down)
            below[at, :, bone] = np.interp(
                EDGE_PLACES, along, size * (sine * outwards + cosine * down)
            )
            inside = (along[0] <= EDGE_PLACES) & (along[-1] >= EDGE_PLACES)
            nearest = np.abs(EDGE_PLACES[:, None] - along).argmin(axis=1)
            told[at, :, bone] = edges.told[at, nearest, bone] & inside
            if bone == 1:
                rims[at] = edges.rims[at, nearest] & inside
    return PlacedEdges(below, told, rims)


def consensus(looks: Sequence[PlacedEdges]) -> PlacedEdges:
    """The median of each margin at each place; told, where most looks tell it and agree on it.

    Args:
        looks: an odd number, three or more, all in the same square, the first of them seen in it.
    """
    told = np.stack([look.told for look in looks])
    below = np.stack([look.below for look in looks])
    most = told.sum(axis=0) * 2 > len(looks)
    # Looks that tell nothing at a place do not count there, unless most of them tell nothing.
    middle = np.nanmedian(np.where(told | ~most, below, np.nan), axis=0)
    apart = np.sort(np.abs(below - middle), axis=0)[len(looks) // 2]
    rims = np.stack([look.rims for look in looks]).sum(axis=0) * 2 > len(looks)
    return PlacedEdges(middle, most & (apart <= _AGREED), rims)
