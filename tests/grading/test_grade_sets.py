from __future__ import annotations

import itertools
import math
import warnings
from importlib import resources

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kellgren.errors import InvalidOption
from kellgren.grading.grade_sets import (
    FEWEST_OF_A_GRADE,
    LEVELS,
    GradeSets,
    conformal_quantile,
    cross_fitted_sets,
    fit_grade_sets,
    median_scores,
    parts_of_patients,
)
from simulated_grades import Floats, Ints
from simulated_grades import calibrated_knees as knees

distributions = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 8), st.just(5)), elements=st.floats(0.001, 1)
).map(lambda rows: rows / rows.sum(axis=1, keepdims=True))


@pytest.fixture(scope="module")
def fitted() -> GradeSets:
    return fit_grade_sets(*knees(4000))


# --- what a set promises ---------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sharpness", [1.0, 3.0], ids=["calibrated", "too sure"])
def test_new_knees_of_every_grade_are_held_at_the_level(level: float, sharpness: float) -> None:
    """Nominal coverage per true grade, even where the probabilities are wrong."""
    sets = fit_grade_sets(*knees(6000, 1, sharpness))
    told, labels, _ = knees(20_000, 2, sharpness)
    lowest, highest = sets.sets(told, level)
    inside = (lowest <= labels) & (labels <= highest)
    for grade in range(5):
        of_it = inside[labels == grade]
        spread = 3 * math.sqrt(level * (1 - level) * (1 / len(of_it) + 1 / 1000))
        assert of_it.mean() > level - spread
    # The named grade is always in the set: what that adds is the only excess there may be.
    named_out = median_scores(told)[np.arange(len(told)), told.argmax(axis=1)]
    forced = named_out > np.array(sets.at(level).thresholds)[told.argmax(axis=1)]
    assert inside[~forced].mean() < level + 0.04


def test_what_is_measured_is_what_new_knees_show(fitted: GradeSets) -> None:
    told, labels, _ = knees(20_000, 5)
    for one in fitted.levels:
        lowest, highest = fitted.sets(told, one.level)
        inside = (lowest <= labels) & (labels <= highest)
        assert one.measured.coverage == pytest.approx(inside.mean(), abs=0.015)
        assert one.measured.mean_size == pytest.approx((highest - lowest + 1).mean(), abs=0.06)
        assert one.measured.single == pytest.approx((highest == lowest).mean(), abs=0.06)
        assert (one.measured.knees, one.measured.patients) == (4000, 2000)


@settings(deadline=None)
@given(distributions)
def test_the_named_grade_is_inside_and_a_higher_level_is_never_narrower(rows: Floats) -> None:
    sets = fit_grade_sets(*knees(400))
    ends = [sets.sets(rows, level) for level in LEVELS]
    for lowest, highest in ends:
        assert (lowest <= rows.argmax(axis=1)).all()
        assert (rows.argmax(axis=1) <= highest).all()
        assert (lowest >= 0).all()
        assert (highest <= 4).all()
    for (low, high), (lower, higher) in itertools.pairwise(ends):
        assert (lower <= low).all()
        assert (high <= higher).all()


def test_one_knee_gets_what_a_row_of_many_gets(fitted: GradeSets) -> None:
    told = knees(30, 9)[0]
    lowest, highest = fitted.sets(told, 0.95)
    assert [fitted.set_of(row, 0.95) for row in told] == list(zip(lowest, highest, strict=True))


# --- the quantile, against its definition and against MAPIE -----------------------------------


@pytest.mark.parametrize(
    ("count", "level", "expected"), [(9, 0.9, 9), (19, 0.95, 19), (10, 0.8, 9), (8, 0.9, math.inf)]
)
def test_the_quantile_is_the_ceiling_of_one_more(count: int, level: float, expected: float) -> None:
    assert conformal_quantile(np.arange(1.0, count + 1), level) == expected


def of_the_package() -> tuple[Floats, Ints]:
    """The default bundle's knees out of fold, labelled by a draw from what it says of them."""
    with resources.files("kellgren").joinpath("models/default/out_of_fold.csv").open() as table:
        told = np.loadtxt(table, delimiter=",", skiprows=1, usecols=range(3, 8))
    share = np.random.default_rng(3).random((len(told), 1))
    return told, (told.cumsum(axis=1) < share).sum(axis=1).clip(0, 4)


