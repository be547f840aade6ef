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
    cut = joined(knees[3], knees[4], 40)[:, :280]
    assert splice(cut) > MOST_SPLICE
    assert splice(cut, is_film=True) <= MOST_SPLICE


@pytest.mark.parametrize("shape", [(32, 32), (200, 30), (15, 300)])
def test_a_small_cut_has_none(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).random(shape, np.float32)
    assert splice(noise) <= MOST_SPLICE


def test_halves_of_large_knees_are_noticed(knees: list[Knee]) -> None:
    greys = [Image.fromarray(np.uint8(np.rint(knee * 255))).resize((897, 897)) for knee in knees]
    large = [np.asarray(picture, np.float32) / 255 for picture in greys]
    for knee, other in zip(large, large[1:] + large[:1], strict=True):
        assert splice(knee) <= 1.2
        assert splice(joined(knee, other, 450)) > MOST_SPLICE


@pytest.mark.parametrize("broad", [10, 30])
def test_columns_that_change_places_with_near_ones_are_noticed(
    knees: list[Knee], broad: int
) -> None:
    for knee in knees:
        seen = 0.35 + (knee - knee.mean()) / 2  # of little contrast
        seen[:, 100 : 100 + broad], seen[:, 150 : 150 + broad] = (
            seen[:, 150 : 150 + broad].copy(),
            seen[:, 100 : 100 + broad].copy(),
        )
        assert splice(np.asarray(np.rint(seen * 255) / 255, np.float32)) > MOST_SPLICE


def test_the_edge_of_a_board_counts_for_less(knees: list[Knee]) -> None:
    """It lies at a side; rows from elsewhere may begin as near to the top."""
    beside = joined(knees[1], knees[2], 50)
    assert splice(np.ascontiguousarray(beside.T)) - 1 > 1.3 * (splice(beside) - 1)
