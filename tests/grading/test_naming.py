from __future__ import annotations

import math

import numpy as np
import pytest

from kellgren.errors import InvalidOption
from kellgren.grading.bundle import default_bundle, open_bundle
from kellgren.grading.card import Card
from kellgren.grading.judgement import Judge
from kellgren.grading.naming import (
    MOST_UNNAMED,
    HeldOut,
    NamingRule,
    cross_fitted_naming,
    disagreement,
    fit_naming,
)
from kellgren.grading.voting import softmax
from kellgren.training.selection.cards.fitted_card import with_sets
from simulated_grades import Floats, Ints
from simulated_grades import calibrated_knees as knees


def held_out(count: int = 2000, seed: int = 0, noise: float = 0.3) -> HeldOut:
    """Two members that see a knee with noise of their own; what they say is their mean."""
    told, labels, patients = knees(count, seed)
    random = np.random.default_rng(seed + 1)
    votes = softmax(np.log(told + 1e-9) + random.normal(0, noise, (2, count, 5)))
    return HeldOut.of(votes.mean(axis=0), labels, patients, votes)


# --- disagreement ----------------------------------------------------------------------------


def test_members_that_say_the_same_do_not_disagree() -> None:
    one = knees(20)[0]
    assert disagreement(np.stack([one, one, one])) == pytest.approx(np.zeros(20), abs=1e-12)


@pytest.mark.parametrize("members", [2, 3, 5])
def test_members_sure_of_different_grades_disagree_by_the_logarithm_of_their_number(
    members: int,
) -> None:
    assert disagreement(np.eye(5)[:members]) == pytest.approx(math.log(members))


def test_breadth_that_all_share_is_no_disagreement() -> None:
    broad = np.full((2, 5), 0.2)
    apart = np.array([[0.9, 0.1, 0, 0, 0], [0.1, 0.9, 0, 0, 0]])
    assert disagreement(broad) == pytest.approx(0, abs=1e-12)
    assert disagreement(apart) > 0.3


def test_one_member_cannot_disagree() -> None:
    told, labels, patients = knees(50)
    assert HeldOut.of(told, labels, patients, told[None]).disagreement is None
    assert HeldOut.of(told, labels, patients).disagreement is None


# --- the fitted rule -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_few_knees_go_unnamed_and_the_named_are_right_more_often(seed: int) -> None:
    fitted, new = fit_naming(held_out(seed=seed)), held_out(8000, seed + 10)
    lowest, highest = new_sets(seed, new)
    unnamed = fitted.unnamed(new.probabilities.max(axis=1), highest - lowest + 1, new.disagreement)
    assert 0.1 < unnamed.mean() < MOST_UNNAMED + 0.03
    assert new.right[~unnamed].mean() > new.right[unnamed].mean() + 0.04
    measured = fitted.measured
    assert measured.unnamed == pytest.approx(unnamed.mean(), abs=0.04)
    assert measured.right_named == pytest.approx(new.right[~unnamed].mean(), abs=0.04)


def new_sets(seed: int, new: HeldOut) -> tuple[Ints, Ints]:
    from kellgren.grading.grade_sets import fit_grade_sets

    old = held_out(seed=seed)
    sets = fit_grade_sets(old.probabilities, old.labels, old.patients)
    return sets.sets(new.probabilities, 0.9)


def test_a_model_that_is_always_right_names_every_grade_it_can() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 400)
    told: Floats = np.full((400, 5), 0.02) + 0.9 * np.eye(5)[labels]
    rule = fit_naming(HeldOut.of(told, labels, [str(at) for at in range(400)]))
    assert rule.least_probability == 0.0
    assert rule.measured.unnamed == 0.0
    assert rule.measured.right_unnamed is None


def test_no_patient_has_a_part_in_the_own_limits() -> None:
    whole = held_out(400)
    one = np.array(whole.patients) == "p9"
    labels = whole.labels.copy()
    labels[one] = (labels[one] + 1) % 5
    spoilt = HeldOut(whole.probabilities, labels, whole.patients, whole.disagreement)
    assert (cross_fitted_naming(whole)[one] == cross_fitted_naming(spoilt)[one]).all()


def test_every_reason_is_said_and_none_is_invented() -> None:
    rule = fit_naming(held_out())
    assert rule.most_disagreement is not None
    assert rule.doubts(0.99, 1, 0.0) == ()
    said = rule.doubts(0.1, rule.wide, rule.most_disagreement + 0.1, refused=True)
    assert said[0] == f"the 90 % set holds {rule.wide} grades"
    assert "10.0%" in said[1]
    assert said[2].startswith("the members disagree by")
    assert said[3] == "a check refused the picture"
    assert rule.doubts(rule.least_probability, 1, rule.most_disagreement) == ()


