"""Best paths through columns: dynamic programming, alone and for two margins in their order."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kellgren.arrays import Float32Array

NEVER = np.float32(-1e9)
"""Added where no path may go."""


def best_paths(gain: Float32Array, reach: int, stiffness: float) -> np.ndarray:
    """The paths of the largest sums of gains, each on its own.

    Args:
        gain: ``(M, K, N)`` of N places at K steps, for M paths.
        reach: places that a step may change by.
        stiffness: lost by a step that changes by s places, times s squared.

    Returns:
        ``(M, K)`` places.
    """
    paths, steps, places = gain.shape
    lost = (stiffness * np.arange(-reach, reach + 1) ** 2).astype(np.float32)
    sums = np.full((steps, paths, places + 2 * reach), NEVER, dtype=np.float32)
    sums[0, :, reach:-reach] = gain[:, 0]
    for step in range(1, steps):
        before, best = sums[step - 1], sums[step, :, reach:-reach]
        best[:] = before[:, reach:-reach]
        for change in range(1, reach + 1):  # up or down by as much
            low, high = reach - change, reach + change
            either = np.maximum(before[:, low : low + places], before[:, high : high + places])
            np.maximum(best, either - lost[high], out=best)
        best += gain[:, step]
    options = sliding_window_view(sums[:-1], len(lost), axis=2) - lost
    moves = (options.argmax(axis=3) - reach).tolist()
    path = np.empty((paths, steps), dtype=np.int64)
    for one, at in enumerate(sums[-1, :, reach:-reach].argmax(axis=1).tolist()):
        path[one, -1] = at
        for step in range(steps - 1, 0, -1):
            at += moves[step - 1][one][at]
            path[one, step - 1] = at
    return path


def best_pairs(
    gain: Float32Array, slopes: tuple[np.ndarray, np.ndarray], reach: int, stiffness: float
) -> np.ndarray:
    """Pairs of paths, one below the other, of the largest sum of gains, found as one.

    Args:
        gain: ``(K, C, N, W)``: at K steps, for C pairs, of the place of the upper path and of the
            distance from it to the lower one.
        slopes: ``(K - 1,)`` of the upper and of the lower path: the usual change with each step.
        reach: places that a step may change by.
        stiffness: lost by a step, times the square of its distance from the usual one.

    Returns:
        ``(C, K, 2)`` places of the upper and of the lower path.
    """
    back = np.arange(-reach, reach + 1)  # from a place to that of the step before
    lost = [(stiffness * (-back - usual[:, None]) ** 2).astype(np.float32) for usual in slopes]
    # One path moves before the other, and may lie beyond its distance in between.
    wide = np.pad(gain, ((0, 0), (0, 0), (0, 0), (reach, reach)), constant_values=NEVER)
    total, moved = _totals(wide, lost[0], lost[1])
    path = np.empty((gain.shape[1], len(gain), 2), dtype=np.int64)
    for pair in range(gain.shape[1]):
        last = total[-1, pair, reach:-reach, reach:-reach]
        upper, width = divmod(int(last.argmax()), wide.shape[3])
        for step in range(len(gain) - 1, -1, -1):
            path[pair, step] = upper, upper + width - reach
            if step:
                options = moved[step, pair, upper, width : width + len(back)] - lost[1][step - 1]
                width += int(back[options.argmax()])
                options = total[step - 1, pair, upper + reach + back, width + reach - back]
                change = int(back[(options - lost[0][step - 1]).argmax()])
                upper, width = upper + change, width - change
    return path


def _totals(
    gain: Float32Array, lost_upper: Float32Array, lost_lower: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """The best sums up to each step, and those before its lower path has moved; with a border."""
    steps, pairs, places, widths = gain.shape
    reach = lost_upper.shape[1] // 2
    total = np.full((steps, pairs, places + 2 * reach, widths + 2 * reach), NEVER, dtype=np.float32)
    moved = np.full((steps, pairs, places, widths + 2 * reach), NEVER, dtype=np.float32)
    inner = slice(reach, -reach)
    total[0, :, inner, inner] = gain[0]
    for step in range(1, steps):
        best = moved[step, :, :, inner]
        for at, lost in enumerate(lost_upper[step - 1]):  # the lower path stays
            width = 2 * reach - at
            before = total[step - 1, :, at : at + places, width : width + widths]
            np.maximum(best, before - lost, out=best)
        best = total[step, :, inner, inner]
        for at, lost in enumerate(lost_lower[step - 1]):
            np.maximum(best, moved[step, :, :, at : at + widths] - lost, out=best)
        best += gain[step]
    return total, moved
