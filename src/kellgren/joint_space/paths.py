"""Best paths through columns: dynamic programming, alone and for two margins in their order."""

from __future__ import annotations

import numpy as np

from kellgren.arrays import Float32Array

NEVER = np.float32(-1e9)
"""Added where no path may go."""


def best_paths(gain: Float32Array, reach: int, stiffness: float) -> np.ndarray:
    """The paths of the largest sums of gains, each on its own.

    Args:
        gain: ``(K, M, N)`` of N places at K steps, for M paths.
        reach: places that a step may change by.
        stiffness: lost by a step that changes by s places, times s squared.

    Returns:
        ``(K, M)`` places.
    """
    steps, paths, places = gain.shape
    back = np.arange(-reach, reach + 1)
    lost = (stiffness * back**2).astype(np.float32)
    sums = np.full((steps, paths, places + 2 * reach), NEVER, dtype=np.float32)
    inner = sums[:, :, reach:-reach]
    inner[0] = gain[0]
    for step in range(1, steps):
        before, best = sums[step - 1], inner[step]
        best[:] = inner[step - 1]
        for change in range(1, reach + 1):  # up or down by as much
            low, high = reach - change, reach + change
            either = np.maximum(before[:, low : low + places], before[:, high : high + places])
            either -= lost[high]
            np.maximum(best, either, out=best)
        best += gain[step]
    path = np.empty((steps, paths), dtype=np.int64)
    path[-1] = inner[-1].argmax(axis=1)
    near = np.arange(paths)[:, None] * sums.shape[2] + reach + back  # of each path's first place
    for step in range(steps - 1, 0, -1):
        options = sums[step - 1].take(path[step, :, None] + near) - lost
        path[step - 1] = path[step] + back[options.argmax(axis=1)]
    return path


def best_pairs(
    gain: Float32Array, slopes: tuple[np.ndarray, np.ndarray], reach: int, stiffness: float
) -> np.ndarray:
    """Pairs of paths, one below the other, of the largest sum of gains, found as one.

    Args:
        gain: ``(K, W, N, M)``: at K steps, of the distance from the upper path to the lower one and
            of the place of the upper one, for M pairs.
        slopes: ``(K - 1,)`` of the upper and of the lower path: the usual change with each step.
        reach: places that a step may change by.
        stiffness: lost by a step, times the square of its distance from the usual one.

    Returns:
        ``(K, M, 2)`` places of the upper and of the lower path.
    """
    back = np.arange(-reach, reach + 1)  # from a place to that of the step before
    lost = [(stiffness * (-back - usual[:, None]) ** 2).astype(np.float32) for usual in slopes]
    total, moved = _totals(gain, *lost)
    steps, widths, _, pairs = gain.shape
    last = total[-1, 2 * reach : -2 * reach, reach:-reach]
    upper, width = np.divmod(last.T.reshape(pairs, -1).argmax(axis=1), widths)
    path = np.empty((steps, pairs, 2), dtype=np.int64)
    each, back = np.arange(pairs), back[:, None]
    for step in range(steps - 1, -1, -1):
        path[step] = np.column_stack((upper, upper + width))
        if step:
            options = moved[step, width + reach + back, upper, each].T - lost[1][step - 1]
            width = width + back[options.argmax(axis=1), 0]
            options = total[step - 1, width + 2 * reach - back, upper + reach + back, each].T
            change = back[(options - lost[0][step - 1]).argmax(axis=1), 0]
            upper, width = upper + change, width - change
    return path


def _totals(
    gain: Float32Array, lost_upper: Float32Array, lost_lower: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """The best sums up to each step, and those before its lower path has moved.

    Both have borders: one path moves before the other, and may lie beyond its distance in between.
    """
    steps, widths, places, pairs = gain.shape
    reach = lost_upper.shape[1] // 2
    wide = widths + 2 * reach, widths + 4 * reach
    moved = np.full((steps, wide[0], places, pairs), NEVER, dtype=np.float32)
    total = np.full((steps, wide[1], places + 2 * reach, pairs), NEVER, dtype=np.float32)
    inner = total[:, 2 * reach : -2 * reach, reach:-reach]
    inner[0] = gain[0]
    option = np.empty(gain.shape[1:], dtype=np.float32)
    for step in range(1, steps):
        before = total[step - 1, 2 * reach : -2 * reach]
        for at, lost in enumerate(lost_upper[step - 1]):  # the lower path stays
            best = moved[step, at : at + widths]
            np.subtract(before[:, at : at + places], lost, out=option)
            np.maximum(best, option, out=best)
        best = inner[step]
        for at, lost in enumerate(lost_lower[step - 1]):
            np.subtract(moved[step, at : at + widths], lost, out=option)
            np.maximum(best, option, out=best)
        best += gain[step]
    return total, moved