def test_the_rule_survives_json() -> None:
    rule = fit_naming(held_out(300))
    assert NamingRule.model_validate_json(rule.model_dump_json()) == rule


# --- what a card makes of it -----------------------------------------------------------------


@pytest.fixture(scope="module")
def card() -> Card:
    return open_bundle(default_bundle()).card


def test_the_default_bundle_keeps_its_promises(card: Card) -> None:
    assert card.grade_sets is not None
    assert card.naming is not None
    ninety = card.grade_sets.at(0.9).measured
    assert 0.88 <= ninety.coverage <= 0.92
    assert min(share for share in ninety.per_grade if share is not None) >= 0.86
    assert ninety.mean_size <= 1.9
    naming = card.naming.measured
    assert naming.unnamed <= 0.2
    assert naming.right_named is not None
    assert naming.right_named >= naming.right + 0.04


def test_a_wide_set_ends_without_a_grade_unless_that_is_asked_for(card: Card) -> None:
    spread = np.array([0.03, 0.18, 0.54, 0.24, 0.01])
    doubted = Judge(card).of(spread, 0.01)
    assert (doubted.named, int(doubted.grade)) == (False, 2)
    assert doubted.doubts == ("the 90 % set holds 3 grades",)
    forced = Judge(card, always_grade=True).of(spread, 0.01)
    assert forced.named
    assert forced.doubts == doubted.doubts
    assert forced.probabilities == tuple(spread)


def test_a_refused_picture_that_was_forced_gets_no_named_grade(card: Card) -> None:
    sure = np.array([0.97, 0.02, 0.01, 0.0, 0.0])
    assert Judge(card).of(sure, 0.0).named
    assert not Judge(card).of(sure, 0.0, refused=True).named


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_set_and_certainty_carry_what_was_measured(card: Card, level: float) -> None:
    assert card.grade_sets is not None
    told = np.array([0.6, 0.3, 0.08, 0.02, 0.0])
    judged = Judge(card, level=level).of(told, 0.0)
    held = judged.grade_set
    assert (held.level, held.coverage) == (level, card.grade_sets.at(level).measured.coverage)
    assert (held.lowest, held.highest) == card.grade_sets.set_of(told, level)
    assert judged.certainty == "moderate"
    assert judged.right_share == card.out_of_fold["certainty"]["moderate"]["accuracy"]


def test_a_level_that_the_card_has_not_is_refused(card: Card) -> None:
    with pytest.raises(InvalidOption, match=r"Choose 0\.8, 0\.9, 0\.95"):
        Judge(card, level=0.85)


def test_a_card_without_sets_gives_the_grades_that_hold_the_probability(card: Card) -> None:
    bare = card.model_copy(update={"grade_sets": None, "naming": None, "out_of_fold": {}})
    judged = Judge(bare).of(np.array([0.5, 0.45, 0.05, 0.0, 0.0]), 5.0, refused=True)
    assert (int(judged.grade_set.lowest), int(judged.grade_set.highest)) == (0, 1)
    assert judged.grade_set.coverage is None
    assert (judged.named, judged.right_share) == (True, None)
    with pytest.raises(InvalidOption, match=r"Choose 0\.5 to 0\.99"):
        Judge(bare, level=0.2)


@pytest.mark.parametrize(("knees", "fitted"), [(0, False), (20, False), (40, False), (60, True)])
def test_too_few_knees_leave_the_card_without_sets(card: Card, knees: int, fitted: bool) -> None:
    bare = card.model_copy(update={"grade_sets": None, "naming": None})
    assert (with_sets(bare, held_out(knees), None).grade_sets is not None) == fitted


def test_knees_read_in_pairs_have_sets_of_their_own(card: Card) -> None:
    alone, paired = held_out(400), held_out(400, noise=0.1)
    both = with_sets(card, alone, paired)
    assert both.grade_sets is not None
    assert both.grade_sets_paired is not None
    told = np.array([0.3, 0.4, 0.2, 0.1, 0.0])
    for pair, sets in ((False, both.grade_sets), (True, both.grade_sets_paired)):
        held = Judge(both).of(told, 0.0, paired=pair).grade_set
        assert (held.lowest, held.highest) == sets.set_of(told)
        assert held.coverage == sets.at(0.9).measured.coverage
