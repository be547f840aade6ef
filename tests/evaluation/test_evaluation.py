from __future__ import annotations

import ast
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy import special, stats
from sklearn import metrics as sklearn

import kellgren.evaluation
from kellgren.cli.score_tables import render
from kellgren.errors import InvalidPredictions
from kellgren.evaluation import (
    Coverage,
    Estimate,
    Grades,
    Scores,
    catalogue,
    compare,
    metrics,
    score,
)
from kellgren.evaluation.beta import beta_quantile, student_factor
from kellgren.evaluation.bootstrap import resample_counts
from kellgren.evaluation.catalogue import METRICS
from kellgren.evaluation.knees import GradedKnees, Tally
from kellgren.evaluation.ranking import curves
from simulated_grades import graded_knees, pairs_of

GRADES = range(5)


COUNTED = (
    *("accuracy", "one_off", "balanced_accuracy", "macro_f1", "weighted_f1", "qwk", "mae", "mse"),
)


# --- metrics ---------------------------------------------------------------------------------

grade_pairs = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40
).map(lambda pairs: np.array(pairs).T)


@settings(deadline=None, max_examples=40)
@given(grade_pairs)
def test_count_metrics_equal_scikit_learn(pairs):
    truth, predicted = pairs
    parts = sklearn.precision_recall_fscore_support(
        truth, predicted, labels=GRADES, zero_division=0
    )
    matrix = metrics.confusion_matrix(truth, predicted)
    assert (matrix == sklearn.confusion_matrix(truth, predicted, labels=GRADES)).all()
    assert metrics.precision(truth, predicted) == pytest.approx(parts[0])
    assert metrics.recall(truth, predicted) == pytest.approx(parts[1])
    assert metrics.f1(truth, predicted) == pytest.approx(parts[2])
    assert metrics.macro_f1(truth, predicted) == pytest.approx(
        sklearn.f1_score(truth, predicted, average="macro", zero_division=0)
    )
    assert metrics.accuracy(truth, predicted) == pytest.approx(
        sklearn.accuracy_score(truth, predicted)
    )
    assert metrics.mae(truth, predicted) == pytest.approx(
        sklearn.mean_absolute_error(truth, predicted)
    )
    assert metrics.mse(truth, predicted) == pytest.approx(
        sklearn.mean_squared_error(truth, predicted)
    )
    assert metrics.weighted_f1(truth, predicted) == pytest.approx(
        sklearn.f1_score(truth, predicted, labels=GRADES, average="weighted", zero_division=0)
    )
    assert metrics.one_off(truth, predicted) == np.mean(np.abs(truth - predicted) <= 1)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None, max_examples=40)
@given(grade_pairs)
def test_balanced_accuracy_equals_scikit_learn(pairs):
    expected = sklearn.balanced_accuracy_score(*pairs)
    assert metrics.balanced_accuracy(*pairs) == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(grade_pairs)
def test_kappa_equals_scikit_learn_and_is_undefined_for_one_grade(pairs):
    truth, predicted = pairs
    if len({*truth, *predicted}) == 1:
        assert math.isnan(metrics.qwk(truth, predicted))
    else:
        expected = sklearn.cohen_kappa_score(
            truth, predicted, labels=list(GRADES), weights="quadratic"
        )
        assert metrics.qwk(truth, predicted) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("grade", range(1, 5))
