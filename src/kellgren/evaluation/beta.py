"""Quantiles of the Beta and Student distributions, and Wilson's interval, without SciPy."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)
_TINY = 1e-300
_STEPS = 300


def wilson(share: float, number: float, factor: float = Z) -> tuple[float, float]:
    """Wilson's interval of a share, 0..1, of so many independent knees (above 0, not whole)."""
    room = factor**2 / number
    middle = (share + room / 2) / (1 + room)
    reach = factor / (1 + room) * math.sqrt(share * (1 - share) / number + room / number / 4)
    low = 0.0 if share == 0.0 else max(0.0, middle - reach)
    high = 1.0 if share == 1.0 else min(1.0, middle + reach)
    return low, high


@lru_cache(maxsize=256)
def student_factor(patients: int) -> float:
    """The 97.5 % quantile of Student's distribution for so many patients (at least 2)."""
    freedom = patients - 1
    x = beta_quantile(0.05, freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Where the Beta distribution with a, b > 0 reaches a probability, 0..1.

    By Newton's steps, halved into the bracket where they would leave it.
    """
    low, high, place = 0.0, 1.0, a / (a + b)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(100):
        excess = beta_probability(place, a, b) - probability
        low, high = (low, place) if excess > 0 else (place, high)
        density = math.exp(scale + (a - 1) * math.log(place) + (b - 1) * math.log1p(-place))
        step = place - excess / density if density > 0 else math.nan
        following = step if low < step < high else (low + high) / 2
        if abs(following - place) <= 1e-13 * place:
            return following
        place = following
    return place


def beta_probability(x: float, a: float, b: float) -> float:
    """The Beta distribution's probability up to x, 0..1 (regularised incomplete beta function)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    scale = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    # The continued fraction converges fast on this side of the mean.
    if x < (a + 1) / (a + b + 2):
        return scale * _fraction(x, a, b) / a
    return 1.0 - scale * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    d = 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1))
    c, value = 1.0, d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d)
            c = _nonzero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-12:
            break
    return value


def _nonzero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
