"""The choice of an input size: the smallest within one standard error of the best."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kellgren.training.campaign.sizes import choose_size

NAN = math.nan
_scores = st.floats(-1, 1).map(lambda value: round(value, 3))


@pytest.mark.parametrize(
    ("scores", "best", "chosen"),
    [
        ({224: [0.8, 0.8, 0.8]}, 224, 224),  # one size
        ({224: [0.80, 0.82], 384: [0.80, 0.82]}, 224, 224),  # a tie goes to the smaller
        ({224: [0.80, 0.80], 288: [0.84, 0.86], 384: [0.85, 0.87]}, 384, 288),
        ({224: [0.70, 0.70], 384: [0.85, 0.87]}, 384, 384),  # beyond the error
        ({224: [0.85, 0.85], 384: [0.85, 0.87]}, 384, 224),  # just within it: 0.86 - 0.01
        ({224: [0.845, 0.845], 384: [0.85, 0.87]}, 384, 384),
        ({224: [0.9, 0.7], 384: [0.8, 0.8]}, 224, 224),  # the best is the smallest
        ({384: [0.9, 0.9], 224: [0.8, 0.8]}, 384, 384),  # given in another order
        ({224: [0.80], 384: [0.81]}, 384, 384),  # one fold: no error is known
        ({224: [0.81], 384: [0.81]}, 224, 224),
        ({224: [NAN, 0.9], 384: [0.8, 0.8]}, 384, 384),
        ({224: [0.8, 0.8], 384: [0.9, NAN]}, 224, 224),
    ],
)
def test_the_choice(scores: dict[int, list[float]], best: int, chosen: int) -> None:
    actual = choose_size(scores)
    assert (actual.best, actual.chosen) == (best, chosen)
    assert [score.size for score in actual.scores] == sorted(scores)


@pytest.mark.parametrize("scores", [{}, {224: []}, {224: [NAN], 288: [NAN]}])
def test_nothing_can_be_chosen_from_nothing(scores: dict[int, list[float]]) -> None:
    with pytest.raises(ValueError, match="no size has scores"):
        choose_size(scores)


def test_sizes_must_have_the_same_folds() -> None:
    with pytest.raises(ValueError, match="same folds"):
        choose_size({224: [0.8, 0.9], 288: [0.8]})


@given(folds=st.lists(_scores, min_size=2, max_size=10))
def test_mean_error_and_interval_are_those_of_the_textbook(folds: list[float]) -> None:
    (actual,) = choose_size({224: folds}).scores
    assert actual.mean == pytest.approx(np.mean(folds), abs=1e-12)
    assert actual.standard_error == pytest.approx(stats.sem(folds), abs=1e-12)
    reach = stats.t.ppf(0.975, len(folds) - 1) * stats.sem(folds)
    assert actual.high - actual.mean == pytest.approx(reach, rel=1e-3, abs=1e-9)
    assert actual.mean - actual.low == pytest.approx(reach, rel=1e-3, abs=1e-9)


@given(
    table=st.integers(1, 5).flatmap(
        lambda folds: st.dictionaries(
            st.integers(64, 640), st.lists(_scores, min_size=folds, max_size=folds), min_size=1
        )
    )
)
def test_no_smaller_size_was_good_enough(table: dict[int, list[float]]) -> None:
    actual = choose_size(table)
    by_size = {score.size: score for score in actual.scores}
    best = by_size[actual.best]
    error = 0.0 if math.isnan(best.standard_error) else best.standard_error
    assert best.mean == max(score.mean for score in actual.scores)
    assert actual.chosen <= actual.best
    assert by_size[actual.chosen].mean >= best.mean - error
    assert all(by_size[s].mean < best.mean - error for s in by_size if s < actual.chosen)
