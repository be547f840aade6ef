"""Intervals by resampling patients, so that the two knees of a patient always travel together.

Knees of one patient resemble each other. Resampling single knees would pretend to more evidence
than there is and give intervals that are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Float64Array, IntArray
from kellgren.errors import InvalidPredictions

# 1 MB of float64: stays in the processor's cache, and memory does not grow with the resamples.
_BLOCK_VALUES = 2**17


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95% interval; nan stands for what the sample does not define.

    Attributes:
        value: the number.
        low: of its interval; nan without one.
        high: the same.
        reason: why it has no interval, such as ``too few knees of grade 4: 4``; empty where it has
            one, and where the number itself is undefined.
    """

    value: float
    low: float
    high: float
    reason: str = ""

    @classmethod
    def without_interval(cls, value: float, reason: str) -> Estimate:
        """A number that no interval is shown for; an undefined one needs no reason."""
        return cls(value, math.nan, math.nan, "" if math.isnan(value) else reason)

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined"
        if math.isnan(self.low):
            return f"{self.value:.3f} (no interval{self.reason and f': {self.reason}'})"
        return f"{self.value:.3f} (95% CI {self.low:.3f} to {self.high:.3f})"

    def to_dict(self) -> dict[str, float | str | None]:
        """Ready for JSON: ``value``, ``low`` and ``high``, None for what is undefined.

        Where there is a ``reason`` for no interval, that too.
        """
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        known = {name: None if math.isnan(number) else number for name, number in numbers.items()}
        return {**known, "reason": self.reason} if self.reason else {**known}


def reasons(estimates: Iterable[Estimate | None]) -> tuple[str, ...]:
    """Why some of the estimates have no interval, each reason once, in their order."""
    return tuple(dict.fromkeys(it.reason for it in estimates if it is not None and it.reason))


def patient_indices(patients: Iterable[object]) -> tuple[IntArray, int]:
    """Number the patients of N knees by their identifier.

    Returns:
        (N,) index of each knee's patient, 0..P-1, and P. The numbering depends on the set of
        patients alone, so the order of the knees cannot change a bootstrap.

    Raises:
        InvalidPredictions: a patient is empty: unknown patients would count as one person.
    """
    names = [str(patient) for patient in patients]
    nameless = sum(not name for name in names)
    if nameless:
        raise InvalidPredictions(
            "patients",
            f"{nameless} of {len(names)} knees have no patient",
            "Name the patient of every knee; intervals are drawn by patient.",
        )
    unique, indices = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
    return indices.astype(np.int64), len(unique)


def resample(
    statistic: Callable[[Float64Array], Float64Array],
    patient_count: int,
    knees: int,
    *,
    resamples: int,
    seed: int,
) -> Float64Array:
    """Apply a statistic to resamples of patients; the same seed gives the same resamples.

    Args:
        statistic: takes counts (r, P), how often each patient was drawn, and returns (r, ...).
        patient_count: P.
        knees: N, which sets how many resamples are worked on at once.
        resamples: R, how often to draw P patients with replacement.
        seed: of the random generator.

    Returns:
        (R, ...) the statistic of every resample.

    Raises:
        InvalidPredictions: fewer than one resample.
    """
    if resamples < 1:
        raise InvalidPredictions(
            "resamples", f"{resamples} resamples", "Ask for at least 1; 2000 is usual."
        )
    block = samples_at_once(max(patient_count, knees))
    blocks = resample_counts(patient_count, resamples, seed, block)
    return np.concatenate([statistic(counts) for counts in blocks])


def samples_at_once(values: int) -> int:
    """How many samples of so many values to work on together: what fits the cache, at least 1."""
    return max(1, _BLOCK_VALUES // values)


def resample_counts(
    patient_count: int, resamples: int, seed: int, block: int
) -> Iterator[Float64Array]:
    """How often each patient is drawn, as (r, P) blocks of at most ``block`` resamples.

    The draws do not depend on the size of the blocks.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, patient_count, size=(rows, patient_count))
        drawn += np.arange(rows)[:, None] * patient_count
        counts = np.bincount(drawn.ravel(), minlength=rows * patient_count)
        yield counts.reshape(rows, patient_count).astype(np.float64)


@dataclass(frozen=True, slots=True)
class PatientBootstrap:
    """One draw of resamples, applied to whatever has to be estimated.

    Attributes:
        patient_count: P.
        knees: N.
        resamples: R.
        seed: of the draws; the same one gives the same resamples.
    """

    patient_count: int
    knees: int
    resamples: int
    seed: int

    def __call__(self, statistic: Callable[[Float64Array], Float64Array]) -> Float64Array:
        """(1 + R, ...): the statistic of the sample itself, then of every resample."""
        drawn = resample(
            statistic, self.patient_count, self.knees, resamples=self.resamples, seed=self.seed
        )
        return np.concatenate([statistic(np.ones((1, self.patient_count))), drawn])
