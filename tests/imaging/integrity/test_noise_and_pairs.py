"""Noise in smooth knees, neighbours that changed places, and bits lost in knees of few greys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kellgren.imaging.integrity.contours import contours
from kellgren.imaging.integrity.damage import (
    MOST_GRAINY,
    MOST_PAIRS,
    MOST_PERHAPS_CONTOURS,
    damage,
    doubt,
    traces,
)
from kellgren.imaging.integrity.pairs import swapped_pairs
from kellgren.imaging.integrity.texture import noisy_shares

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.png"))

Greys = np.ndarray
"""``(H, W)`` uint8."""


@pytest.fixture(scope="module")
def soft_knees() -> list[Greys]:
    """Knees of little contrast, as films show that are stored as they were taken."""
    knees = [np.asarray(Image.open(path).convert("L"), float) for path in EXAMPLES]
    return [np.uint8(np.clip(128 + (knee - knee.mean()) * 0.35, 0, 255)) for knee in knees]


def plane(greys: Greys) -> np.ndarray:
    return greys.astype(np.float32) / 255


def shuffled(knee: Greys) -> Greys:
    stretch = knee.reshape(-1)[30_000:42_000]
    stretch[:] = np.random.default_rng(0).permutation(stretch)
    return knee


def with_swapped_pairs(knee: Greys) -> Greys:
    stretch = knee.reshape(-1)[30_001:60_001].reshape(-1, 2)
    stretch[:] = stretch[:, ::-1].copy()
    return knee


def without_a_bit(knee: Greys) -> Greys:
    knee &= 127
    return knee


SAID: dict[Callable[[Greys], Greys], str] = {
    shuffled: "far noisier than the rest",
    with_swapped_pairs: "changed places",
    without_a_bit: "jump by one step",
}


@pytest.mark.parametrize("broken", SAID, ids=lambda kind: kind.__name__)
def test_damage_in_knees_of_little_contrast_is_noticed(
    soft_knees: list[Greys], broken: Callable[[Greys], Greys]
) -> None:
    for knee in soft_knees:
        found = traces(plane(broken(knee.copy())))
        assert SAID[broken] in damage(found) + doubt(found)


def test_sound_knees_of_little_contrast_show_none(soft_knees: list[Greys]) -> None:
    for knee in soft_knees:
        found = traces(plane(knee))
        assert damage(found) + doubt(found) == ""


def test_noise_of_the_whole_film_is_none(soft_knees: list[Greys]) -> None:
    noise = np.random.default_rng(1).normal(0, 8, soft_knees[0].shape)
    for knee in soft_knees:
        grainy = plane(np.uint8(np.clip(knee + noise, 0, 255)))
        for seen in (grainy, np.pad(grainy, 60)):
            assert max(noisy_shares(seen)) <= MOST_GRAINY
            assert swapped_pairs(seen) <= MOST_PAIRS


@pytest.mark.parametrize("times", [2, 3])
def test_enlarged_by_whole_pixels_none_changed_places(soft_knees: list[Greys], times: int) -> None:
    for knee in soft_knees:
        large = plane(np.kron(knee, np.ones((times, times), np.uint8)))
        assert swapped_pairs(large) <= MOST_PAIRS


@pytest.mark.parametrize("greys", [4, 8, 16, 32])
def test_a_picture_of_few_greys_has_steps_of_its_own(soft_knees: list[Greys], greys: int) -> None:
    for knee in soft_knees:
        assert contours(plane(knee // greys * greys)) <= MOST_PERHAPS_CONTOURS


def test_the_edge_of_a_margin_is_no_step(soft_knees: list[Greys]) -> None:
    for knee in soft_knees:
        assert contours(np.pad(plane(knee), 40)) <= MOST_PERHAPS_CONTOURS


def test_one_grey_value_shows_nothing() -> None:
    even = np.full((64, 64), 0.5, np.float32)
    assert noisy_shares(even) == (0.0, 0.0)
    assert swapped_pairs(even) == 0.0
    assert contours(even) == 0.0


def test_a_small_knee_of_any_width_or_height_is_measured() -> None:
    chance = np.random.default_rng(0)
    for side in range(30, 80):
        knee = chance.random((side, 40), dtype=np.float32)
        for shown in (knee, np.ascontiguousarray(knee.T)):
            assert np.isfinite(traces(shown)).all()
            assert np.isfinite(traces(shown, np.tile(shown, 2))).all()
