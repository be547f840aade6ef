"""Whether two samples of patients have the same distributions, with a stated rate of false alarms.

Of the grades the statistic is chi-square's, of the other quantities Kolmogorov's and Smirnov's.
Both get their p value from permutations of the patients, which needs no approximation for ties or
few knees, and Holm's correction holds the rate of false alarms over all quantities together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array
from kellgren.grades import GRADE_COUNT
from kellgren.shift.quantities import QUANTITIES, Key
from kellgren.shift.sample import SEED, Sample

PERMUTATIONS = 1999
LEAST_PATIENTS = 50
"""Below it even films that are much darker or blurred are noticed too rarely."""
_CELLS = 2**21  # of an array of permutations at a time

Inside = npt.NDArray[np.bool_]
Statistic = Callable[[Inside], Float64Array]


@dataclass(frozen=True, slots=True)
class Change:
    """One quantity in both samples.

    Attributes:
        key: of the quantity.
        before: in the reference: share of each grade; of other quantities the quartiles, ascending.
        after: the same, now.
        statistic: chi-square of the grades; of others the largest distance of the distributions.
        p_value: share of permutations that are as far apart, 0..1.
        corrected: by Holm, over all quantities that were compared.
        noticed: whether that is at most the rate of false alarms.
    """

    key: Key
    before: tuple[float, ...]
    after: tuple[float, ...]
    statistic: float
    p_value: float
    corrected: float
    noticed: bool


@dataclass(frozen=True, slots=True)
class Shift:
    """What a comparison found.

    Attributes:
        changes: of the quantities that both samples have.
        missing: quantities that one of them lacks.
        patients: now, one knee of each.
        reference: patients of the reference, likewise.
        false_alarms: how often any change is noticed where there is none, at most.
    """

    changes: tuple[Change, ...]
    missing: tuple[Key, ...]
    patients: int
    reference: int
    false_alarms: float

    @property
    def noticed(self) -> tuple[Change, ...]:
        """The quantities that changed."""
        return tuple(change for change in self.changes if change.noticed)


def compare(
    now: Sample,
    reference: Sample,
    *,
    false_alarms: float = 0.05,
    permutations: int = PERMUTATIONS,
    seed: int = SEED,
) -> Shift:
    """Compare each quantity that both samples have.

    Args:
        now: the later sample; its patients are not those of the reference.
        reference: to compare with.
        false_alarms: rate at which changes may be noticed where there are none, over 0, below 1.
        permutations: of each test; the smallest p value is one over one more than these.
        seed: of the permutations.

    Raises:
        ValueError: the samples have no quantity in common, or too few permutations for the rate.
    """
    shared = [
        it.key for it in QUANTITIES if len(now.values[it.key]) and len(reference.values[it.key])
    ]
    if not shared:
        raise ValueError("the samples have no quantity in common")
    if (permutations + 1) * false_alarms < len(QUANTITIES):
        raise ValueError(f"{permutations} permutations cannot tell a rate of {false_alarms}")
    rng = np.random.default_rng(seed)
    ranked = {key: _Ranked.of(key, now.values[key], reference.values[key]) for key in shared}
    found = _tested(list(ranked.values()), permutations, rng)
    corrected = holm([p for _, p in found])
    changes = [
        Change(
            key,
            _summary(key, reference.values[key]),
            _summary(key, now.values[key]),
            *(statistic, p, whole, whole <= false_alarms),
        )
        for key, (statistic, p), whole in zip(shared, found, corrected, strict=True)
    ]
    missing = tuple(it.key for it in QUANTITIES if it.key not in shared)
    return Shift(tuple(changes), missing, now.patients, reference.patients, false_alarms)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number: the rate of any false alarm is that of one test."""
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = least
    return corrected


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """Both samples' values of a quantity, pooled.

    Attributes:
        size: of the pool.
        chosen: how many of it are of now.
        statistic: of masks ``(B, size)`` over the values in ascending order.
        seen: the statistic of the samples as they are.
    """

    size: int
    chosen: int
    statistic: Statistic
    seen: float

    @classmethod
    def of(cls, key: Key, now: Float64Array, reference: Float64Array) -> _Ranked:
        pooled = np.concatenate([now, reference])
        order = np.argsort(pooled, kind="stable")
        kind = _chi_square if key == "grade" else _largest_distance
        statistic = kind(pooled[order], len(now))
        seen = float(statistic((order < len(now))[None])[0])
        return cls(len(pooled), len(now), statistic, seen)


def _tested(
    ranked: Sequence[_Ranked], permutations: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Statistic and p value of each: how many ways to say which knees are of now are as far.

    Quantities of equally many knees share their permutations, which Holm's correction allows.
    """
    as_far = [0] * len(ranked)
    for size, chosen in dict.fromkeys((it.size, it.chosen) for it in ranked):
        for inside in _drawn(size, chosen, permutations, rng):
            for place, it in enumerate(ranked):
                if (it.size, it.chosen) == (size, chosen):
                    as_far[place] += int((it.statistic(inside) >= it.seen - 1e-9).sum())
    return [
        (it.seen, (1 + far) / (1 + permutations)) for it, far in zip(ranked, as_far, strict=True)
    ]


def _drawn(size: int, chosen: int, times: int, rng: np.random.Generator) -> Iterator[Inside]:
    """Subsets of a size as masks ``(B, size)``, until there are as many as asked for."""
    at_once = max(1, _CELLS // size)
    for begin in range(0, times, at_once):
        ranks = rng.random((min(at_once, times - begin), size), dtype=np.float32)
        places = np.argpartition(ranks, chosen - 1, axis=1)[:, :chosen]
        inside = np.zeros(ranks.shape, dtype=bool)
        np.put_along_axis(inside, places, True, axis=1)
        yield inside


def _largest_distance(ascending: Float64Array, chosen: int) -> Statistic:
    """Largest distance of the two empirical distributions: Kolmogorov's and Smirnov's statistic."""
    last = np.append(np.flatnonzero(np.diff(ascending)), len(ascending) - 1)  # of equal values
    until, others = last + 1, len(ascending) - chosen

    def statistic(inside: Inside) -> Float64Array:
        mine = np.cumsum(inside, axis=1, dtype=np.int32)[:, last]
        return np.asarray(
            np.abs(mine / chosen - (until - mine) / max(others, 1)).max(axis=1), dtype=np.float64
        )

    return statistic


def _chi_square(ascending: Float64Array, chosen: int) -> Statistic:
    """Pearson's statistic of the table of grades by sample."""
    grades = ascending.astype(np.int64)
    of_grade = np.eye(GRADE_COUNT)[grades][:, np.bincount(grades, minlength=GRADE_COUNT) > 0]
    totals, share = of_grade.sum(axis=0), chosen / len(grades)

    def statistic(inside: Inside) -> Float64Array:
        apart = (inside @ of_grade - totals * share) ** 2
        return np.asarray((apart / (totals * share * (1 - share))).sum(axis=1), dtype=np.float64)

    return statistic


def _summary(key: Key, values: Float64Array) -> tuple[float, ...]:
    if key == "grade":
        counts = np.bincount(values.astype(np.int64), minlength=GRADE_COUNT)
        return tuple(float(share) for share in counts / len(values))
    return tuple(float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
