from __future__ import annotations

from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kellgren.grading.calibration import (
    LIKELY_MASS,
    certainty,
    fit_calibration,
    fit_temperature,
    likely_grades,
)
from kellgren.grading.voting import soft_vote, softmax

Floats = npt.NDArray[np.float64]

logit_rows = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.just(5)), elements=st.floats(-30, 30)
)
distributions = hnp.arrays(np.float64, 5, elements=st.floats(0.001, 1)).map(lambda p: p / p.sum())


def labelled(logits: Floats, seed: int = 0) -> npt.NDArray[np.int64]:
    """Grades drawn from the distributions that the logits stand for."""
    share = np.random.default_rng(seed).random((len(logits), 1))
    return np.asarray((softmax(logits).cumsum(axis=1) < share).sum(axis=1).clip(0, 4))


def opinions(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 2, (count, 5))


def surprise(logits: Floats, grades: npt.NDArray[np.int64], temperature: float) -> float:
    return float(-np.log(softmax(logits, temperature)[np.arange(len(grades)), grades]).mean())


# --- temperature -----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    true = opinions(20_000)
    fitted = fit_temperature(true * temperature, labelled(true))
    assert fitted == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_no_temperature_of_a_grid_is_better(seed: int) -> None:
    logits = opinions(60, seed)
    grades = np.random.default_rng(seed).integers(0, 5, 60)
    grades[::2] = logits[::2].argmax(axis=1)
    grid = np.geomspace(0.1, 10.0, 2001)
    losses = [surprise(logits, grades, temperature) for temperature in grid]
    fitted = fit_temperature(logits, grades)
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=0.005)
    assert surprise(logits, grades, fitted) <= min(losses) + 1e-12


def test_the_temperature_stays_between_a_tenth_and_ten() -> None:
    logits = opinions(50)
    assert fit_temperature(logits, logits.argmax(axis=1)) == pytest.approx(0.1, rel=1e-6)
    assert fit_temperature(logits, logits.argmin(axis=1)) == pytest.approx(10.0, rel=1e-6)


def test_large_logits_do_not_overflow() -> None:
    assert 0.1 <= fit_temperature(opinions(50) * 1e3, np.zeros(50, dtype=int)) <= 10.0


# --- likely grades ---------------------------------------------------------------------------


@settings(deadline=None)
@given(distributions, st.floats(0.05, 0.99))
def test_likely_grades_hold_the_mass_and_no_shorter_run_does(p: Floats, mass: float) -> None:
    low, high = likely_grades(p, mass)
    assert 0 <= low <= high <= 4
    assert p[low : high + 1].sum() >= mass - 1e-9
    length = high - low + 1
    same = [p[start : start + length].sum() for start in range(6 - length)]
    assert p[low : high + 1].sum() >= max(same) - 1e-9, "the most probable run of its length"
    shorter = [p[start : start + length - 1].sum() for start in range(7 - length)]
    assert length == 1 or max(shorter) < mass + 1e-9


@settings(deadline=None)
@given(distributions)
def test_the_most_probable_grade_is_among_the_likely(p: Floats) -> None:
    low, high = likely_grades(p)
    assert low <= int(p.argmax()) <= high


@pytest.mark.parametrize(
    ("probabilities", "mass", "run"),
    [
        ([0.0, 0.0, 1.0, 0.0, 0.0], 1.0, (2, 2)),
        ([0.95, 0.05, 0.0, 0.0, 0.0], LIKELY_MASS, (0, 0)),
        ([0.1, 0.5, 0.4, 0.0, 0.0], LIKELY_MASS, (1, 2)),
        ([0.3, 0.4, 0.3, 0.0, 0.0], LIKELY_MASS, (0, 2)),
        ([0.5, 0.0, 0.0, 0.0, 0.5], LIKELY_MASS, (0, 4)),
        ([0.2, 0.2, 0.2, 0.2, 0.2], 1.0, (0, 4)),
        ([0.0, 0.4, 0.15, 0.45, 0.0], 0.5, (2, 3)),
    ],
)
def test_likely_grades_of_known_distributions(
    probabilities: list[float], mass: float, run: tuple[int, int]
) -> None:
    assert likely_grades(np.array(probabilities), mass) == run


