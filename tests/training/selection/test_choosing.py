"""Choosing among subsets and rules, and telling what the choice is worth rather than its luck."""

from __future__ import annotations

import time

import numpy as np
import pytest

from kellgren.evaluation import metrics
from kellgren.grades import Side
from kellgren.grading.contralateral import BothKnees, fit_both_knees, other_knees
from kellgren.grading.voting import hard_vote, mix_vote, soft_vote
from kellgren.training.selection.nested import estimate, gain
from kellgren.training.selection.protocols import Network, both_protocols
from kellgren.training.selection.subsets import (
    ALL_RULES,
    MEASURES,
    compare_subsets,
    counted,
    deal,
    subsets,
)
from simulated_votes import Floats, simulated

VOTES = {"hard": hard_vote, "soft": soft_vote, "mix": mix_vote}


def names_of(knees: int) -> list[str]:
    """Two knees a patient."""
    return [f"{number // 2:05}" for number in range(knees)]


def test_every_candidate_is_what_its_rule_says() -> None:
    members, truth = simulated(4, 200)
    look = compare_subsets(members, truth, deal(names_of(200)), tuple(VOTES))
    assert len(look.candidates) == 4 + 3 * 11
    for number, candidate in enumerate(look.candidates):
        voted = VOTES[candidate.rule](members[list(candidate.members)]).argmax(axis=1)
        np.testing.assert_array_equal(look.grades_of(number), voted)
        for name, measure in MEASURES.items():
            if name == "paper":
                right = metrics.accuracy(truth, voted)
                expected = round(right, 4) + metrics.macro_f1(truth, voted)
            else:
                expected = getattr(metrics, name)(truth, voted)
            assert float(measure(look.whole[number])) == pytest.approx(expected, abs=1e-12)


def test_a_group_has_no_say_in_what_grades_it() -> None:
    members, truth = simulated(2, 240)
    group = deal(names_of(240))
    look = compare_subsets(members, truth, group)
    assert {candidate.rule for candidate in look.candidates} == set(ALL_RULES)
    lied = truth.copy()
    lied[group == 2] = (truth[group == 2] + 2) % 5
    other = compare_subsets(members, lied, group)
    np.testing.assert_array_equal(other.without[2], look.without[2])
    for measure in MEASURES:
        np.testing.assert_array_equal(
            other.nested(group, measure)[group == 2], look.nested(group, measure)[group == 2]
        )
    names, pair = ["a", "b"], np.arange(240) ^ 1
    honest = estimate(names, members, truth, names_of(240), pair)
    blind = estimate(names, members, lied, names_of(240), pair)
    for one, two in ((honest.single, blind.single), (honest.paired, blind.paired)):
        np.testing.assert_allclose(one[group == 2], two[group == 2])
        assert not np.allclose(one[group == 1], two[group == 1])


def test_the_best_of_many_coin_tosses_looks_better_than_it_is() -> None:
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(8):
        truth, members = rng.integers(0, 5, 300), rng.dirichlet(np.ones(5), (6, 300))
        group = deal(names_of(300))
        look = compare_subsets(members, truth, group, tuple(VOTES))
        naive = float(MEASURES["accuracy"](look.whole[look.best("accuracy")]))
        gaps.append(naive - metrics.accuracy(truth, look.nested(group, "accuracy")))
    assert np.mean(gaps) > 0.02  # the winner's luck
    assert np.mean(gaps) < 0.1


def test_patients_stay_together_and_their_order_does_not_matter() -> None:
    names = names_of(60)
    group = deal(names)
    assert (group[::2] == group[1::2]).all()
    assert set(np.bincount(group)) == {12}
    turned = deal(names[::-1])[::-1]
    np.testing.assert_array_equal(turned, group)


def test_all_subsets_of_eight_are_looked_through_quickly() -> None:
    members, truth = simulated(8, 6604)
    assert len(subsets(8)) == 255
    group = deal(names_of(6604))
    began = time.process_time()
    look = compare_subsets(members, truth, group, tuple(VOTES))
    look.nested(group, "qwk")
    assert time.process_time() - began < 20


def test_one_member_needs_no_choice() -> None:
    members, truth = simulated(1, 400)
    alone = np.full(400, -1)
    actual = estimate(["only"], members, truth, names_of(400), alone)
    assert actual.combiner.members == ("only",)
    assert actual.combiner.weights == (1.0,)
    assert actual.both_knees is None
    np.testing.assert_array_equal(actual.single, actual.paired)
    assert not any(actual.other_knee_helps(measure) for measure in MEASURES)


