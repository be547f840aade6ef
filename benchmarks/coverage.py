"""How often the 95 % intervals of `kellgren evaluate` hold the truth, at 60 and at 300 patients.

    python benchmarks/coverage.py [--patients 60 300] [--studies 400] [--resamples 400]
                                  [--swapped 400]

Studies are drawn from a world that resembles the OAI and whose truth is known: patients with both
knees, their labels and two graders' out-of-fold probabilities as they lie in `results/oof`, drawn
with replacement; the logarithm of every probability moves a little by chance, so that no two knees
are the same. The truth of a metric is its value on 400 000 knees of that world. Each row says
how many of the intervals that are shown hold it, with the standard error of that share, and in how
many of the studies one is shown: of each metric, of each grade's own metrics, of the bins of the
reliability diagram, of the words for certainty, of what naming grades from a probability of 0.5 on
is worth, of the paired differences of the two graders; < and > mark what lies below 93 and above
97 %, once within two standard errors, twice beyond. Rows without any interval are left out. A mean
over grades is held against the mean over the grades that occur in the study, as it is reported. The
last lines say how often the permutation test calls two graders different at p <= 0.05 where a coin
decides for each patient which of them is which, in `--swapped` studies.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kellgren.evaluation import (
    Comparison,
    Estimate,
    Grades,
    Scores,
    compare,
    score,
    score_words,
    selective,
)
from kellgren.evaluation.catalogue import GRADE_METRICS, METRICS
from kellgren.grades import Grade
from kellgren.grading.calibration import certainty

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
ROOT = Path(__file__).parents[1]
TABLES = ("ensemble", "lite2-256")  # of results/oof: the graders
LABELS = ROOT / "src" / "kellgren" / "published" / "chen2018.csv.gz"
JITTER = 0.3  # standard deviation of the logarithms of probabilities, half of it shared
HUGE = 200_000  # patients
SURE = 0.5  # largest probability from which a grade counts as named
NAMING = ("named_share", "right_named", "right_unnamed", "gain", "area")
OF_GRADES = {"macro_f1": "f1", "balanced_accuracy": "recall"}


@dataclass(frozen=True)
class Study:
    """Both knees of some patients, (2 P,) each, and what two graders say of them."""

    truth: Integers
    patients: Integers
    graders: tuple[Grades, ...]  # two


@dataclass(frozen=True)
class World:
    """Real patients from whom studies are drawn: (P, 2) labels, (graders, P, 2, 5) logarithms."""

    labels: Integers
    logarithms: Floats

    @classmethod
    def read(cls) -> World:
        """Of the tables in the repository."""
        with gzip.open(LABELS, "rt") as stream:
            label = {(r["patient"], r["side"]): int(r["grade"]) for r in csv.DictReader(stream)}
        tables = [_probabilities(name) for name in TABLES]
        both = set.intersection(*(set(table) for table in tables))
        patients = sorted({p for p, _ in both if (p, "L") in both and (p, "R") in both})
        knees = [[(patient, side) for side in "LR"] for patient in patients]
        return cls(
            np.array([[label[knee] for knee in pair] for pair in knees]),
            np.log([[[table[knee] for knee in pair] for pair in knees] for table in tables]),
        )

    def draw(self, rng: np.random.Generator, patients: int) -> Study:
        """Draw a study of so many patients."""
        drawn = rng.integers(0, len(self.labels), patients)
        shape = (2 * patients, len(Grade))
        logs = self.logarithms[:, drawn].reshape(len(self.logarithms), *shape)
        shared = rng.normal(size=shape)
        return Study(
            self.labels[drawn].ravel(),
            np.arange(2 * patients) // 2,
            tuple(
                _grades(own + JITTER * math.sqrt(0.5) * (shared + rng.normal(size=shape)))
                for own in logs
            ),
        )


def _probabilities(name: str) -> dict[tuple[str, str], list[float]]:
    """By patient and side, of a table whose files are named after both."""
    with gzip.open(ROOT / "results" / "oof" / f"{name}.csv.gz", "rt") as stream:
        return {
            (row["image"][:7], row["image"][7]): [
                max(1e-6, float(row[f"p{int(g)}"])) for g in Grade
            ]
            for row in csv.DictReader(stream)
        }


def _grades(logarithms: Floats) -> Grades:
    probabilities = np.exp(logarithms)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Grades(probabilities.argmax(axis=1), probabilities)


def estimates(scores: Scores) -> Iterator[tuple[str, Estimate]]:
    """Every interval of a report by its name."""
    for metric in METRICS:
        yield metric.key, getattr(scores, metric.key)
    for row in scores.per_grade:
        for metric in GRADE_METRICS:
            yield f"grade {int(row.grade)} {metric.key}", getattr(row, metric.key)
    for offset, share in enumerate(scores.errors, 1 - len(Grade)):
        yield f"error {offset:+d}", share
    for filled in scores.reliability:
        yield f"right from {filled.low:.2f} to {filled.high:.2f}", filled.accuracy


def differences(comparison: Comparison) -> Iterator[tuple[str, Estimate]]:
    """Every interval of a comparison by its name."""
    for key, result in comparison.metrics.items():
        yield f"difference {key}", result.difference
    for key, row in comparison.per_grade.items():
        for grade, result in zip(Grade, row, strict=True):
            yield f"difference grade {int(grade)} {key}", result.difference


def doubts(study: Study, resamples: int, seed: int) -> Iterator[tuple[str, Estimate]]:
    """Every interval of the certainty words and of naming the surer grades only, by its name."""
    predicted, probabilities = study.graders[0].predicted, study.graders[0].probabilities
    shares = np.asarray(probabilities)
    words = [certainty(row) for row in shares]
    for band in score_words(
        study.truth, predicted, words, study.patients, resamples=resamples, seed=seed
    ):
        yield f"right where certainty is {band.word}", band.accuracy
    named = shares.max(axis=1) >= SURE
    found = selective(
        study.truth, predicted, shares, named, study.patients, resamples=resamples, seed=seed
    )
    for name in NAMING:
        yield f"naming {name}", getattr(found, name)


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
        study.graders[0],
        study.graders[1],
        study.patients,
        resamples=resamples,
        permutations=permutations,
        seed=seed,
    )


def truth_of(world: World) -> dict[str, float]:
    """Every metric's value, by the name of its interval."""
    study = world.draw(np.random.default_rng(0), HUGE)
    truth = {name: it.value for name, it in estimates(scored(study, 1, 0))}
    truth |= {name: it.value for name, it in doubts(study, 1, 0)}
    return truth | {name: it.value for name, it in differences(compared(study, 1, 1, 0))}