@pytest.mark.parametrize("level", LEVELS)
def test_mapie_admits_the_same_grades(level: float) -> None:
    """Each grade is one conformal problem of MAPIE's, on the knees that have it."""
    classification = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Scored(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """Of the answer "has the grade" the probability is 1 minus the score."""

        classes_ = np.array([0, 1])

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict_proba(self, scores: Floats) -> Floats:
            return np.column_stack([scores[:, 0], 1 - scores[:, 0]])

        def predict(self, scores: Floats) -> Ints:
            return (scores[:, 0] < 0.5).astype(np.int64)

    told, labels = of_the_package()
    scores, known = median_scores(told), np.arange(len(told)) % 4 > 0
    admitted = np.zeros((int((~known).sum()), 5), bool)
    for grade in range(5):
        own = scores[known & (labels == grade)][:, [grade]]
        assert len(own) >= FEWEST_OF_A_GRADE
        mapie = classification.SplitConformalClassifier(
            Scored(), confidence_level=level, conformity_score="lac"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one of the two answers is in no label: so it is meant
            mapie.conformalize(own, np.ones(len(own), np.int64))
            admitted[:, grade] = mapie.predict_set(scores[~known][:, [grade]])[1][:, 1, 0]
    rows = np.arange(len(admitted))
    admitted[rows, told[~known].argmax(axis=1)] = True
    ours = fit_grade_sets(told[known], labels[known], [str(at) for at in rows_of(known)])
    lowest, highest = ours.sets(told[~known], level)
    assert (lowest == admitted.argmax(axis=1)).all()
    assert (highest == 4 - admitted[:, ::-1].argmax(axis=1)).all()


def rows_of(mask: npt.NDArray[np.bool_]) -> Ints:
    return np.flatnonzero(mask)


# --- patients --------------------------------------------------------------------------------


def test_a_patient_is_never_told_by_thresholds_of_the_own_knees() -> None:
    told, labels, patients = knees(200)
    one = np.array(patients) == "p7"
    spoilt = labels.copy()
    spoilt[one] = (labels[one] + 2) % 5
    before, after = (
        cross_fitted_sets(told, labels, patients),
        cross_fitted_sets(told, spoilt, patients),
    )
    for (low, high), (low_then, high_then) in zip(before, after, strict=True):
        assert (low[one] == low_then[one]).all()
        assert (high[one] == high_then[one]).all()


def test_both_knees_of_a_patient_are_in_one_part() -> None:
    patients = knees(101)[2]
    part = parts_of_patients(patients)
    assert set(part) == set(range(10))
    assert len({(name, int(at)) for name, at in zip(patients, part, strict=True)}) == 51


# --- few knees, and what is refused ----------------------------------------------------------


def test_a_rare_grade_takes_the_threshold_of_all_knees_and_says_so() -> None:
    told, labels, patients = knees(300)
    kept = np.flatnonzero((labels != 4) | (np.cumsum(labels == 4) < FEWEST_OF_A_GRADE))
    sets = fit_grade_sets(told[kept], labels[kept], [patients[at] for at in kept])
    assert sets.pooled == (4,)
    own = median_scores(told[kept])[np.arange(len(kept)), labels[kept]]
    assert sets.at(0.9).thresholds[4] == pytest.approx(conformal_quantile(own, 0.9), abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 39])
def test_too_few_knees_are_refused(count: int) -> None:
    with pytest.raises(InvalidOption, match=f"{count} of .* too few to fit grade sets"):
        fit_grade_sets(*knees(count))


def test_a_level_that_was_not_fitted_is_refused(fitted: GradeSets) -> None:
    with pytest.raises(InvalidOption, match=r"0\.99 is not among .*Choose 0\.8, 0\.9, 0\.95"):
        fitted.sets(knees(2)[0], 0.99)


# --- kept in a card --------------------------------------------------------------------------


def test_sets_survive_json_and_do_not_shrink(fitted: GradeSets) -> None:
    assert GradeSets.model_validate_json(fitted.model_dump_json()) == fitted
    told, labels, _ = knees(4000)
    own = median_scores(told)[np.arange(len(told)), labels]
    for one in fitted.levels:
        exact = [conformal_quantile(own[labels == grade], one.level) for grade in range(5)]
        assert all(kept >= there for kept, there in zip(one.thresholds, exact, strict=True))


def test_thresholds_that_fall_with_the_level_are_refused(fitted: GradeSets) -> None:
    content = fitted.model_dump()
    content["levels"] = content["levels"][::-1]
    with pytest.raises(ValueError, match="a higher level needs higher thresholds"):
        GradeSets.model_validate(content)
