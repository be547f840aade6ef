"""Halves of two knees of one tone, where no step shows: the texture does not go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kellgren.imaging.integrity.damage import MOST_SPLICE, doubt, traces
from kellgren.imaging.integrity.seams import seam
from kellgren.imaging.integrity.splices import splice

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.png"))
ALONG = 49  # rows over which tones are fitted

Knee = np.ndarray
"""``(H, W)`` float32, 0..1."""


@pytest.fixture(scope="module")
def knees() -> list[Knee]:
    return [np.asarray(Image.open(path).convert("L"), np.float32) / 255 for path in EXAMPLES]


def joined(knee: Knee, other: Knee, column: int) -> Knee:
    """Another knee from a column on, in the tones of the first one where they meet."""
    left, right = knee[:, column - 4 : column], other[:, column : column + 4]
    lacking = np.pad(left.mean(axis=1) - right.mean(axis=1), ALONG // 2, mode="edge")
    tones = np.convolve(lacking, np.full(ALONG, 1 / ALONG), "valid")
    seen = knee.copy()
    seen[:, column:] = np.clip(other[:, column:] + tones[:, None], 0, 1)
    return np.asarray(np.rint(seen * 255) / 255, np.float32)


@pytest.mark.parametrize("column", [120, 150, 180])
@pytest.mark.parametrize("turned", [False, True])
def test_halves_of_one_tone_are_noticed(knees: list[Knee], column: int, turned: bool) -> None:
    told = 0
    for one, other in zip(knees, knees[1:] + knees[:1], strict=True):
        seen = joined(one.T, other.T, column).T if turned else joined(one, other, column)
        told += "two parts perhaps meet" in doubt(traces(np.ascontiguousarray(seen)))
    assert told >= 0.8 * len(knees)


def test_a_step_alone_does_not_show_them(knees: list[Knee]) -> None:
    """Else the check would be one that is there already."""
    pairs = zip(knees, knees[1:] + knees[:1], strict=True)
    seen = [joined(one, other, 150) for one, other in pairs]
    assert sum(seam(one) > 2.65 for one in seen) <= 0.2 * len(seen)


def test_a_whole_knee_a_margin_and_a_grid_show_none(knees: list[Knee]) -> None:
    for knee in knees:
        blocks = knee.copy()
        blocks[:, ::16] += 0.03
        for seen in (knee, np.pad(knee, 50, constant_values=1), blocks, knee * 0):
            assert splice(seen) <= MOST_SPLICE


def test_another_picture_beside_a_knee_is_none(knees: list[Knee]) -> None:
    cut = joined(knees[0], knees[1], 40)[:, :280]
    assert splice(cut) > MOST_SPLICE
    assert splice(cut, is_film=True) <= MOST_SPLICE


@pytest.mark.parametrize("shape", [(32, 32), (200, 30), (15, 300)])
def test_a_small_cut_has_none(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).random(shape, np.float32)
    assert splice(noise) <= MOST_SPLICE


def test_a_large_picture_is_measured_like_a_small_one(knees: list[Knee]) -> None:
    large = [np.kron(knee, np.ones((3, 1), np.float32)) for knee in knees[:3]]
    for knee, tall in zip(knees, large, strict=False):
        assert splice(tall) == pytest.approx(splice(knee), abs=0.15)
