"""The shift that local grades call for: found, drawn to none, and refused for noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import MadeKnees
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kellgren.grading.calibration import OrdinalShift, cumulative_log_odds
from kellgren.local_calibration.local_fit import fit_local, fit_shift
from kellgren.local_calibration.order import order_of, rank_correlation

Made = Callable[..., MadeKnees]
SHARES = st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5).filter(lambda s: sum(s) > 0.01)
SHIFTS = st.tuples(*[st.floats(-6, 6)] * 4)


def test_a_shift_moves_the_log_odds_by_its_numbers() -> None:
    told = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
    shift = OrdinalShift(temperature=2.0, shifts=(0.1, 0.2, 0.3, 0.4), pull=0.25)

    after = shift.apply(told)

    odds = cumulative_log_odds(told)
    expected = odds / 2.0 + 0.25 * odds.mean() - np.array([0.1, 0.2, 0.3, 0.4])
    assert cumulative_log_odds(after) == pytest.approx(expected)


def test_no_shift_changes_nothing_to_the_bit() -> None:
    told = np.random.default_rng(0).dirichlet(np.ones(5), 7)
    assert (OrdinalShift().apply(told) == told).all()


@given(SHARES, SHIFTS, st.floats(0.1, 10.0), st.floats(-4.0, 4.0))
def test_whatever_the_numbers_it_stays_a_distribution(
    shares: list[float],
    shifts: tuple[float, float, float, float],
    temperature: float,
    pull: float,
) -> None:
    told = np.array(shares) / sum(shares)
    after = OrdinalShift(temperature=temperature, shifts=shifts, pull=pull).apply(told)
    assert after.sum() == pytest.approx(1.0)
    assert (after > 0).all()


@pytest.mark.parametrize("shifts", [(0.0, 0.0, 0.0, 99.0), (float("nan"), 0.0, 0.0, 0.0)])
def test_a_shift_out_of_reach_is_refused(shifts: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValidationError):
        OrdinalShift(shifts=shifts)


@pytest.mark.parametrize("move", [-1.5, 1.5])
def test_a_reader_with_other_thresholds_is_found(made: Made, move: float) -> None:
    knees = made(2000, move)

    fit = fit_local(knees.probabilities, knees.grades)

    assert fit.verdict == "calibrated"
    assert fit.shift.shifts == pytest.approx([move] * 4, abs=0.25)
    assert fit.shift.temperature == pytest.approx(1.0, abs=0.1)


def test_a_pull_is_found_where_labels_follow_the_severity_as_a_whole() -> None:
    """Sharpness differs from knee to knee and threshold to threshold; labels heed the mean."""
    rng = np.random.default_rng(1)
    steps = rng.exponential(1.0, (3000, 3))
    odds = rng.normal(2.0, 2.0, (3000, 1)) - np.cumsum(np.hstack([0 * steps[:, :1], steps]), axis=1)
    above = 1 / (1 + np.exp(-odds))
    edge = np.ones((3000, 1))
    told = np.hstack([edge, above]) - np.hstack([above, 0 * edge])
    meant = 0.5 * odds + 0.5 * odds.mean(axis=1, keepdims=True)
    labels = (meant + rng.logistic(0, 1.0, (3000, 1)) > 0).sum(axis=1)

    fit = fit_local(told, labels)

    assert fit.shift.pull == pytest.approx(0.5, abs=0.15)
    assert 1 / fit.shift.temperature == pytest.approx(0.5, abs=0.15)


def test_no_step_from_the_fit_makes_the_labels_likelier(made: Made) -> None:
    """By the posterior written out anew."""
    knees = made(60, 1.0, seed=3)
    odds = cumulative_log_odds(knees.probabilities)
    covariance = 9.0 + np.eye(4)

    def loss(numbers: np.ndarray) -> float:
        whole = numbers[5] * odds.mean(axis=1, keepdims=True)
        above = 1 / (1 + np.exp(-(numbers[0] * odds + whole - numbers[1:5])))
        edge = np.ones((len(odds), 1))
        shares = np.hstack([edge, above]) - np.hstack([above, 0 * edge])
        told = shares[np.arange(len(odds)), knees.grades]
        away = numbers[1:5]
        prior = (
            (numbers[0] - 1) ** 2 / 0.5**2
            + (numbers[5] / 0.25) ** 2
            + away @ np.linalg.solve(covariance, away)
        )
        return float(-np.log(told).sum() + prior / 2)

    shift, evidence = fit_shift(knees.probabilities, knees.grades)

    found = np.array([1 / shift.temperature, *shift.shifts, shift.pull])
    assert evidence > 1
    for number in range(6):
        for step in (-0.01, 0.01):
            assert loss(found + step * np.eye(6)[number]) > loss(found)


@pytest.mark.parametrize("count", [20, 30, 100])
def test_a_reader_like_the_model_leaves_it_as_it_is(made: Made, count: int) -> None:
    changed = 0
    for seed in range(40):
        knees = made(count, 0.0, seed)
        changed += fit_local(knees.probabilities, knees.grades).verdict == "calibrated"
    assert changed <= 2


@pytest.mark.parametrize("count", [20, 30, 100, 400])
def test_noise_is_called_noise_and_changes_nothing(made: Made, count: int) -> None:
    called = 0
    for seed in range(40):
        knees = made(count, 0.0, seed)
        noise = np.random.default_rng(seed).permutation(knees.grades)
        fit = fit_local(knees.probabilities, noise)
        called += fit.verdict == "noise"
        assert fit.verdict == "calibrated" or not fit.shift.changes
    assert called >= 39


def test_labels_in_reverse_are_noise(made: Made) -> None:
    knees = made(100)
    assert fit_local(knees.probabilities, 4 - knees.grades).verdict == "noise"


def test_rank_correlation_is_spearmans_with_mean_ranks_of_ties() -> None:
    one, other = np.array([0.0, 0.0, 1.0, 3.0, 9.0]), np.array([0.1, 0.3, 0.2, 0.9, 0.8])
    ranks = np.corrcoef([1.5, 1.5, 3, 4, 5], [1, 3, 2, 5, 4])[0, 1]
    assert rank_correlation(one, other) == pytest.approx(ranks)
    assert rank_correlation(one, np.zeros(5)) == 0.0


def test_order_needs_no_thresholds(made: Made) -> None:
    knees = made(300, 2.0)
    shifted = OrdinalShift(shifts=(2.0, 2.0, 2.0, 2.0)).apply(knees.probabilities)
    assert order_of(shifted, knees.grades) == pytest.approx(
        order_of(knees.probabilities, knees.grades), abs=0.02
    )