def test_auc_equals_scikit_learn(seed, grade):
    truth, _, probabilities = graded_knees(seed)
    expected = sklearn.roc_auc_score(truth >= grade, probabilities[:, grade:].sum(axis=1))
    assert metrics.auc_at_least(truth, probabilities, grade) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_areas_equal_scikit_learn_for_every_grade(seed):
    truth, _, shares = graded_knees(seed)
    for grade in GRADES:
        has, score_of = truth == grade, shares[:, grade]
        assert metrics.auc(truth, shares, grade) == pytest.approx(
            sklearn.roc_auc_score(has, score_of), abs=1e-12
        )
        assert metrics.average_precision(truth, shares, grade) == pytest.approx(
            sklearn.average_precision_score(has, score_of), abs=1e-12
        )
    expected = sklearn.average_precision_score(truth >= 2, shares[:, 2:].sum(axis=1))
    assert metrics.average_precision_at_least(truth, shares) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_curves_equal_scikit_learn(seed):
    truth, _, shares = graded_knees(seed)
    drawn = curves(truth == 2, shares[:, 2])
    false_alarms, recall, _ = sklearn.roc_curve(truth == 2, shares[:, 2], drop_intermediate=False)
    assert drawn.false_positive_rate == pytest.approx(false_alarms)
    assert drawn.recall == pytest.approx(recall)
    precision, recall, _ = sklearn.precision_recall_curve(truth == 2, shares[:, 2])
    assert drawn.precision == pytest.approx(precision[::-1])
    assert drawn.recall == pytest.approx(recall[::-1])
    assert curves(truth == 9, shares[:, 2]) is None


@pytest.mark.parametrize("seed", range(5))
def test_losses_equal_scikit_learn(seed):
    truth, _, _ = graded_knees(seed)
    shares = np.random.default_rng(seed).dirichlet(np.full(5, 0.5), len(truth))
    shares[0] = np.eye(5)[(truth[0] + 1) % 5]  # sure, and wrong
    assert metrics.brier(truth, shares) == pytest.approx(
        sklearn.brier_score_loss(truth, shares, labels=GRADES, scale_by_half=False)
    )
    assert metrics.log_loss(truth, shares) == pytest.approx(
        sklearn.log_loss(truth, shares, labels=GRADES)
    )


def ece_knee_by_knee(truth: np.ndarray, shares: np.ndarray) -> float:
    """The definition as it is written in papers, one bin and one knee after the other."""
    error = 0.0
    for index in range(15):
        inside = [k for k, p in enumerate(shares) if index / 15 < max(p) <= (index + 1) / 15]
        if inside:
            confidence = sum(max(shares[k]) for k in inside) / len(inside)
            right = sum(int(np.argmax(shares[k])) == truth[k] for k in inside) / len(inside)
            error += len(inside) / len(truth) * abs(right - confidence)
    return error


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_calibration_error_equals_its_definition(seed, knees):
    rng = np.random.default_rng(seed)
    truth, shares = rng.integers(0, 5, knees), rng.dirichlet(np.full(5, 0.5), knees)
    assert metrics.ece(truth, shares) == pytest.approx(ece_knee_by_knee(truth, shares))
    right = shares.argmax(axis=1) == truth
    expected = shares.max(axis=1).mean() - right.mean()
    assert metrics.overconfidence(truth, shares) == pytest.approx(expected)


def test_bins_are_closed_on_the_right():
    shares = np.array([[0.4, 0.3, 0.3, 0, 0], [0.4 + 1e-9, 0.6 - 1e-9, 0, 0, 0], [1, 0, 0, 0, 0]])
    filled = [bin.knees for bin in score([0, 1, 0], [0, 1, 0], shares, "abc").reliability]
    assert filled == [0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]


def test_auc_counts_ties_half_and_is_undefined_for_one_class():
    same = np.full((4, 5), 0.2)
    assert metrics.auc_at_least([0, 1, 2, 3], same) == 0.5
    assert math.isnan(metrics.auc_at_least([2, 2, 3, 4], same))


@pytest.mark.parametrize(
    ("truth", "predicted", "problem"),
    [
        ([], [], r"shape \(0,\)"),
        ([0, 5], [0, 1], "grades from 0 to 5"),
        ([0, -1], [0, 1], "grades from -1 to 0"),
        ([0, 1], [0.0, 1.5], "type float64"),
        ([0, 1], [0], "1 predicted grades for 2"),
    ],
)
def test_invalid_grades_are_refused(truth, predicted, problem):
    with pytest.raises(InvalidPredictions, match=problem):
        metrics.accuracy(truth, predicted)


