"""The fast count of all subsets against the plain rules, ties among them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from kellgren.errors import InvalidOption
from kellgren.grading.voting import hard_vote, mix_vote, soft_vote
from kellgren.training.selection.subsets import compare_subsets, rounded_accuracy_and_f1
from kellgren.training.selection.votes import (
    MOST_MEMBERS,
    PAPER_RULES,
    count_all_subsets,
    grades_of_subset,
)
from simulated_votes import simulated

VOTES = {"hard": hard_vote, "soft": soft_vote, "mix": mix_vote}


@pytest.mark.parametrize("knees", [7, 6000])
def test_every_subset_is_counted_by_group_and_grade(knees: int) -> None:
    """6000 knees make blocks of four subsets: most members come in by the Gray code."""
    members, truth = simulated(5, knees)
    group = np.arange(knees) // 2 % 3
    counted = count_all_subsets(members, truth, group)
    assert counted.shape == (32, 3, 3, 5, 5)
    assert not counted[0].any()
    for size in range(1, 6):
        for chosen in combinations(range(5), size):
            number = sum(2**member for member in chosen)
            for at, rule in enumerate(PAPER_RULES):
                grades = VOTES[rule](members[list(chosen)]).argmax(axis=1)
                expected = np.zeros((3, 5, 5), int)
                np.add.at(expected, (group, truth, grades), 1)
                np.testing.assert_array_equal(counted[number, at], expected)
                np.testing.assert_array_equal(grades_of_subset(members, chosen, rule), grades)


def test_a_tie_goes_to_the_lower_grade_in_whatever_order_members_are_added() -> None:
    """Sums and hands are counted by hand in the comments."""
    one = [0.2, 0.1, 0.1, 0.3, 0.3]
    two = [0.1, 0.2, 0.5, 0.1, 0.1]
    three = [0.3, 0.3, 0.2, 0.1, 0.1]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        members = np.array([[(one, two, three)[at]] for at in order])
        # sums: 0.6, 0.6, 0.8, 0.5, 0.5
        assert grades_of_subset(members, [0, 1, 2], "soft").tolist() == [2]
        chosen = [order.index(0), order.index(2)]  # sums: 0.5, 0.4, 0.3, 0.4, 0.4
        assert grades_of_subset(members, chosen, "soft").tolist() == [0]
        chosen = [order.index(0), order.index(1)]  # sums: 0.3, 0.3, 0.6, 0.4, 0.4; hands: 3 and 2
        assert grades_of_subset(members, chosen, "hard").tolist() == [2]
        assert grades_of_subset(members, chosen, "mix").tolist() == [2]
    equal = np.array([[[0.1, 0.2, 0.2, 0.3, 0.2]], [[0.2, 0.1, 0.2, 0.0, 0.5]]])
    with_third = np.concatenate([equal, [[[0.3, 0.3, 0.2, 0.1, 0.1]]]])
    # sums 0.6, 0.6, 0.6, 0.4, 0.8; without the first: 0.5, 0.4, 0.4, 0.1, 0.6
    assert grades_of_subset(with_third, [0, 1, 2], "mix").tolist() == [4]


def test_exact_ties_of_many_members_stay_ties() -> None:
    """Ten times 0.1 and 1.0 are no tie in floating-point sums; they are here."""
    members = np.zeros((11, 1, 5))
    members[:10, 0] = [0.1, 0.0, 0.9, 0.0, 0.0]
    members[10, 0] = [0.0, 1.0, 0.0, 0.0, 0.0]
    members[:10, 0, 2] = 0.0  # not a distribution: the sums alone matter
    assert np.add.accumulate(members[:10, 0, 0])[-1] < 1.0
    assert soft_vote(members).argmax() == 1
    assert grades_of_subset(members, range(11), "soft").tolist() == [0]
    counted = count_all_subsets(members, np.array([0]), np.array([0]), ["soft"])
    assert counted[-1, 0, 0, 0].tolist() == [1, 0, 0, 0, 0]


def test_more_members_than_can_be_gone_through_are_refused() -> None:
    members, truth = simulated(MOST_MEMBERS + 1, 4)
    with pytest.raises(InvalidOption, match="there are 21, whose 2097151 subsets"):
        compare_subsets(members, truth, np.zeros(4, int))


def test_the_measure_of_the_paper_is_rounded_accuracy_plus_f1() -> None:
    """One knee in 30 000 does not show in accuracy as they print it; in macro-F1 it does."""
    matrices = np.zeros((2, 5, 5))
    matrices[:, range(5), range(5)] = 5000
    matrices[:, 0, 1] = (5000, 5001)
    first, second = rounded_accuracy_and_f1(matrices)
    assert 25000 / 30000 != 25000 / 30001
    f1 = [np.mean([2 / 3, 2 / 3, 1, 1, 1]), np.mean([2 * 5000 / 15001] * 2 + [1, 1, 1])]
    assert first == pytest.approx(0.8333 + f1[0], abs=1e-12)
    assert second == pytest.approx(0.8333 + f1[1], abs=1e-12)
