"""Best paths against all paths."""

from __future__ import annotations

import itertools

import numpy as np

from kellgren.joint_space.paths import NEVER, best_pairs, best_paths


def test_a_path_is_the_best_of_all():
    chance = np.random.default_rng(1)
    gain = chance.normal(size=(3, 5, 4)).astype(np.float32)
    found = best_paths(gain.swapaxes(0, 1), 1, 0.3)
    for own, path in zip(gain, found.T, strict=True):

        def worth(places: tuple[int, ...], own: np.ndarray = own) -> float:
            steps = np.abs(np.diff(places))
            if steps.max() > 1:
                return -np.inf
            return float(own[np.arange(5), list(places)].sum() - 0.3 * (steps**2).sum())

        best = max(itertools.product(range(4), repeat=5), key=worth)
        assert tuple(path) == best


def test_a_pair_is_the_best_of_all_and_keeps_its_order():
    chance = np.random.default_rng(2)
    rows, widths, steps = 4, 3, 4
    gain = chance.normal(size=(steps, widths, rows, 2)).astype(np.float32)
    gain[:, np.arange(widths)[:, None] + np.arange(rows) >= rows] = NEVER
    slopes = chance.normal(size=(2, steps - 1)) / 3
    found = best_pairs(gain, (slopes[0], slopes[1]), 1, 0.4)
    states = [(f, w) for f in range(rows) for w in range(widths) if f + w < rows]
    for pair in (0, 1):
        best, kept = -np.inf, ()
        for path in itertools.product(states, repeat=steps):
            lines = np.array([(f, f + w) for f, w in path])
            change = np.diff(lines, axis=0)
            if np.abs(change).max() > 1:
                continue
            lost = 0.4 * ((change - slopes.T) ** 2).sum()
            total = sum(gain[k, w, f, pair] for k, (f, w) in enumerate(path)) - lost
            if total > best:
                best, kept = total, lines
        np.testing.assert_array_equal(found[:, pair], kept)
