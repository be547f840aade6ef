"""What a calibration is worth: on other patients, never worse for few, and how it grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import MadeKnees

from kellgren.arrays import Distributions, GradeArray
from kellgren.errors import InvalidPredictions
from kellgren.evaluation.comparison import Grades, compare
from kellgren.grading.grade_sets import fit_grade_sets
from kellgren.local_calibration import estimate as module
from kellgren.local_calibration.estimate import cross_fitted, estimate, parts_of_patients
from kellgren.local_calibration.learning_curve import learning_curve
from kellgren.local_calibration.local_fit import LocalFit, fit_local
from kellgren.local_calibration.local_sets import local_grade_sets
from kellgren.local_calibration.report import html_page
from kellgren.local_calibration.verdict import warnings_of

Made = Callable[..., MadeKnees]


def _right(told: Distributions, grades: GradeArray) -> float:
    return float((told.argmax(axis=1) == grades).mean())


def test_before_and_after_are_compared_on_the_same_knees(made: Made) -> None:
    knees = made(160, 2.0)

    found = estimate(knees.probabilities, knees.grades, knees.patients, resamples=200)

    accuracy = found.comparison.metrics["accuracy"]
    assert accuracy.other == pytest.approx(_right(knees.probabilities, knees.grades))
    assert accuracy.this == pytest.approx(_right(found.after, knees.grades))
    assert accuracy.difference.low > 0
    assert found.fit.verdict == "calibrated"
    assert found.unchanged_parts == 0


def test_an_agreement_that_falls_is_warned_of_in_the_report_too(made: Made) -> None:
    knees = made(160, 2.0)
    found = estimate(knees.probabilities, knees.grades, knees.patients, resamples=200)
    assert not any("is lower" in warning for warning in warnings_of(found))
    told = Grades(knees.probabilities.argmax(axis=1), knees.probabilities)
    after = Grades(found.after.argmax(axis=1), found.after)
    swapped = compare(knees.grades, told, after, knees.patients, resamples=50, permutations=50)

    warnings = warnings_of(replace(found, comparison=swapped))

    assert "accuracy is lower after it, by the estimate" in warnings
    curve = learning_curve(knees.probabilities, knees.grades, knees.patients, repeats=2)
    page = html_page("here", replace(found, comparison=swapped), curve)
    for warning in warnings:
        assert f"Warning: {warning}." in page


def test_no_knee_is_judged_by_a_fit_that_saw_its_patient(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    knees = made(60, 1.5)
    seen: list[np.ndarray] = []

    def spied(probabilities: Distributions, grades: GradeArray) -> LocalFit:
        seen.append(probabilities)
        return fit_local(probabilities, grades)

    monkeypatch.setattr(module, "fit_local", spied)
    cross_fitted(knees.probabilities, knees.grades, knees.patients)

    part = parts_of_patients(knees.patients)
    assert len(seen) == len(np.unique(part)) == 20
    for held, fitted in zip(np.unique(part), seen, strict=True):
        out = {tuple(row) for row in knees.probabilities[part == held]}
        assert out.isdisjoint(tuple(row) for row in fitted)
    for patient in set(knees.patients):
        assert len({part[n] for n, p in enumerate(knees.patients) if p == patient}) == 1


@pytest.mark.parametrize("move", [0.0, 1.0])
def test_thirty_knees_are_not_worse_than_none(made: Made, move: float) -> None:
    others, gains = made(1000, move, 1000), []
    for seed in range(60):
        knees = made(30, move, seed)
        after = fit_local(knees.probabilities, knees.grades).shift.apply(others.probabilities)
        gains.append(_right(after, others.grades) - _right(others.probabilities, others.grades))
    assert np.mean(gains) > -0.005
    assert np.quantile(gains, 0.025) > -0.03


def test_a_hundred_knees_recover_most_of_the_loss(made: Made) -> None:
    others = made(4000, 2.0, seed=99)
    best = fit_local(others.probabilities, others.grades).shift.apply(others.probabilities)
    lost = _right(best, others.grades) - _right(others.probabilities, others.grades)
    gains = []
    for seed in range(20):
        knees = made(100, 2.0, seed)
        after = fit_local(knees.probabilities, knees.grades).shift.apply(others.probabilities)
        gains.append(_right(after, others.grades) - _right(others.probabilities, others.grades))
    assert np.mean(gains) >= 0.8 * lost > 0.05


@pytest.mark.parametrize(
    ("grades", "patients", "said"),
    [
        ([0, 1] * 9, [str(n) for n in range(18)], "18 graded knees of 18 patients"),
        ([0, 1] * 10, ["a", "b"] * 10, "20 graded knees of 2 patients"),
        ([2] * 20, [str(n) for n in range(20)], "all 20 knees have grade 2"),
    ],
)
def test_too_few_knees_are_refused(
    grades: Sequence[int], patients: Sequence[str], said: str
) -> None:
    told = np.full((len(grades), 5), 0.2)
    with pytest.raises(InvalidPredictions, match=said):
        estimate(told, np.array(grades), patients)


def test_the_learning_curve_starts_at_none_and_rises(made: Made) -> None:
    knees = made(200, 2.0)

    curve = learning_curve(knees.probabilities, knees.grades, knees.patients, repeats=10)

    first, last = curve.points[0], curve.points[-1]
    assert first.knees == 0
    assert first.accuracy == pytest.approx(_right(knees.probabilities, knees.grades))
    assert [round(point.knees, -1) for point in curve.points[1:]] == [10, 20, 30, 50, 80, 100, 150]
    assert last.accuracy > first.accuracy + 0.05
    assert curve.gain_of_more is not None
    assert 0 <= curve.gain_of_more < 0.05


def test_a_short_curve_promises_nothing(made: Made) -> None:
    knees = made(24, 2.0)
    assert learning_curve(knees.probabilities, knees.grades, knees.patients).gain_of_more is None


@pytest.mark.parametrize("count", [60, 200])
def test_local_sets_hold_the_labels_of_each_local_grade(made: Made, count: int) -> None:
    """The shipped sets miss many of a reader whose thresholds lie elsewhere."""
    like, others = made(2000, 0.0, seed=5), made(2000, 2.0, seed=6)
    shipped = fit_grade_sets(like.probabilities, like.grades, like.patients)
    held = []
    for seed in range(6):
        knees = made(count, 2.0, seed)
        after, _ = cross_fitted(knees.probabilities, knees.grades, knees.patients)
        sets = local_grade_sets(after, knees.grades, knees.patients, shipped)
        fit = fit_local(knees.probabilities, knees.grades)
        if fit.verdict != "calibrated":
            continue  # no bundle is made
        lowest, highest = sets.sets(fit.shift.apply(others.probabilities))
        inside = (lowest <= others.grades) & (others.grades <= highest)
        held.append([inside[others.grades == grade].mean() for grade in range(4)])
    assert len(held) >= 3
    assert np.mean(held, axis=0).min() >= 0.85
    lowest, highest = shipped.sets(others.probabilities)
    assert ((lowest <= others.grades) & (others.grades <= highest)).mean() < 0.85


def test_few_knees_of_a_grade_never_narrow_its_threshold(made: Made) -> None:
    like, knees = made(2000, 0.0, seed=5), made(24, 1.0)
    shipped = fit_grade_sets(like.probabilities, like.grades, like.patients)
    after, _ = cross_fitted(knees.probabilities, knees.grades, knees.patients)

    sets = local_grade_sets(after, knees.grades, knees.patients, shipped)

    few = np.bincount(knees.grades, minlength=5) < 9
    assert few.any()
    at_90 = np.array([sets.at(0.9).thresholds, shipped.at(0.9).thresholds])
    assert (at_90[0] >= at_90[1] - 1e-7)[few].all()
