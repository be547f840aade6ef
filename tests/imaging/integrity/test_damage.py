"""Traces of damage: none on real knees, and one for each way in which data breaks."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kellgren.imaging.integrity.damage import (
    MOST_PERHAPS_WRAPPED,
    damage,
    doubt,
    ends_within_a_row,
    traces,
)
from kellgren.imaging.integrity.wrapping import wrapped
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Region
from kellgren.localisation.quality import check_damage

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.png"))


@pytest.fixture(scope="module")
def knees() -> list[np.ndarray]:
    return [read_radiograph(path).pixels for path in EXAMPLES]


def block(knee: np.ndarray) -> None:
    knee[90:160, 100:190] = 0.5


def black_block(knee: np.ndarray) -> None:
    knee[90:160, 100:190] = 0


def band(knee: np.ndarray) -> None:
    knee.reshape(-1)[30_000:42_000] = 0


def repeated_rows(knee: np.ndarray) -> None:
    knee[150:180] = knee[150]


def copied_rows(knee: np.ndarray) -> None:
    knee[150:180] = knee[60:90]


def moved_bytes(knee: np.ndarray) -> None:
    knee.reshape(-1)[40_000:] = np.roll(knee.reshape(-1)[40_000:], 67)


def shifted_rows(knee: np.ndarray) -> None:
    knee[140:] = np.roll(knee[140:], 25, axis=1)


def specks(knee: np.ndarray) -> None:
    random = np.random.default_rng(0)
    hit = random.random(knee.shape) < 0.02
    knee[hit] = random.integers(0, 2, knee.shape)[hit]


def noise(knee: np.ndarray) -> None:
    knee[120:180] = np.random.default_rng(0).random(knee[120:180].shape)


def darker_from_here(knee: np.ndarray) -> None:
    knee[150:] *= 0.6


def moved_from_the_first_row(knee: np.ndarray) -> None:
    knee.reshape(-1)[:] = np.roll(knee.reshape(-1), -10)


KINDS = [
    block,
    black_block,
    band,
    repeated_rows,
    copied_rows,
    moved_bytes,
    shifted_rows,
    specks,
    noise,
    darker_from_here,
    moved_from_the_first_row,
]


def test_real_knees_show_no_trace(knees: list[np.ndarray]) -> None:
    for knee in knees:
        for size in (knee, np.kron(knee, np.ones((2, 2), np.float32))):
            found = traces(size)
            assert damage(found) == doubt(found) == ""


@pytest.mark.parametrize("broken", KINDS, ids=lambda kind: kind.__name__)
def test_broken_data_leaves_a_trace(
    knees: list[np.ndarray], broken: Callable[[np.ndarray], None]
) -> None:
    for knee in knees:
        damaged = knee.copy()
        broken(damaged)
        assert damage(traces(damaged))


def slightly_darker_from_within_a_row(knee: np.ndarray) -> None:
    knee[96:104, 150:] -= 0.036
    knee[104:] -= 0.036


def slightly_shifted(knee: np.ndarray) -> None:
    knee.reshape(-1)[44_000:] = np.roll(knee.reshape(-1)[44_000:], 12)


@pytest.mark.parametrize("broken", [slightly_darker_from_within_a_row, slightly_shifted])
def test_what_may_be_damage_is_at_least_warned_of(
    knees: list[np.ndarray], broken: Callable[[np.ndarray], None]
) -> None:
    warned = []
    for knee in knees:
        damaged = knee.copy()
        broken(damaged)
        check = check_damage(damaged, None)
        warned.append(check is not None and "damaged" in check.evidence)
    assert sum(warned) >= 0.5 * len(knees)  # smaller ones are lost in what bone looks like


def collimated(knee: np.ndarray) -> np.ndarray:
    seen = np.zeros_like(knee)
    seen[:, 30:-20] = knee[:, 30:-20]
    return seen


def pasted(knee: np.ndarray) -> np.ndarray:
    return np.concatenate([knee, knee[::-1] ** 2], axis=1)


def on_one_grey(knee: np.ndarray) -> np.ndarray:
    film = np.full((400, 500), knee.min(), np.float32)
    film[40:339, 90:389] = knee
    return np.asarray(np.float32(0.12) * (1 - film))


def grainy_margins(knee: np.ndarray) -> np.ndarray:
    grain = np.random.default_rng(0).random(knee.shape, np.float32) * 0.02
    return np.asarray(collimated(knee) + grain)


def test_rows_from_elsewhere_are_warned_of_where_neither_sign_is_enough(
    knees: list[np.ndarray],
) -> None:
    told = []
    for knee in knees:
        data = knee.reshape(-1).copy()
        data[57_000:69_000] = data[20_100:32_100]
        found = traces(data.reshape(knee.shape))
        told.append(damage(found) + doubt(found))
    assert all(told)
    assert any("from elsewhere" in text for text in told)


@pytest.mark.parametrize("shown", [collimated, pasted, on_one_grey, grainy_margins])
def test_sharp_edges_of_a_field_or_of_a_second_picture_are_no_seam(
    knees: list[np.ndarray], shown: Callable[[np.ndarray], np.ndarray]
) -> None:
    for knee in knees:
        assert wrapped(shown(knee)) <= MOST_PERHAPS_WRAPPED


def test_a_film_of_which_the_first_bytes_are_lost_is_refused(knees: list[np.ndarray]) -> None:
    film = np.concatenate([knees[0], knees[1][:, ::-1]], axis=1)
    moved = np.roll(film.reshape(-1), 24).reshape(film.shape)
    square = Region((170.0, 150.0), 280.0)
    assert check_damage(film, square) is None
    check = check_damage(moved, square)
    assert check is not None
    assert check.verdict == "refused"
    assert "edges meet within it" in check.evidence


def test_a_damaged_knee_is_refused_and_the_film_around_it_does_not_count(
    knees: list[np.ndarray],
) -> None:
    film = np.pad(knees[0], 80, mode="reflect")
    square = Region((film.shape[1] / 2, film.shape[0] / 2), 280.0)
    assert check_damage(film, square) is None
    film[:60, 20:90] = 0.5
    assert check_damage(film, square) is None
    beside = film.copy()
    beside[100:115] = beside[100]
    warned = check_damage(beside, square)
    assert warned is not None
    assert warned.verdict == "warning"
    film[200:260, 180:260] = 0.5
    check = check_damage(film, square)
    assert check is not None
    assert (check.name, check.verdict) == ("damage", "refused")
    assert "blocks of one grey value" in check.evidence


def test_a_knee_that_takes_most_of_its_picture_is_warned_of_all_of_it(
    knees: list[np.ndarray],
) -> None:
    twice = np.concatenate([knees[0][:56], knees[0][8:-48]])
    square = Region((152.5, 198.0), 257.0)  # as it is found: the knee moved down
    assert check_damage(knees[0], square) is None
    check = check_damage(twice, square)
    assert check is not None
    assert check.verdict == "warning"
    assert "rows repeat others" in check.evidence


def test_a_picture_that_was_cut_off_within_a_row_says_so(knees: list[np.ndarray]) -> None:
    knee = np.maximum(knees[0], 0.1)
    for end, is_cut in ((60_200, True), (knee.shape[1] * 200, False)):
        filled = knee.copy()
        filled.reshape(-1)[end:] = 0
        assert ends_within_a_row(filled) is is_cut
        assert any("middle of a row" in w for w in read_radiograph(filled).warnings) is is_cut
    assert not ends_within_a_row(knee)


def test_a_large_knee_takes_little_memory(knees: list[np.ndarray]) -> None:
    large = np.kron(knees[0], np.ones((6, 6), np.float32))
    tracemalloc.start()
    try:
        traces(large)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * large.size  # bytes; all traces at once took 28 for each pixel