def test_choosing_on_the_test_knees_flatters() -> None:
    """Four equal members of two equal folds: whatever the paper's protocol gains is luck."""
    rng = np.random.default_rng(3)
    gains = []
    for _ in range(4):
        truth, test_truth = rng.integers(0, 5, 400), rng.integers(0, 5, 200)

        def members(grades: np.ndarray) -> Floats:
            common = np.eye(5)[grades] + rng.normal(0, 0.7, (len(grades), 5))
            blurred = common + rng.normal(0, 0.4, (4, len(grades), 5))
            return np.asarray(np.exp(blurred) / np.exp(blurred).sum(-1, keepdims=True))

        held_out = counted(truth, truth)
        test = [
            [Network(fold, None, one, held_out) for fold in (0, 1)] for one in members(test_truth)
        ]
        both = both_protocols(members(truth), truth, test, test_truth, "accuracy")
        scores = [metrics.accuracy(test_truth, v.grades) for v in (both.paper, both.honest)]
        assert all(0.4 < score < 0.95 for score in scores)
        assert both.all_folds.picked == (None,) * 4
        np.testing.assert_array_equal(both.all_folds.grades, both.honest.grades)  # equal folds
        gains.append(scores[0] - scores[1])
    assert min(gains) >= 0  # it takes the best on these knees, and the honest choice is among them
    assert max(gains) > 0


# --- both knees ----------------------------------------------------------------------------------


def pairs(knees: int, alike: float, seed: int = 1) -> tuple[Floats, np.ndarray, np.ndarray]:
    """Distributions, true grades, and the position of the other knee."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(rng.integers(0, 5, knees // 2), 2)
    truth = np.where(rng.random(knees) < alike, patient, rng.integers(0, 5, knees))
    seen = np.eye(5)[truth] * 1.5 + rng.normal(0, 1, (knees, 5))
    own = np.exp(seen) / np.exp(seen).sum(axis=1, keepdims=True)
    return own, truth, np.arange(knees) ^ 1


def test_the_other_knee_helps_as_far_as_knees_are_alike() -> None:
    for alike, helps in ((0.8, True), (0.0, False)):
        own, truth, other = pairs(6000, alike)
        learnt = np.arange(6000) < 4000
        model = fit_both_knees(own[learnt], own[other][learnt], truth[learnt])
        actual = model.combine(own[~learnt], own[other][~learnt])
        gain = metrics.accuracy(truth[~learnt], actual.argmax(1)) - metrics.accuracy(
            truth[~learnt], own[~learnt].argmax(1)
        )
        assert (gain > 0.03) == helps
        assert (model.agreement > 1) == helps


def test_an_ignored_other_knee_changes_nothing() -> None:
    own, _, other = pairs(100, 0.5)
    model = BothKnees(sharpness=1.0, agreement=0.0, bias=(0.0,) * 5)
    np.testing.assert_allclose(model.combine(own, own[other]), own, atol=1e-12)


def test_two_knees_belong_together_when_there_are_just_two() -> None:
    patients = ["a", "b", "a", "c", "c", "c", "d", "d", "e", "e"]
    sides = [Side(s) for s in ("L", "L", "R", "L", "R", "L", "L", "L", "R", "")]
    assert other_knees(patients, sides).tolist() == [2, -1, 0, *[-1] * 7]


def test_the_other_knee_has_to_earn_its_place() -> None:
    for alike, earned in ((0.8, True), (0.0, False)):
        own, truth, other = pairs(1000, alike)
        actual = estimate(["m"], own[None], truth, names_of(1000), other, rules=("soft",))
        assert actual.both_knees is not None
        assert actual.other_knee_helps("accuracy") == earned


def test_a_gain_is_the_difference_of_two_scores_with_an_interval() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 500)
    before = np.where(rng.random(500) < 0.6, truth, (truth + 1) % 5)
    after = np.where(rng.random(500) < 0.2, truth, before)
    for name, actual in gain(truth, before, after, names_of(500)).items():
        measure = getattr(metrics, name)
        assert actual.value == pytest.approx(measure(truth, after) - measure(truth, before))
        assert 0 < actual.low < actual.value < actual.high
    nothing = gain(truth, before, before, names_of(500))
    assert nothing["qwk"].low == nothing["qwk"].high == 0
