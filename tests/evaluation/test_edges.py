"""Metrics where data run out, words of certainty, coverage, and arguments of no use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from kellgren.errors import InvalidPredictions
from kellgren.evaluation import Coverage, MatchedKnees, metrics, score, score_words
from kellgren.evaluation.bootstrap import patient_indices, resample
from kellgren.evaluation.confusion import errors, ratio
from kellgren.evaluation.matched import spaced
from kellgren.evaluation.ranking import curves

GRADES = range(5)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# --- metrics where data run out ------------------------------------------------------------------

PAIRS = [
    ([0], [0]),
    ([0], [4]),
    ([4, 4, 4], [4, 4, 4]),
    ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]),
    ([2, 2, 2], [0, 1, 2]),
    ([0, 1, 2], [2, 2, 2]),
    ([0, 4] * 3, [4, 0] * 3),
]


@pytest.mark.parametrize(("truth", "predicted"), PAIRS)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_few_grades_equal_scikit_learn(truth: list[int], predicted: list[int]) -> None:
    chosen: dict[str, Any] = {"labels": GRADES, "average": None, "zero_division": 0}
    for ours, theirs in (
        (metrics.precision, sklearn.precision_score),
        (metrics.recall, sklearn.recall_score),
        (metrics.f1, sklearn.f1_score),
    ):
        assert ours(truth, predicted) == pytest.approx(theirs(truth, predicted, **chosen))
    weighted = chosen | {"average": "weighted"}
    assert metrics.weighted_f1(truth, predicted) == pytest.approx(
        sklearn.f1_score(truth, predicted, **weighted)
    )
    assert metrics.balanced_accuracy(truth, predicted) == pytest.approx(
        sklearn.balanced_accuracy_score(truth, predicted)
    )
    assert metrics.mae(truth, predicted) == sklearn.mean_absolute_error(truth, predicted)
    assert metrics.mse(truth, predicted) == sklearn.mean_squared_error(truth, predicted)
    if len({*truth, *predicted}) > 1:
        kappa = sklearn.cohen_kappa_score(truth, predicted, labels=GRADES, weights="quadratic")
        assert metrics.qwk(truth, predicted) == pytest.approx(kappa)
    else:
        assert math.isnan(metrics.qwk(truth, predicted))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_metrics_of_the_reversed_scale(pairs: list[tuple[int, int]]) -> None:
    """Nothing but the order of the grades matters to what has no grade of its own."""
    truth, predicted = np.array(pairs).T
    for name in ("accuracy", "macro_f1", "qwk", "mae", "mse", "one_off", "balanced_accuracy"):
        metric = getattr(metrics, name)
        turned = metric(4 - truth, 4 - predicted)
        assert turned == pytest.approx(metric(truth, predicted), nan_ok=True)
    for name in ("accuracy", "macro_f1", "qwk", "mae", "mse", "one_off"):
        metric = getattr(metrics, name)
        swapped = metric(predicted, truth)
        assert swapped == pytest.approx(metric(truth, predicted), nan_ok=True)
    shares = errors(metrics.confusion_matrix(truth, predicted).astype(float))
    assert shares.sum() == pytest.approx(1)
    assert shares @ np.arange(-4, 5) == pytest.approx((predicted - truth).mean())
    assert shares @ np.arange(-4, 5) ** 2 == pytest.approx(metrics.mse(truth, predicted))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=12))
def test_curves_hold_the_areas(knees: list[tuple[bool, int]]) -> None:
    positive = np.array([has for has, _ in knees])
    points = np.array([points for _, points in knees]) / 4
    found = curves(positive, points)
    if positive.all() or not positive.any():
        assert found is None
        return
    assert found is not None
    assert (found.false_positive_rate[0], found.recall[0], found.precision[0]) == (0, 0, 1)
    assert (found.false_positive_rate[-1], found.recall[-1]) == (1, 1)
    area = sklearn.auc(found.false_positive_rate, found.recall)
    assert area == pytest.approx(sklearn.roc_auc_score(positive, points))
    steps = (np.diff(found.recall) * found.precision[1:]).sum()
    assert steps == pytest.approx(sklearn.average_precision_score(positive, points))


@pytest.mark.parametrize("grade", [1, 2, 3, 4])
def test_areas_without_a_contrast_are_undefined(grade: int) -> None:
    shares = np.full((4, 5), 0.2)
    below, above = np.full(4, grade - 1), np.full(4, grade)
    for truth in (below, above):
        assert math.isnan(metrics.auc_at_least(truth, shares, grade))
    assert math.isnan(metrics.average_precision_at_least(below, shares, grade))
    assert metrics.average_precision_at_least(above, shares, grade) == 1
    assert metrics.auc_at_least([*below, *above], np.full((8, 5), 0.2), grade) == 0.5


def test_losses_at_their_ends() -> None:
    sure = np.eye(5)
    assert metrics.brier(range(5), sure) == 0
    assert metrics.brier([1, 2, 3, 4, 0], sure) == 2
    assert metrics.log_loss(range(5), sure) == pytest.approx(0, abs=1e-12)
    assert metrics.log_loss([1, 2, 3, 4, 0], sure) == pytest.approx(36.04, abs=0.01)
    assert metrics.ece(range(5), sure) == 0
    assert metrics.ece([1, 2, 3, 4, 0], sure) == metrics.overconfidence([1, 2, 3, 4, 0], sure) == 1


def test_a_quotient_of_nothing_is_undefined() -> None:
    found = ratio(np.array([1.0, 0.0, 3.0]), np.array([2.0, 0.0, 0.0]))
    np.testing.assert_array_equal(found, [0.5, math.nan, math.nan])


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probabilities", "problem"),
    [
        (np.full((2, 4), 0.25), "shape (2, 4), expected (2, 5)"),
        (np.full((1, 5), 0.2), "shape (1, 5), expected (2, 5)"),
        (np.full(10, 0.2), "shape (10,), expected (2, 5)"),
        (np.full((2, 5), 1.01), "values that are not between 0 and 1"),
        (np.full((2, 5), -0.01), "values that are not between 0 and 1"),
        (np.full((2, 5), math.nan), "values that are not between 0 and 1"),
    ],
)
def test_probabilities_that_cannot_be_are_refused(probabilities: Floats, problem: str) -> None:
    with pytest.raises(InvalidPredictions) as refusal:
        metrics.brier([0, 1], probabilities)
    assert (refusal.value.subject, refusal.value.problem) == ("probabilities", problem)


def test_patients_are_numbered_by_name_and_each_must_have_one() -> None:
    indices, count = patient_indices(["b", "a", "b", 7])
    assert (indices.tolist(), count) == ([2, 1, 2, 0], 3)
    with pytest.raises(InvalidPredictions, match="2 of 3 knees have no patient"):
        patient_indices(["a", "", ""])
    with pytest.raises(InvalidPredictions, match="1 patients for 2 knees"):
        score([0, 1], [0, 1], None, ["a"])
    with pytest.raises(InvalidPredictions, match="0 resamples"):
        resample(lambda counts: counts, 3, 3, resamples=0, seed=1)


# --- bins of probabilities -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knees", "sure", "reason"),
    [
        (40, 0.62, ""),
        (30, 0.62, ""),
        (28, 0.62, "too few knees in the bin: 28"),
        (10, 0.62, "too few knees: 10"),
        (120, 0.96, "too few knees expected to be wrong: 4.8"),
        (160, 0.96, ""),
    ],
)
def test_a_bin_has_an_interval_where_it_holds(knees: int, sure: float, reason: str) -> None:
    """By its knees and what their probability lets expect; two in three are right in each."""
    shares = np.full((knees, 5), (1 - sure) / 4)
    shares[:, 2] = sure
    truth = [2, 2, 1] * (knees // 3) + [2] * (knees % 3)
    scores = score(truth, [2] * knees, shares, [at // 2 for at in range(knees)], resamples=50)
    (filled,) = (it for it in scores.reliability if it.knees)
    right = np.mean(np.equal(truth, 2))
    assert filled.accuracy.value == pytest.approx(right)
    assert filled.accuracy.reason == reason
    assert math.isnan(filled.accuracy.low) == bool(reason)
    if not reason:
        assert filled.accuracy.low < right < filled.accuracy.high


# --- words ---------------------------------------------------------------------------------------

TRUTH, PREDICTED = [0, 1, 2, 3, 4, 0], [0, 1, 2, 0, 0, 4]
WORDS = ["high", "high", "low", "low", "high", "moderate"]
PATIENTS = ["a", "a", "b", "c", "d", "e"]


def test_accuracy_among_the_knees_of_each_word() -> None:
    people = [f"{patient}{copy}" for copy in range(15) for patient in PATIENTS]
    several = (TRUTH * 15, PREDICTED * 15, WORDS * 15, people)
    bands = score_words(*several, resamples=50)
    assert [(it.word, it.knees) for it in bands] == [("high", 45), ("low", 30), ("moderate", 15)]
    assert [band.accuracy.value for band in bands] == pytest.approx([2 / 3, 1 / 2, 0])
    for band in bands[:2]:
        assert 0 <= band.accuracy.low <= band.accuracy.value <= band.accuracy.high <= 1
    few = {"value": 0.0, "low": None, "high": None, "reason": "too few knees: 15"}
    assert bands[2].to_dict() == {"word": "moderate", "knees": 15, "accuracy": few}
    assert score_words(*several, resamples=50)[:2] == bands[:2]


def test_one_word_for_all_is_the_accuracy_of_all() -> None:
    truth, predicted, patients = TRUTH * 4, PREDICTED * 4, range(24)
    (band,) = score_words(truth, predicted, ["low"] * 24, patients, resamples=30, seed=7)
    assert band.accuracy == score(truth, predicted, None, patients, resamples=30, seed=7).accuracy


@pytest.mark.parametrize("count", [0, 1, 5, 7])
def test_words_are_one_for_each_knee(count: int) -> None:
    with pytest.raises(InvalidPredictions, match=f"words: {count} words for 6 knees"):
        score_words(TRUTH, PREDICTED, ["low"] * count, PATIENTS, resamples=10)


# --- coverage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coverage", "text"),
    [
        (Coverage(6604, 6604, 0, 0), "6 604 of 6 604 labelled knees were predicted"),
        (
            Coverage(10, 7, 2, 1),
            "7 of 10 labelled knees were predicted, 2 refused, 1 without a row, "
            "1 prediction without a label",
        ),
        (
            Coverage(9, 7, 0, 2000),
            "7 of 9 labelled knees were predicted, 2 without a row, "
            "2 000 predictions without a label",
        ),
    ],
)
def test_coverage_says_what_became_of_every_knee(coverage: Coverage, text: str) -> None:
    assert str(coverage) == text
    assert coverage.scored + coverage.refused + coverage.missing == coverage.labelled
    assert coverage.to_dict()["missing"] == coverage.missing


@given(st.integers(0, 10**9))
def test_digits_stand_in_threes(number: int) -> None:
    groups = spaced(number).split(" ")
    assert int("".join(groups)) == number
    assert all(len(group) == 3 for group in groups[1:])


@pytest.mark.parametrize("known", [True, False])
def test_a_part_of_the_knees_keeps_their_order(known: bool) -> None:
    matched = MatchedKnees(
        images=("a", "b", "c"),
        patients=("p", "q", "r"),
        truth=np.array([0, 1, 2]),
        predicted=np.array([2, 1, 0]),
        probabilities=np.eye(5)[[2, 1, 0]] if known else None,
        coverage=Coverage(9, 3, 0, 0),
        labels=np.array([1, 4, 8]),
    )
    part = matched.among(np.array([8, 2, 1]))
    assert (part.images, part.patients, part.labels.tolist()) == (("a", "c"), ("p", "r"), [1, 8])
    assert (part.truth.tolist(), part.predicted.tolist()) == ([0, 2], [2, 0])
    assert part.coverage == matched.coverage
    if part.probabilities is None:
        assert not known
    else:
        assert part.probabilities.argmax(axis=1).tolist() == [2, 0]


def test_an_area_keeps_its_interval_within_0_and_1() -> None:
    """Near 1 the interval is longer towards 0, and never passes 1."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 4], 30)
    high = np.where(truth == 4, rng.beta(6, 2, 60), rng.beta(2, 6, 60))
    shares = np.stack([1 - high, *np.zeros((3, 60)), high], axis=1)
    found = score(truth, truth, shares, range(60), resamples=500).auc_grade2
    assert 0.9 < found.value < 1
    assert 0 < found.low < found.value < found.high < 1
    assert found.value - found.low > found.high - found.value
    mirrored = score(truth, truth, shares[:, ::-1], range(60), resamples=500).auc_grade2
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize(
    ("truth", "predicted", "reason"),
    [
        (np.arange(40) % 5, np.full(40, 2), "every knee is given the same grade"),
        (np.full(40, 2), np.arange(40) % 5, "every knee has the same grade"),
    ],
)
def test_a_kappa_that_cannot_vary_has_no_interval(
    truth: Ints, predicted: Ints, reason: str
) -> None:
    found = score(truth, predicted, None, range(40), resamples=100).qwk
    assert (found.value, found.reason) == (0.0, reason)
    assert np.isnan([found.low, found.high]).all()