# --- bootstrap -------------------------------------------------------------------------------


def repeated(counts: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The knees of one resample, each as often as its patient was drawn."""
    return np.repeat(np.arange(len(patients)), counts[patients].astype(int))


def test_fast_bootstrap_equals_repeating_the_knees():
    truth, predicted, probabilities = graded_knees(3, knees=41)
    patients = np.arange(41) // 2
    counts = np.concatenate(list(resample_counts(21, 40, seed=7, block=25)))
    tally = Tally(GradedKnees(truth, predicted, probabilities, patients, 21))
    tallies = tally.unpacked(tally(counts))
    found = catalogue.values(tallies)
    for row, drawn in enumerate(counts):
        knees = repeated(drawn, patients)
        one, other, shares = truth[knees], predicted[knees], probabilities[knees]
        naive = sklearn.confusion_matrix(one, other, labels=GRADES)
        assert (tallies.confusion[row] == naive).all()
        for name in COUNTED:
            assert found[name][row] == pytest.approx(getattr(metrics, name)(one, other)), name
        for name in ("brier", "log_loss", "ece", "overconfidence"):
            assert found[name][row] == pytest.approx(getattr(metrics, name)(one, shares)), name
        for grade in GRADES:
            area = metrics.auc(one, shares, grade)
            assert found["auc"][row, grade] == pytest.approx(area, nan_ok=True)
            area = metrics.average_precision(one, shares, grade)
            assert found["average_precision"][row, grade] == pytest.approx(area, nan_ok=True)
        at_least_2 = sklearn.roc_auc_score(one >= 2, shares[:, 2:].sum(axis=1))
        assert found["auc_grade2"][row] == pytest.approx(at_least_2)


def test_intervals_equal_their_formulas_over_a_naive_bootstrap():
    truth, predicted, probabilities = graded_knees(11, knees=80)
    patients = np.arange(80) // 2
    names = [f"{patient:03}" for patient in patients]
    scores = score(truth, predicted, probabilities, names, resamples=200, seed=5)
    counts = np.concatenate(list(resample_counts(40, 200, seed=5, block=200)))
    resamples = [repeated(drawn, patients) for drawn in counts]
    logit, back = special.logit, special.expit
    scales = {
        **{name: (np.log, np.exp) for name in ("mae", "mse", "brier", "log_loss")},
        "qwk": (np.arctanh, np.tanh),
        "overconfidence": (np.positive, np.positive),
        "auc_grade2": (logit, back),
    }
    for name, (scale, unscale) in scales.items():
        metric = getattr(metrics, "auc_at_least" if name == "auc_grade2" else name)
        seen = predicted if name in COUNTED else probabilities
        draws = scale(np.array([metric(truth[knees], seen[knees]) for knees in resamples]))
        middle = scale(metric(truth, seen))
        quantile = stats.norm if name == "auc_grade2" else stats.t(39)
        reach = quantile.ppf(0.975) * draws.std() * math.sqrt(40 / 39)
        estimate = getattr(scores, name)
        found = (estimate.low, estimate.high)
        assert found == pytest.approx((unscale(middle - reach), unscale(middle + reach))), name
    for name in ("accuracy", "one_off"):
        metric = getattr(metrics, name)
        draws = np.array([metric(truth[knees], predicted[knees]) for knees in resamples])
        value = metric(truth, predicted)
        number = value * (1 - value) / (draws.var() * 40 / 39)
        number = np.clip(number * (1.959964 / stats.t.ppf(0.975, 39)) ** 2, 40, 80)
        ends = stats.beta.ppf([0.025, 0.975], value * number + 0.5, (1 - value) * number + 0.5)
        estimate = getattr(scores, name)
        assert (estimate.low, estimate.high) == pytest.approx(tuple(ends)), name


@pytest.mark.parametrize(("a", "b"), [(0.5, 3.5), (20.5, 0.5), (4.0, 4.0), (3000.0, 800.5)])
def test_beta_and_student_quantiles_equal_scipy(a, b):
    for probability in (0.025, 0.5, 0.975):
        expected = stats.beta.ppf(probability, a, b)
        assert beta_quantile(probability, a, b) == pytest.approx(expected, rel=1e-9)
    assert student_factor(int(a) + 2) == pytest.approx(stats.t.ppf(0.975, int(a) + 1))


def test_intervals_do_not_collapse_where_all_knees_are_right():
    """20 of 20 right: Wilson's bound, at 20 knees of 20 patients and at 20 knees of 10."""
    truth = [0, 1, 2, 3, 4] * 4
    sure = np.eye(5)[truth]
    alone = score(truth, truth, sure, range(20), resamples=200)
    in_pairs = score(truth, truth, sure, pairs_of(20), resamples=200)
    assert (alone.accuracy.low, alone.accuracy.high) == pytest.approx((0.8389, 1), abs=1e-4)
    assert (in_pairs.accuracy.low, in_pairs.accuracy.high) == pytest.approx((0.7225, 1), abs=1e-4)
    # Errors of one grade in 16.1 % of the knees would pass unseen.
    assert alone.mae.high == pytest.approx(1 - alone.accuracy.low)
    assert alone.mse.high == pytest.approx(1 - alone.accuracy.low)
    assert alone.brier.high == pytest.approx(2 * (1 - alone.accuracy.low))
    truth = truth * 5
    many = score(truth, truth, np.eye(5)[truth], range(100), resamples=50)
    for metric in METRICS:
        estimate = getattr(many, metric.key)
        assert estimate.value == pytest.approx(float(metric.higher_is_better), abs=1e-9)
        if metric.key != "ece":
            assert estimate.high - estimate.low > 0.007, metric.key
            assert estimate.low <= estimate.value <= estimate.high
    for row in many.per_grade:
        for estimate in row.metrics.values():
            assert 0.8 < estimate.low < 0.95
            assert estimate.high == 1


def test_of_fewer_than_20_knees_there_is_no_interval_and_the_reason_is_said():
    truth = np.repeat([0, 1, 2, 3, 4], [40, 30, 30, 19, 4])
    predicted = np.where(np.arange(123) % 3 > 0, truth, (truth + 1) % 5)
    found = score(truth, predicted, np.eye(5)[predicted], range(123), resamples=50)
    few = "too few knees of grade"
    for key in ("recall", "auc", "average_precision"):
        rows = [row.metrics[key] for row in found.per_grade]
        assert [row.reason for row in rows] == [*[""] * 3, f"{few} 3: 19", f"{few} 4: 4"], key
        assert [math.isnan(row.low) for row in rows] == [False] * 3 + [True] * 2
    given = np.bincount(predicted)
    assert given[0] >= 20 > given[4]
    assert found.per_grade[4].precision.reason == f"too few knees given grade 4: {given[4]}"
    assert found.per_grade[3].f1.reason == ""  # 19 have the grade, and more were given it
    assert found.per_grade[4].to_dict()["recall"] == {
        **{"value": found.per_grade[4].recall.value, "low": None, "high": None},
        "reason": "too few knees of grade 4: 4",
    }
    assert str(found.per_grade[4].recall).endswith(" (no interval: too few knees of grade 4: 4)")
    assert all(math.isnan(share.high) and share.reason for share in found.errors)
    text = " ".join(rendered(found, None).split())
    assert f"{found.per_grade[4].recall.value:.3f} none" in text
    assert "Interval none: calibration error by chance alone: 0." in text
    assert "too few knees of grade 3: 19" in text
    all_few = score(truth[:19], predicted[:19], None, range(19), resamples=5)
    assert {it.reason for it in all_few.metrics.values() if it} == {"too few knees: 19"}
    assert math.isfinite(score(truth[:20], predicted[:20], None, range(20)).accuracy.low)


def test_an_area_needs_as_many_knees_without_the_finding():
    truth = np.repeat([0, 3], [19, 60])
    shares = np.random.default_rng(0).dirichlet(np.ones(5), 79)
    found = score(truth, truth, shares, range(79), resamples=20)
    assert found.auc_grade2.reason == "too few knees not of grade 2 or higher: 19"
    assert found.average_precision_grade2.reason == found.auc_grade2.reason
    same = Grades(truth, shares), Grades(truth, shares[::-1])
    compared = compare(truth, *same, range(79), resamples=20, permutations=5)
    assert compared.metrics["auc_grade2"].difference.reason == found.auc_grade2.reason


def test_chance_alone_makes_the_calibration_error_that_a_calibrated_model_shows():
    rng = np.random.default_rng(1)
    by_chance, shown = [], []
    for seed in range(30):
        shares = rng.dirichlet(np.full(5, 0.5), 160)
        truth = (shares.cumsum(axis=1) > rng.random((160, 1))).argmax(axis=1)
        ece = score(truth, truth, shares, pairs_of(160), resamples=60, seed=seed).ece
        shown.append(ece.value)
        by_chance.append(float(ece.reason.removeprefix("calibration error by chance alone: ")))
    assert np.mean(by_chance) == pytest.approx(np.mean(shown), rel=0.08)


def test_none_right_mirrors_all_right():
    truth = [0, 1, 2, 3, 4] * 4
    wrong = score(truth, [(grade + 1) % 5 for grade in truth], None, range(20), resamples=200)
    assert (wrong.accuracy.low, wrong.accuracy.high) == pytest.approx((0, 0.1611), abs=1e-4)


def test_a_grade_that_does_not_occur_is_named_and_left_out_of_means():
    truth = [0, 1, 2, 3] * 5
    perfect = score(truth, truth, None, range(20), resamples=50)
    assert (perfect.without_knees, perfect.absent) == ((4,), (4,))
    assert perfect.macro_f1.value == perfect.balanced_accuracy.value == 1
    text = rendered(perfect, None)
    assert "macro-F1 (4 of 5 grades)" in text
    assert "No knee has grade 4: balanced accuracy is the mean of 4 grades, macro-F1 of 4." in text
    assert perfect.to_dict()["grades_absent"] == [4]
    given = score(truth, [4, *truth[1:]], None, range(20), resamples=50)
    assert (given.without_knees, given.absent) == ((4,), ())
    assert given.macro_f1.value == pytest.approx(np.mean([8 / 9, 1, 1, 1, 0]))
    assert "macro-F1 of 5." in given.absence
    assert not score(range(5), range(5), None, range(5), resamples=2).absence


def test_draws_are_of_whole_samples_and_do_not_depend_on_blocks():
    at_once = np.concatenate(list(resample_counts(13, 30, seed=1, block=30)))
    in_parts = np.concatenate(list(resample_counts(13, 30, seed=1, block=7)))
    assert (at_once == in_parts).all()
    assert (at_once.sum(axis=1) == 13).all()
    assert len(np.unique(at_once, axis=0)) == 30


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order_of_knees(random):
    truth, predicted, probabilities = graded_knees(2, knees=60)
    patients = pairs_of(60)
    order = list(range(60))
    random.shuffle(order)
    shuffled = score(
        truth[order],
        predicted[order],
        probabilities[order],
        [patients[i] for i in order],
        resamples=50,
    )
    assert (
        shuffled.to_dict()
        == score(truth, predicted, probabilities, patients, resamples=50).to_dict()
    )


def correlated_pairs(rng: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """True grades, and predictions right in 70% of knees, mostly for both knees or neither."""
    truth = rng.integers(0, 5, (patients, 2))
    shared = rng.random((patients, 1)) < 0.8
    luck = np.where(shared, rng.random((patients, 1)), rng.random((patients, 2)))
    predicted = np.where(luck < 0.7, truth, (truth + 1) % 5)
    return truth.ravel(), predicted.ravel()


def test_intervals_cover_the_truth_when_knees_of_a_patient_are_alike(monkeypatch):
    alone = [metric for metric in METRICS if metric.key == "accuracy"]
    monkeypatch.setattr("kellgren.evaluation.scores.METRICS", alone)  # the others take most time
    monkeypatch.setattr("kellgren.evaluation.scores.GRADE_METRICS", [])
    rng = np.random.default_rng(0)
    by_patient, by_knee = 0, 0
    for trial in range(200):
        truth, predicted = correlated_pairs(rng, 150)
        grouped = score(truth, predicted, None, pairs_of(300), resamples=100, seed=trial).accuracy
        single = score(truth, predicted, None, range(300), resamples=100, seed=trial).accuracy
        by_patient += grouped.low <= 0.7 <= grouped.high
        by_knee += single.low <= 0.7 <= single.high
    assert 0.90 <= by_patient / 200 <= 0.98
    # What the patient bootstrap protects against: pretending that knees are independent.
    assert by_knee / 200 < 0.90


# --- scores ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scores() -> Scores:
    truth, predicted, probabilities = graded_knees(0)
    return score(truth, predicted, probabilities, pairs_of(300), resamples=200)


def test_scores_hold_the_metrics_and_what_made_them(scores):
    truth, predicted, probabilities = graded_knees(0)
    assert scores.accuracy.value == metrics.accuracy(truth, predicted)
    assert scores.auc_grade2.value == metrics.auc_at_least(truth, probabilities)
    assert [row.f1.value for row in scores.per_grade] == pytest.approx(metrics.f1(truth, predicted))
    assert [row.support for row in scores.per_grade] == np.bincount(truth).tolist()
    assert (scores.knees, scores.patients) == (300, 150)
    assert (scores.resamples, scores.seed) == (200, 42)
    for row in scores.per_grade:
        assert row.recall.low < row.recall.value < row.recall.high


def test_scores_survive_json(scores):
    document = scores.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document["accuracy"]) == {"value", "low", "high"}
    assert sum(map(sum, document["confusion"])) == 300


def test_what_a_sample_does_not_define_is_null_not_zero():
    result = score([3, 3, 3, 3], [3, 3, 3, 3], np.eye(5)[[3] * 4], "abcd", resamples=20).to_dict()
    undefined = {"value": None, "low": None, "high": None}
    assert result["qwk"] == result["auc_grade2"] == undefined
    assert result["per_grade"][0]["recall"] == undefined
    recall = result["per_grade"][3]["recall"]
    assert (recall["value"], recall["high"], recall["reason"]) == (1, None, "too few knees: 4")
    assert result["macro_f1"]["value"] == 1


def test_undefined_resamples_are_left_out():
    # Half of the resamples of two patients hold only one of the two classes.
    truth = [0] * 20 + [4] * 20
    result = score(truth, truth, np.eye(5)[truth], "a" * 20 + "b" * 20, resamples=100)
    assert (result.auc_grade2.value, result.auc_grade2.high) == (1.0, 1.0)
    assert 0.2 < result.auc_grade2.low < 0.5


@pytest.mark.filterwarnings("error")
def test_what_no_resample_defines_has_no_interval():
    # With one resample, in a third of them no knee of grade 4 is drawn: all are one patient's.
    truth, shares = np.array([*range(4)] * 10 + [4] * 20), np.full((60, 5), 0.2)
    patients = [*range(40), *["last"] * 20]
    reasons = []
    for seed in range(12):
        grades = Grades(truth, shares)
        result = score(truth, truth, shares, patients, resamples=1, seed=seed)
        assert result.per_grade[4].recall.value == 1
        compare(truth, grades, grades, patients, resamples=1, permutations=1)
        auc = result.per_grade[4].auc
        assert auc.value == 0.5
        assert math.isnan(auc.low) == bool(auc.reason)
        reasons.append(auc.reason)
    assert set(reasons) == {"", "undefined in every resample"}


def test_one_patient_gives_no_interval():
    result = score([0, 1], [0, 2], None, ["a", "a"], resamples=20)
    assert str(result.accuracy) == "0.500 (no interval: a single patient)"
    none = {"value": 0.5, "low": None, "high": None, "reason": "a single patient"}
    assert result.to_dict()["accuracy"] == none


def test_without_probabilities_there_is_no_auc():
    assert score([0, 1], [0, 2], None, "ab", resamples=20).to_dict()["auc_grade2"] is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"patients": ["a"]}, "1 patients for 2 knees"),
        ({"patients": ["a", ""]}, "1 of 2 knees have no patient"),
        ({"probabilities": np.full((2, 4), 0.25)}, r"expected \(2, 5\)"),
        ({"probabilities": np.full((2, 5), np.nan)}, "not between 0 and 1"),
        ({"resamples": 0}, "0 resamples"),
    ],
)
def test_unusable_arguments_are_refused(changes, problem):
    arguments = {"truth": [0, 1], "predicted": [0, 1], "probabilities": None, "patients": "ab"}
    with pytest.raises(InvalidPredictions, match=problem):
        score(**(arguments | changes))


