"""How often the 95 % intervals of `kellgren evaluate` hold the truth, where both knees are alike.

    python benchmarks/coverage.py [--studies 400] [--patients 650] [--sharpness 1.3]

Studies are drawn from a made-up world whose truth is known: a knee's latent severity is half its
patient's; graders see it through noise, of which half is the patient's too; their probabilities
are those of an ordinal probit model, with a spread too small (sharpness above 1: overconfident).
The truth of a metric is its value on two million knees of the same world. Each row says how many
of the studies' intervals hold it: of each metric, of each grade's own metrics, of the paired
differences of two graders of unlike skill. The last line says how often the permutation test calls
two graders of the same skill different at p <= 0.05.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from kellgren.evaluation import Comparison, Estimate, Grades, Scores, compare, score
from kellgren.evaluation.catalogue import GRADE_METRICS, METRICS

Floats = npt.NDArray[np.float64]
SHARES = (0.40, 0.18, 0.26, 0.13, 0.03)  # of the grades, about as in the OAI
CUTS = np.array([NormalDist().inv_cdf(share) for share in np.cumsum(SHARES[:-1])])
ALIKE = 0.5  # correlation of the two knees, in severity and in the graders' noise
HUGE = 1_000_000  # patients
_phi = np.vectorize(math.erf, otypes=[float])


@dataclass(frozen=True)
class Study:
    """Both knees of some patients, (2 P,) each, and what two graders say of them."""

    truth: npt.NDArray[np.int64]
    patients: npt.NDArray[np.int64]
    graders: tuple[Grades, ...]


def draw(
    rng: np.random.Generator, patients: int, noises: tuple[float, ...], sharpness: float
) -> Study:
    """Draw a study; a grader for every noise, which is the error of its view of the severity."""
    severity = _paired(rng, patients)
    return Study(
        truth=np.searchsorted(CUTS, severity),
        patients=np.arange(2 * patients) // 2,
        graders=tuple(
            _grades(severity + noise * _paired(rng, patients), noise, sharpness) for noise in noises
        ),
    )


def _paired(rng: np.random.Generator, patients: int) -> Floats:
    """(2 P,) standard normal values, those of a patient correlated."""
    shared = np.repeat(rng.normal(size=patients), 2)
    return math.sqrt(ALIKE) * shared + math.sqrt(1 - ALIKE) * rng.normal(size=2 * patients)


def _grades(seen: Floats, noise: float, sharpness: float) -> Grades:
    """What is believed of severity given the view of it, cut into grades."""
    mean, spread = seen / (1 + noise**2), noise / math.sqrt(1 + noise**2) / sharpness
    below = _normal((CUTS - mean[:, None]) / spread)
    edges = np.concatenate([np.zeros((len(seen), 1)), below, np.ones((len(seen), 1))], axis=1)
    probabilities = np.diff(edges, axis=1)
    return Grades(probabilities.argmax(axis=1), probabilities)


def _normal(x: Floats) -> Floats:
    values: Floats = (1 + _phi(x / math.sqrt(2))) / 2
    return values


def estimates(scores: Scores) -> Iterator[tuple[str, Estimate]]:
    """Every interval of a report by its name."""
    for metric in METRICS:
        yield metric.key, getattr(scores, metric.key)
    for row in scores.per_grade:
        for metric in GRADE_METRICS:
            yield f"grade {int(row.grade)} {metric.key}", getattr(row, metric.key)


def differences(comparison: Comparison) -> Iterator[tuple[str, Estimate]]:
    """Every interval of a comparison by its name."""
    for key, result in comparison.metrics.items():
        yield f"difference {key}", result.difference


def scored(study: Study, resamples: int, seed: int) -> Scores:
    grader = study.graders[0]
    return score(
        study.truth,
        grader.predicted,
        grader.probabilities,
        study.patients,
        resamples=resamples,
        seed=seed,
    )


def compared(study: Study, resamples: int, permutations: int, seed: int) -> Comparison:
    return compare(
        study.truth,
        *study.graders,
        study.patients,
        resamples=resamples,
        permutations=permutations,
        seed=seed,
    )


@dataclass
class Tried:
    """Intervals of one metric: how many hold the truth, and how wide they are."""

    held: int = 0
    count: int = 0
    width: float = 0.0

    def add(self, estimate: Estimate, truth: float) -> None:
        """Count one more interval."""
        self.held += estimate.low <= truth <= estimate.high
        self.count += 1
        self.width += estimate.high - estimate.low


def coverage(
    studies: int, patients: int, resamples: int, noises: tuple[float, float], sharpness: float
) -> tuple[dict[str, float], dict[str, Tried]]:
    """The truth of every metric, and what became of its intervals."""
    rng = np.random.default_rng(0)
    world = draw(rng, HUGE, noises, sharpness)
    truth = {name: it.value for name, it in estimates(scored(world, 1, 0))}
    truth |= {name: it.value for name, it in differences(compared(world, 1, 1, 0))}
    tried: dict[str, Tried] = defaultdict(Tried)
    for number in range(studies):
        study = draw(rng, patients, noises, sharpness)
        for name, estimate in estimates(scored(study, resamples, number)):
            tried[name].add(estimate, truth[name])
        for name, estimate in differences(compared(study, resamples, 1, number)):
            tried[name].add(estimate, truth[name])
    return truth, tried


def false_alarms(studies: int, patients: int, noise: float, sharpness: float) -> dict[str, float]:
    """How often graders of one skill are called different, by metric."""
    rng = np.random.default_rng(1)
    alarms: dict[str, int] = defaultdict(int)
    for number in range(studies):
        study = draw(rng, patients, (noise, noise), sharpness)
        for key, result in compared(study, 1, 199, number).metrics.items():
            alarms[key] += result.p_value <= 0.05
    return {key: count / studies for key, count in alarms.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--patients", type=int, default=650)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--sharpness", type=float, default=1.3)
    options = parser.parse_args()
    noises = (0.5, 0.6)
    truth, tried = coverage(
        options.studies, options.patients, options.resamples, noises, options.sharpness
    )
    print(f"{options.studies} studies of {options.patients} patients, both knees")
    print(f"{'':<42} truth   width  coverage")
    for name, it in tried.items():
        print(f"{name:<40} {truth[name]:7.4f} {it.width / it.count:7.4f}  {it.held / it.count:.1%}")
    alarms = false_alarms(options.studies, options.patients, noises[0], options.sharpness)
    print("p <= 0.05 for graders of one skill:")
    for key, share in alarms.items():
        print(f"{key:<40} {share:.1%}")


if __name__ == "__main__":
    main()
