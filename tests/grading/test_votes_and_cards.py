"""Votes that no order changes, the contralateral knee's bounded say, and what a card must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kellgren.grades import Side
from kellgren.grading.bundle import Card, default_bundle, open_bundle
from kellgren.grading.calibration import CERTAINTY_WORDS, certainty, likely_grades
from kellgren.grading.card import MemberCard, Pictures, StorageCheck
from kellgren.grading.combiner import RULES, Combiner
from kellgren.grading.contralateral import BothKnees, fit_both_knees, other_knees
from kellgren.grading.preprocess import levelled
from kellgren.grading.voting import (
    LEAST_SHARE,
    fit_weights,
    hard_vote,
    logs,
    mix_vote,
    soft_vote,
    softmax,
)
from simulated_votes import simulated

Floats = npt.NDArray[np.float64]


def distributions(seed: int, *shape: int) -> Floats:
    return softmax(3 * np.random.default_rng(seed).normal(size=(*shape, 5)))


# --- votes ---------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(0, 999), st.randoms())
@pytest.mark.parametrize("vote", [hard_vote, soft_vote, mix_vote])
def test_no_order_of_members_or_knees_changes_a_vote(
    vote: Callable[[Floats], Floats], members: int, seed: int, chance: Any
) -> None:
    stacked = distributions(seed, members, 4)
    order, knees = list(range(members)), list(range(4))
    chance.shuffle(order)
    chance.shuffle(knees)
    found = vote(stacked)
    np.testing.assert_allclose(found.sum(axis=-1), 1)
    np.testing.assert_allclose(vote(stacked[order][:, knees]), found[knees], atol=1e-12)
    np.testing.assert_allclose(vote(np.concatenate([stacked, stacked])), found, atol=1e-12)


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(0, 999))
def test_a_mixed_vote_is_the_hard_one_but_for_ties(members: int, seed: int) -> None:
    stacked = distributions(seed, members, 6)
    hard, soft, mix = hard_vote(stacked), soft_vote(stacked), mix_vote(stacked)
    for knee in range(6):
        tied = (hard[knee] == hard[knee].max()).sum() > 1
        np.testing.assert_array_equal(mix[knee], soft[knee] if tied else hard[knee])


@settings(max_examples=15)
@given(st.integers(0, 999))
def test_fitted_weights_follow_their_members(seed: int) -> None:
    members, truth = simulated(3, 60, seed)
    weights = fit_weights(members, truth)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(fit_weights(members[[1, 2, 0]], truth), weights[[1, 2, 0]])

    def loss(chosen: Floats) -> float:
        return float(-np.log(soft_vote(members, chosen)[np.arange(60), truth]).mean())

    assert loss(weights) <= min(loss(np.full(3, 1 / 3)), *map(loss, np.eye(3))) + 1e-4


def test_no_logarithm_falls_below_the_least_share() -> None:
    np.testing.assert_allclose(logs(np.array([0.0, 1e-9, 1.0])), np.log([LEAST_SHARE] * 2 + [1]))


@settings(max_examples=40)
@given(
    rule=st.sampled_from(RULES),
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=4),
    temperature=st.floats(0.1, 10),
    bias=st.lists(st.floats(-3, 3), min_size=5, max_size=5),
)
def test_a_combiner_survives_json_to_the_last_bit(
    rule: Any, shares: list[float], temperature: float, bias: list[float]
) -> None:
    combiner = Combiner(
        rule=rule,
        members=tuple(f"m{number}" for number in range(len(shares))),
        weights=tuple(share / sum(shares) for share in shares),
        temperature=temperature,
        bias=tuple(bias),
    )
    again = Combiner.model_validate_json(combiner.model_dump_json())
    members = distributions(1, len(shares), 3)
    assert again == combiner
    np.testing.assert_array_equal(again.combine(members), combiner.combine(members))
    np.testing.assert_allclose(again.combine(members).sum(axis=1), 1)


def test_certain_members_leave_no_number_undefined() -> None:
    members = np.stack([np.eye(5), np.eye(5)])
    for rule in RULES:
        combiner = Combiner(rule=rule, members=("a", "b"), weights=(0.5, 0.5))
        np.testing.assert_allclose(combiner.combine(members), np.eye(5), atol=1e-4)


# --- certainty -----------------------------------------------------------------------------------


@given(st.integers(0, 9999), st.floats(0.05, 0.999))
def test_likely_grades_hold_the_mass_and_nothing_more_probable_is_left(
    seed: int, mass: float
) -> None:
    shares = distributions(seed)
    low, high = likely_grades(shares, mass)
    assert shares[low : high + 1].sum() >= mass
    runs = [shares[at : at + high - low + 1].sum() for at in range(5 - high + low)]
    assert shares[low : high + 1].sum() == pytest.approx(max(runs))
    shorter = [shares[at : at + high - low].sum() for at in range(5 - high + low + 1)]
    assert max(shorter) < mass
    more_low, more_high = likely_grades(shares, (1 + mass) / 2)
    assert more_high - more_low >= high - low
    assert likely_grades(shares[::-1], mass) == (4 - high, 4 - low)


def test_a_word_is_earned_at_its_limit() -> None:
    for word, least in CERTAINTY_WORDS[:-1]:
        rest = (1 - least) / 4
        assert certainty(np.array([least, rest, rest, rest, rest])) == word
        assert certainty(np.array([np.nextafter(least, 0), rest, rest, rest, rest])) != word
    assert certainty(np.full(5, 0.2)) == "low"


# --- the contralateral knee ----------------------------------------------------------------------

BOTH = BothKnees(sharpness=1.0, agreement=1.5, bias=(0.0,) * 5)


@given(st.integers(0, 9999))
def test_the_contralateral_knee_has_a_bounded_say(seed: int) -> None:
    own, other, another = (distributions(seed + at, 3) for at in range(3))
    found, changed = BOTH.combine(own, other), BOTH.combine(own, another)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    odds = np.log(found[:, :, None] / found[:, None]) - np.log(
        changed[:, :, None] / changed[:, None]
    )
    assert np.abs(odds).max() <= 2 * 1.5 + 1e-6
    alike = BOTH.combine(own, np.full((3, 5), 0.2))
    np.testing.assert_allclose(alike, softmax(logs(own)), atol=1e-9)
    ignored = BothKnees(sharpness=1.0, agreement=0.0, bias=(0.0,) * 5)
    np.testing.assert_array_equal(ignored.combine(own, other), ignored.combine(own, another))
    assert BothKnees.model_validate_json(BOTH.model_dump_json()) == BOTH


def test_a_contralateral_knee_that_says_nothing_is_hardly_heard() -> None:
    (own,), truth = simulated(1, 400)
    chance = np.random.default_rng(5).permutation(400)
    deaf, heard = (
        fit_both_knees(own, own[chance], truth),
        fit_both_knees(own, np.eye(5)[truth], truth),
    )
    assert abs(deaf.agreement) < 0.7
    assert heard.agreement > 5
    assert sum(heard.bias) == pytest.approx(0, abs=1e-5)


SIDES = st.sampled_from([Side.LEFT, Side.RIGHT, Side.UNKNOWN])


@given(st.lists(st.tuples(st.sampled_from("abc"), SIDES), max_size=8))
def test_partners_have_each_other_and_the_other_side(knees: list[tuple[str, Side]]) -> None:
    partner = other_knees([patient for patient, _ in knees], [side for _, side in knees])
    for at, (patient, side) in enumerate(knees):
        of_patient = [side.value for name, side in knees if name == patient]
        if sorted(of_patient) == ["L", "R"]:
            assert partner[partner[at]] == at != partner[at]
            assert knees[partner[at]] == (patient, Side.LEFT if side is Side.RIGHT else Side.RIGHT)
        else:
            assert partner[at] == -1


# --- exposure ------------------------------------------------------------------------------------


@given(st.integers(0, 999), st.floats(0.2, 1), st.floats(0, 0.5))
def test_levelling_keeps_the_order_of_grey_values(seed: int, gain: float, offset: float) -> None:
    rng = np.random.default_rng(seed)
    plane = np.clip(offset + gain * rng.beta(2, 3, (20, 20)), 0, 1).astype(np.float32)
    level = levelled(plane)
    assert level.dtype == np.float32
    assert (level.min() >= 0) & (level.max() <= 1)
    order = np.argsort(plane, axis=None)
    assert (np.diff(level.ravel()[order]) >= 0).all()
    assert (level.ravel()[order[0]], level.ravel()[order[-1]]) == (level.min(), level.max())


# --- cards ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def card() -> Card:
    return open_bundle(default_bundle()).card


def test_a_member_says_what_it_learnt_from(card: Card) -> None:
    def words(**changes: object) -> str:
        member = card.members[0].model_dump() | {"knees": 8, "patients": 4} | changes
        return MemberCard.model_validate(member).learnt_from(3)

    assert words(trained_folds=(0, 2)) == "8 knees of 4 patients: folds 0, 2 of 0 to 2"
    assert words(trained_folds=(0, 1, 2)) == "8 knees of 4 patients: all 3 folds"
    assert words(trained_folds=(), knees=None) == "folds none of 0 to 2"


def test_pictures_and_storage_in_words() -> None:
    sizes = {"width": (299, 299), "height": (224, 300)}
    assert Pictures(format="PNG", knees=7, **sizes).words == "7 PNG of 299 x 224 to 300 pixels"
    assert Pictures(format="DICOM", knees=7, width=(1, 2)).words == "7 DICOM"
    check = StorageCheck(knees=40, out_of_fold=False, agreement=0.9949, largest_shift=0.0123)
    assert check.words == (
        "int8: 99.5% of 40 knees of the training data graded as with fp16, "
        "largest shift of a probability 0.012"
    )
    assert "of 40 held-out knees" in check.model_copy(update={"out_of_fold": True}).words


def repeated(content: dict[str, Any]) -> dict[str, Any]:
    return {"members": [*content["members"], content["members"][0]]}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (repeated, "two networks have the same name"),
        (
            lambda content: {"combiner": {"members": ["other"], "weights": [1.0]}},
            "the combiner's members are not the backbones of the networks",
        ),
        (lambda content: {"members": []}, "at least 1 item"),
        (lambda content: {"grades": content["grades"][:4]}, "at least 5 items"),
        (lambda content: {"seal": "0" * 63}, "String should match pattern"),
        (lambda content: {"format": 1, "members": []}, "a card of format 1 must have one member"),
        (lambda content: {"format": 1, "members": [7]}, "a card of format 1 must have one member"),
    ],
)
def test_a_card_that_cannot_be_is_refused(
    card: Card, change: Callable[[dict[str, Any]], dict[str, Any]], problem: str
) -> None:
    content = card.model_dump(mode="json")
    assert Card.model_validate(content) == card
    with pytest.raises(ValidationError, match=problem):
        Card.model_validate(content | change(content))