def test_an_estimate_reads_as_a_sentence():
    assert str(Estimate(0.7041, 0.68, 0.7279)) == "0.704 (95% CI 0.680 to 0.728)"
    assert str(Estimate(math.nan, math.nan, math.nan)) == "undefined"


# --- report ----------------------------------------------------------------------------------


def rendered(result: Scores, coverage: Coverage | None, encoding: str = "utf-8") -> str:
    screen = io.BytesIO()
    console = Console(file=io.TextIOWrapper(screen, encoding=encoding), width=80, no_color=True)
    console.print(render(result, coverage))
    console.file.flush()
    return screen.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_report_fits_80_columns_and_needs_no_colour(scores, encoding):
    text = rendered(scores, Coverage(6604, 300, 0, 0), encoding)
    assert max(map(len, text.splitlines())) <= 80
    assert "300 of 6 604 labelled knees were predicted" in text
    words = " ".join(text.replace("|", " ").split())
    for metric in METRICS:
        estimate = getattr(scores, metric.key)
        ends = "none" if metric.key == "ece" else f"{estimate.low:.3f} to {estimate.high:.3f}"
        assert f"{estimate.value:.3f} {ends}" in words
    for grade, row in enumerate(scores.confusion):
        assert f"[ {row[grade]:>3} {row[grade] / sum(row):>4.0%}]" in text
    assert "200 resamples of patients" in text