@pytest.mark.parametrize(
    ("top", "word"),
    [(1.0, "high"), (0.75, "high"), (0.749, "moderate"), (0.5, "moderate"), (0.499, "low")],
)
def test_a_word_for_how_sure_the_grade_is(top: float, word: str) -> None:
    assert certainty(np.array([top, *[(1 - top) / 4] * 4])) == word


def test_even_a_tie_of_all_grades_has_a_word() -> None:
    assert certainty(np.full(5, 0.2, dtype=np.float32)) == "low"


# --- voting ----------------------------------------------------------------------------------


@given(logit_rows, st.floats(0.1, 10))
def test_softmax_makes_distributions_in_the_same_order(logits: Floats, temperature: float) -> None:
    p = softmax(logits, temperature)
    np.testing.assert_allclose(p.sum(axis=-1), 1.0)
    assert (p >= 0).all()
    for row, probabilities in zip(logits, p, strict=True):
        assert (np.diff(probabilities[np.argsort(row)]) >= 0).all()


@given(logit_rows, st.floats(-100, 100))
def test_softmax_feels_differences_alone(logits: Floats, shift: float) -> None:
    np.testing.assert_allclose(softmax(logits + shift), softmax(logits), rtol=1e-9)


@given(logit_rows)
def test_a_higher_temperature_is_less_sure(logits: Floats) -> None:
    assert (softmax(logits, 2.0).max(axis=1) <= softmax(logits, 1.0).max(axis=1) + 1e-12).all()


def test_softmax_of_known_and_of_huge_logits() -> None:
    np.testing.assert_allclose(softmax(np.log([1.0, 2.0, 5.0])), [1 / 8, 2 / 8, 5 / 8])
    np.testing.assert_allclose(softmax(np.log([1.0, 4.0]), 2.0), [1 / 3, 2 / 3])
    np.testing.assert_array_equal(softmax(np.array([0.0, 5e4])), [0.0, 1.0])


members = st.lists(distributions, min_size=1, max_size=4)


@settings(deadline=None)
@given(members)
def test_a_soft_vote_does_not_hang_on_the_members_order(voters: list[Floats]) -> None:
    vote = soft_vote(voters)
    np.testing.assert_allclose(vote.sum(), 1.0)
    for order in permutations(voters):
        np.testing.assert_allclose(soft_vote(order), vote, rtol=1e-12)


@settings(deadline=None)
@given(members)
def test_a_soft_vote_lies_between_its_members(voters: list[Floats]) -> None:
    vote = soft_vote(voters)
    assert (vote >= np.min(voters, axis=0) - 1e-12).all()
    assert (vote <= np.max(voters, axis=0) + 1e-12).all()
    np.testing.assert_allclose(soft_vote([*voters, *voters]), vote, rtol=1e-12)


def test_a_soft_vote_is_the_mean_for_each_knee() -> None:
    one = np.array([[1.0, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5]])
    two = np.array([[0.0, 1, 0, 0, 0], [0, 0, 0, 0.0, 1.0]])
    expected = [[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0.25, 0.75]]
    np.testing.assert_allclose(soft_vote([one, two]), expected)


# --- temperature and biases ------------------------------------------------------------------


def test_known_biases_are_recovered() -> None:
    true = opinions(20_000)
    bias = np.array([0.5, -0.6, 0.2, 0.1, -0.2])
    fitted = fit_calibration((true - bias) * 1.7, labelled(true))
    assert fitted.temperature == pytest.approx(1.7, rel=0.05)
    assert fitted.bias == pytest.approx(bias, abs=0.08)


def test_biases_never_lower_the_likelihood_of_what_they_were_fitted_on() -> None:
    logits = opinions(300)
    grades = np.random.default_rng(1).integers(0, 5, 300)
    fitted = fit_calibration(logits, grades)
    rows = np.arange(len(grades))
    mine = softmax(logits, fitted.temperature, fitted.bias)[rows, grades]
    assert -np.log(mine).mean() <= surprise(logits, grades, fit_temperature(logits, grades))
    assert sum(fitted.bias) == pytest.approx(0, abs=1e-9)