def truth_for(scores: Scores, truth: dict[str, float]) -> dict[str, float]:
    """The truth, with means over grades taken over those that occur among the scored knees."""
    left_out = {"macro_f1": scores.absent, "balanced_accuracy": scores.without_knees}
    means = {
        f"{kind}{key}": float(
            np.mean(
                [
                    truth[f"{kind}grade {int(grade)} {part}"]
                    for grade in Grade
                    if grade not in left_out[key]
                ]
            )
        )
        for key, part in OF_GRADES.items()
        for kind in ("", "difference ")
    }
    return truth | means


@dataclass
class Tried:
    """Intervals of one metric: how many hold the truth, and how wide they are."""

    held: int = 0
    count: int = 0
    width: float = 0.0

    def add(self, estimate: Estimate, truth: float) -> None:
        """Count one more interval; what has none in this study is left out."""
        if not math.isnan(estimate.low):
            self.held += estimate.low <= truth <= estimate.high
            self.count += 1
            self.width += estimate.high - estimate.low

    def __str__(self) -> str:
        if not self.count:
            return f"{'-':>32}"
        share = self.held / self.count
        # Of a share that is surely not 1, where all intervals held the truth.
        error = math.sqrt(max(share * (1 - share), 1 / self.count) / self.count)
        far = abs(share - 0.95) - 0.02
        mark = ("<" if share < 0.95 else ">") * ((far > 0) + (far > 2 * error))
        return f"{share:9.1%} {mark:<2} {error:4.1%} {self.count:6} ({self.width / self.count:.3f})"


def coverage(
    world: World, truth: dict[str, float], studies: int, patients: int, resamples: int
) -> dict[str, Tried]:
    """What became of the intervals of every metric."""
    rng = np.random.default_rng(patients)
    tried: dict[str, Tried] = defaultdict(Tried)
    for number in range(studies):
        study = world.draw(rng, patients)
        scores = scored(study, resamples, number)
        own = truth_for(scores, truth)
        for name, estimate in estimates(scores):
            tried[name].add(estimate, own[name])
        others = differences(compared(study, resamples, 1, number))
        for name, estimate in (*doubts(study, resamples, number), *others):
            tried[name].add(estimate, own[name])
    return tried


def false_alarms(world: World, studies: int, patients: int) -> dict[str, float]:
    """How often graders that a coin tells apart are called different, by metric."""
    rng = np.random.default_rng(1)
    alarms: dict[str, int] = defaultdict(int)
    for number in range(studies):
        study = world.draw(rng, patients)
        swapped = np.repeat(rng.random(patients) < 0.5, 2)[:, None]
        this, other = (np.asarray(it.probabilities) for it in study.graders)
        mixed = (np.where(swapped, other, this), np.where(swapped, this, other))
        study = replace(study, graders=tuple(Grades(it.argmax(axis=1), it) for it in mixed))
        for key, result in compared(study, 1, 199, number).metrics.items():
            alarms[key] += result.p_value <= 0.05
    return {key: count / studies for key, count in alarms.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--patients", type=int, nargs="+", default=[60, 300])
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--swapped", type=int, default=400)
    options = parser.parse_args()
    world = World.read()
    truth = truth_of(world)
    tried = {
        patients: coverage(world, truth, options.studies, patients, options.resamples)
        for patients in options.patients
    }
    sizes = "".join(f"{patients:>23} patients" for patients in options.patients)
    print(f"{options.studies} studies; coverage, its standard error, intervals (mean width)")
    print(f"{'':<40}   truth{sizes}")
    for name, value in truth.items():
        found = [tried[patients][name] for patients in options.patients]
        if any(it.count for it in found):
            print(f"{name:<40} {value:7.4f}{''.join(map(str, found))}")
    if not options.swapped:
        return
    alarms = false_alarms(world, options.swapped, options.patients[0])
    print("p <= 0.05 for graders of one skill:")
    for key, share in alarms.items():
        print(f"{key:<40} {share:.1%}")


if __name__ == "__main__":
    main()