def test_the_report_shows_large_and_undefined_numbers():
    knees = 40_000
    result = score([0] * knees, [0] * knees, None, range(knees), resamples=2)
    text = rendered(result, None)
    assert max(map(len, text.splitlines())) <= 80
    assert "[40000 100%]" in text
    assert "nan" not in text
    assert "AUC" not in text


# --- architecture ----------------------------------------------------------------------------


FILE_MODULES = {"csv", "gzip", "io", "os", "pathlib", "shutil", "tempfile", "zipfile", "zlib"}
FILE_CALLS = {"open", "load", "save", "savez", "loadtxt", "genfromtxt", "fromfile", "tofile"}


def test_evaluation_sees_arrays_only():
    allowed = {"kellgren.arrays", "kellgren.errors", "kellgren.grades"}
    for source in Path(kellgren.evaluation.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom | ast.Import):
                modules = (
                    [node.module]
                    if isinstance(node, ast.ImportFrom)
                    else [name.name for name in node.names]
                )
                for module in modules:
                    top = module.partition(".")[0]
                    assert top not in {"torch", "sklearn", "PIL"} | FILE_MODULES, source
                    if top == "kellgren":
                        assert module in allowed or module.startswith("kellgren.evaluation")
            called = getattr(node, "id", getattr(node, "attr", ""))
            assert called not in FILE_CALLS, f"{source} touches a file: {called}"
