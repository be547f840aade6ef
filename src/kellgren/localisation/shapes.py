"""Connected shapes of a mask, by their boxes: rows are runs, and runs that touch are joined."""

from __future__ import annotations

import numpy as np

from kellgren.arrays import IntArray, Mask

_MOST_RUNS = 40_000  # of a mask; one of noise has more, and no shapes


def shapes(mask: Mask) -> IntArray:
    """Boxes of the shapes that hang together, corners counted: runs of rows, joined.

    Returns:
        ``(N, 4)``: left, top, right and bottom of each.
    """
    wide = mask.shape[1] + 2
    padded = np.zeros((len(mask), wide), dtype=np.bool_)
    padded[:, 1:-1] = mask
    flat = padded.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1])  # where a run begins, and where it ends
    (rows, starts), ends = np.divmod(changes[0::2], wide), changes[1::2] % wide
    if len(rows) > _MOST_RUNS:
        return np.zeros((0, 4), np.int64)
    return _joined(
        _roots(*_touching(mask.shape[1], rows, starts, ends), len(rows)), rows, starts, ends
    )


def _touching(
    width: int, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs that touch: each run, and those of the row above that it lies under."""
    wide = width + 2  # rows one behind the other, so that one search finds the runs of each
    first = np.searchsorted(rows * wide + ends, (rows - 1) * wide + starts, "left")
    behind = np.searchsorted(rows * wide + starts, (rows - 1) * wide + ends, "right")
    count = np.maximum(behind - first, 0)
    below = np.repeat(np.arange(len(rows)), count)
    within = np.arange(len(below)) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + within, below


def _roots(one: np.ndarray, other: np.ndarray, count: int) -> np.ndarray:
    """The least number that hangs together with each of ``count``, given the pairs that touch."""
    roots = np.arange(count)
    while one.size:
        roots[np.maximum(one, other)] = np.minimum(one, other)  # of several, any one
        while ((above := roots[roots]) != roots).any():
            roots = above
        one, other = roots[one], roots[other]
        apart = one != other
        one, other = one[apart], other[apart]
    return roots


def _joined(roots: np.ndarray, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> IntArray:
    if not len(roots):
        return np.zeros((0, 4), np.int64)
    order = np.argsort(roots, kind="stable")
    sorted_roots = roots[order]
    is_first = np.append(True, sorted_roots[1:] != sorted_roots[:-1])
    at = np.flatnonzero(is_first)  # where the runs of a shape begin
    left, right = np.minimum.reduceat(starts[order], at), np.maximum.reduceat(ends[order], at)
    last = np.append(at[1:], len(order)) - 1
    top, bottom = rows[order[at]], rows[order[last]] + 1  # runs come row by row
    return np.column_stack((left, top, right, bottom))
