"""Every subset of up to twenty members at the vote, counted rather than kept.

The subsets are gone through in blocks that differ in the first few members alone. A block's sums of
votes and of probabilities are made once; another choice among the remaining members, one more or
one less than before, is added to them. Sums are of integers: they do not depend on the order in
which members are added, so that a tie is a tie in every subset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from kellgren.arrays import FloatArray, IntArray
from kellgren.errors import InvalidOption
from kellgren.grades import GRADE_COUNT

FreeRule = Literal["hard", "soft", "mix"]
PAPER_RULES: tuple[FreeRule, ...] = ("hard", "soft", "mix")
MOST_MEMBERS = 20
Counts = npt.NDArray[np.int32]
Number = TypeVar("Number", np.uint8, np.int32)
_CELLS = GRADE_COUNT**2
_SCALE = 10_000_000
"""Steps of a probability. Tables hold six digits; twenty members' sums, times 8, fit 31 bits."""
_RANK = 8
"""A sum times this, and above it what tells a lower grade from a higher one of the same sum."""
_BLOCK_VALUES = 2**15
"""Knees times subsets that are worked on together: their sums fit a processor's cache."""
_LOWER_FIRST = np.arange(GRADE_COUNT - 1, -1, -1)


def check_count(members: int) -> None:
    """Refuse what cannot be gone through.

    Raises:
        InvalidOption: more than `MOST_MEMBERS` members.
    """
    if members > MOST_MEMBERS:
        raise InvalidOption(
            "members",
            f"there are {members}, whose {2**members - 1} subsets are too many to compare",
            f"Name at most {MOST_MEMBERS}",
        )


def grades_of_subset(
    members: FloatArray, chosen: Sequence[int], rule: FreeRule
) -> npt.NDArray[np.int8]:
    """``(N,)`` grades that a subset of members gives by one of the paper's rules.

    Args:
        members: ``(M, N, 5)`` distributions.
        chosen: positions of the subset's members.
        rule: hard, soft or mix.
    """
    votes, shares = _integers(np.asarray(members)[list(chosen)])
    hard, soft = votes.sum(axis=0, dtype=np.int32), shares.sum(axis=0, dtype=np.int32)
    return _graded(_ranked(hard), _ranked(soft), [rule])[rule].astype(np.int8)


def count_all_subsets(
    members: FloatArray,
    truth: npt.NDArray[np.integer],
    group: IntArray,
    rules: Sequence[FreeRule] = PAPER_RULES,
) -> Counts:
    """How often every subset gives each grade to knees of each group and true grade.

    Args:
        members: ``(M, N, 5)`` distributions, M up to `MOST_MEMBERS`.
        truth: ``(N,)`` grades.
        group: ``(N,)`` numbers from 0.
        rules: to count.

    Returns:
        ``(2**M, R, G, 5, 5)``: subset by the bits of its number (bit m: member m takes part; 0
        is nobody), rule, group, true grade, given grade.
    """
    stacked = np.asarray(members)
    check_count(len(stacked))
    groups = int(group.max()) + 1
    counted = np.zeros((2 ** len(stacked), len(rules), groups * _CELLS), np.int32)
    place = group.astype(np.int64) * _CELLS + np.asarray(truth, np.int64) * GRADE_COUNT
    for first, hard, soft in _blocks(stacked):
        rows = len(hard[0])
        own = np.arange(rows)[:, None] * (groups * _CELLS) + place
        for at, graded in enumerate(_graded(hard, soft, rules).values()):
            counts = np.bincount((own + graded).ravel(), minlength=rows * groups * _CELLS)
            counted[first : first + rows, at] = counts.reshape(rows, -1)
    counted[0] = 0
    return counted.reshape(-1, len(rules), groups, GRADE_COUNT, GRADE_COUNT)


def _blocks(
    members: npt.NDArray[np.floating],
) -> Iterator[tuple[int, npt.NDArray[np.uint8], npt.NDArray[np.int32]]]:
    """Number of a block's first subset, and the ranked sums ``(5, S, N)`` of votes and shares."""
    votes, shares = _integers(members)
    count, _, knees = votes.shape
    low = min(count, max(1, (_BLOCK_VALUES // knees).bit_length() - 1))
    votes_low, shares_low = _sums(votes[:low]), _sums(shares[:low])
    hard, soft = np.zeros_like(votes[0]), np.zeros_like(shares[0])
    present = 0
    for step in range(2 ** (count - low)):
        code = step ^ (step >> 1)  # Gray code: one member more or less each time
        if step:
            member = (code ^ present).bit_length() - 1 + low
            sign = 1 if code > present else -1
            hard = hard + votes[member] if sign > 0 else hard - votes[member]
            soft = soft + shares[member] if sign > 0 else soft - shares[member]
            present = code
        ranked = (_ranked(hard)[:, None], _ranked(soft)[:, None])
        yield code << low, votes_low + ranked[0], shares_low + ranked[1]


def _integers(
    members: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Votes and shares ``(M, 5, N)`` of each member, times `_RANK`."""
    by_grade = np.moveaxis(members, 2, 1)
    voted = members.argmax(axis=2)[:, None] == np.arange(GRADE_COUNT)[:, None]
    shares = np.rint(by_grade * float(_SCALE)).astype(np.int32)
    return voted.astype(np.uint8) * np.uint8(_RANK), shares * np.int32(_RANK)


def _sums(parts: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """``(5, 2**L, N)`` of every subset of L members, by its bits."""
    count, grades, knees = parts.shape
    sums = np.zeros((grades, 2**count, knees), parts.dtype)
    for member, part in enumerate(parts):
        half = 2**member
        sums[:, half : 2 * half] = sums[:, :half] + part[:, None]
    return sums


def _ranked(sums: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Sums ``(5, ...)`` in which of two equal grades the lower one is the greater."""
    lower_first = _LOWER_FIRST.astype(sums.dtype).reshape(-1, *[1] * (sums.ndim - 1))
    return np.asarray(sums + lower_first, dtype=sums.dtype)


def _graded(
    hard: npt.NDArray[np.integer], soft: npt.NDArray[np.int32], rules: Sequence[FreeRule]
) -> dict[FreeRule, npt.NDArray[np.uint8]]:
    """By each rule the grade of the greatest sum, from ranked sums ``(5, ...)``."""
    by_votes, by_shares = hard.max(axis=0), _grade_of(soft.max(axis=0))
    graded = {"soft": by_shares, "hard": _grade_of(by_votes)}
    if "mix" in rules:
        level = by_votes & ~hard.dtype.type(_RANK - 1)
        tied = np.zeros(by_votes.shape, np.uint8)
        for sums in hard:
            tied += sums >= level
        graded["mix"] = np.where(tied > 1, by_shares, graded["hard"])
    return {rule: graded[rule] for rule in rules}


def _grade_of(most: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    return np.uint8(GRADE_COUNT - 1) - (most & (_RANK - 1)).astype(np.uint8)
