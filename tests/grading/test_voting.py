"""Hard, soft and mix voting as the paper has them; rules with weights find what was put in."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression

from kellgren.grading.combiner import RULES, Combiner, fit_combiner
from kellgren.grading.multinomial import fit_multinomial, shares
from kellgren.grading.voting import (
    fit_stack,
    fit_weights,
    hard_vote,
    logs,
    mix_vote,
    soft_vote,
    stacked_vote,
)
from simulated_votes import Floats, simulated

VOTES = {"hard": hard_vote, "soft": soft_vote, "mix": mix_vote}


def _distributions(counts: npt.NDArray[np.int64]) -> Floats:
    """Sixteenths, so that sums are exact and ties are real."""
    found = np.zeros((*counts.shape[:-1], 5))
    np.put_along_axis(found, counts[..., :1] % 5, 8 / 16, axis=-1)
    for column in (1, 2, 3, 4):
        place = counts[..., column : column + 1] % 5
        np.put_along_axis(found, place, np.take_along_axis(found, place, -1) + 2 / 16, axis=-1)
    return found


panels = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.just(5)),
    elements=st.integers(0, 4),
).map(_distributions)


@settings(deadline=None)
@given(panels)
@pytest.mark.parametrize("rule", VOTES)
def test_the_order_of_the_members_does_not_matter(rule: str, members: Floats) -> None:
    vote = VOTES[rule](members)
    np.testing.assert_allclose(vote.sum(axis=-1), 1)
    for order in list(permutations(range(len(members))))[:24]:
        np.testing.assert_array_equal(VOTES[rule](members[list(order)]), vote)


@given(panels)
@pytest.mark.parametrize("rule", VOTES)
def test_one_member_is_itself(rule: str, members: Floats) -> None:
    alone = VOTES[rule](members[:1])
    np.testing.assert_array_equal(alone.argmax(axis=-1), members[0].argmax(axis=-1))
    twice = VOTES[rule](np.concatenate([members[:1], members[:1]]))
    np.testing.assert_array_equal(twice, alone)
    np.testing.assert_array_equal(soft_vote(members[:1]), members[0])


@given(panels)
def test_votes_are_those_of_a_count_by_hand(members: Floats) -> None:
    hard, mix = hard_vote(members).argmax(-1), mix_vote(members).argmax(-1)
    for knee in range(members.shape[1]):
        votes = [int(p.argmax()) for p in members[:, knee]]
        most = max(votes.count(grade) for grade in range(5))
        first = [grade for grade in range(5) if votes.count(grade) == most]
        mean = members[:, knee].mean(axis=0)
        assert hard[knee] == first[0]
        assert mix[knee] == (first[0] if len(first) == 1 else mean.argmax())


def test_a_tied_vote() -> None:
    three = [0.1, 0.0, 0.2, 0.7, 0.0]
    one = [0.0, 0.4, 0.3, 0.3, 0.0]
    assert hard_vote([three, one]).argmax() == 1  # the lowest of the tied
    assert mix_vote([three, one]).argmax() == soft_vote([three, one]).argmax() == 3
    two, other = [0.0, 0.1, 0.46, 0.0, 0.44], [0.46, 0.1, 0.0, 0.0, 0.44]
    assert mix_vote([two, other]).argmax() == 4  # of all five grades, not of the tied alone


def test_weights_go_to_whoever_is_right() -> None:
    members, truth = simulated(3, 4000)
    weights = fit_weights(members, truth)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > weights[1] > weights[2] >= 0
    chance = np.full_like(members[:1], 0.2)
    assert fit_weights(np.concatenate([members[:1], chance]), truth)[1] < 0.05

    def loss(candidate: Floats) -> float:
        return float(-np.log(soft_vote(members, candidate)[np.arange(len(truth)), truth]).mean())

    grid = [
        np.array([a, b, 1 - a - b])
        for a in np.linspace(0, 1, 21)
        for b in np.linspace(0, 1 - a, 11)
    ]
    assert loss(weights) <= min(loss(candidate) for candidate in grid) + 1e-6


@pytest.mark.parametrize("shrinkage", [1e-3, 0.1])
def test_newton_finds_what_scikit_learn_finds(shrinkage: float) -> None:
    members, truth = simulated(2, 600)
    inputs = np.moveaxis(logs(members), 0, 1).reshape(len(truth), -1)
    oracle = LogisticRegression(C=1 / (len(truth) * shrinkage), solver="newton-cholesky", tol=1e-9)
    oracle.fit(inputs, truth)

    wide = np.einsum("np,gh->ngph", inputs, np.eye(5)).reshape(len(truth), 5, -1)
    design = np.concatenate([wide, np.tile(np.eye(5), (len(truth), 1, 1))], axis=2)
    penalty = np.array([shrinkage] * 50 + [1e-9] * 5)
    found = fit_multinomial(design, truth, np.zeros(55), penalty)

    np.testing.assert_allclose(found[:50].reshape(10, 5).T, oracle.coef_, atol=2e-3)
    np.testing.assert_allclose(shares(design @ found), oracle.predict_proba(inputs), atol=1e-3)


def test_separable_grades_do_not_run_away() -> None:
    truth = np.arange(50) % 5
    members = np.stack([0.9 * np.eye(5)[truth] + 0.02] * 2)
    weights, bias = fit_stack(members, truth)
    assert np.isfinite([*weights, *bias]).all()
    assert (stacked_vote(members, weights, bias).argmax(1) == truth).all()


def test_strong_shrinkage_is_the_geometric_mean() -> None:
    members, truth = simulated(3, 300)
    weights, bias = fit_stack(members, truth, shrinkage=1e6)
    np.testing.assert_allclose(weights, 1 / 3, atol=1e-5)
    np.testing.assert_allclose(bias, 0, atol=1e-5)
    weights, _ = fit_stack(members, truth, shrinkage=1e-4)
    assert weights[0] > weights[1] > weights[2]


# --- combiners -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_combiners_do_not_care_for_the_order_and_hold_their_promise(rule: str) -> None:
    members, truth = simulated(3, 3000)
    combiner = fit_combiner(rule, ["a", "b", "c"], members, truth)  # type: ignore[arg-type]
    turned = fit_combiner(rule, ["c", "a", "b"], members[[2, 0, 1]], truth)  # type: ignore[arg-type]
    found = combiner.combine(members)
    np.testing.assert_allclose(turned.combine(members[[2, 0, 1]]), found, atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(combiner.combine(members[:, 7]), found[7])
    assert found.mean(axis=0) == pytest.approx(np.bincount(truth) / len(truth), abs=0.03)
    assert Combiner.model_validate_json(combiner.model_dump_json()) == combiner
    assert sum(combiner.map_weights) == pytest.approx(1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": (0.5,)},
        {"weights": (1.5, -0.5)},
        {"weights": (0.5, 0.6)},
        {"weights": (float("nan"), 1.0)},
        {"members": ("a", "a")},
        {"rule": "mix"},
        {"bias": (0.0,) * 4},
        {"temperature": 0.0},
    ],
)
def test_a_combiner_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"members": ("a", "b"), "weights": (0.5, 0.5)}
    Combiner.model_validate(right)
    with pytest.raises(ValidationError):
        Combiner.model_validate(right | wrong)


def test_weights_that_all_point_away_leave_the_maps_equal() -> None:
    turned = Combiner(rule="stacked", members=("a", "b"), weights=(-1.0, -2.0))
    assert turned.map_weights == (0.5, 0.5)
    assert Combiner(rule="stacked", members=("a", "b"), weights=(3.0, -2.0)).map_weights == (
        1.0,
        0.0,
    )
