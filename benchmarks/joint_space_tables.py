"""What measured joint spaces are worth, from the table of `benchmarks/joint_space.py knees`.

    python benchmarks/joint_space_tables.py validity widths.csv [--resamples 2000]
    python benchmarks/joint_space_tables.py stacked widths.csv --members TABLE.csv.gz ...

``validity`` holds the numbers against the graders' labels: the medial minimum from grade to grade,
how well the smaller compartment tells grade 3 and more, rank correlations, and how alike the two
knees of a patient are where both have grade 0. ``stacked`` fits a multinomial model to a stored
table's log-probabilities alone, and to them and the joint space, on other patients each time, and
prints what the joint space adds. All intervals are of 95 %, by drawing patients.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kellgren.evaluation.bootstrap import patient_indices, resample_counts
from kellgren.evaluation.ranking import RankedKnees
from kellgren.grading.multinomial import fit_multinomial, shares

Floats = npt.NDArray[np.float64]
FOLDS = 5
PENALTY = 0.003  # of every parameter of the stacked models
MEASURES = ("accuracy", "QWK", "log likelihood")


class Widths:
    """The columns of the table: numbers with nan where nothing was measured."""

    def __init__(self, path: Path) -> None:
        with path.open(newline="") as table:
            self.rows = list(csv.DictReader(table))
        self.grade = np.array([int(row["grade"]) for row in self.rows])
        self.patient, self.patients = patient_indices(row["patient"] for row in self.rows)

    def __getitem__(self, name: str) -> Floats:
        return np.array([float(row[name] or "nan") for row in self.rows])

    @property
    def smaller(self) -> Floats:
        return np.fmin(self["medial_minimum"], self["lateral_minimum"])


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("what", choices=("validity", "stacked"))
    words.add_argument("table", type=Path)
    words.add_argument("--members", type=Path, nargs="+", default=[])
    words.add_argument("--resamples", type=int, default=2000)
    given = words.parse_args()
    widths = Widths(given.table)
    if given.what == "validity":
        validity(widths, given.resamples)
    for path in given.members:
        stacked(widths, path, given.resamples)


def validity(widths: Widths, resamples: int) -> None:
    drawn = np.concatenate(list(resample_counts(widths.patients, resamples, 0, 500)))
    medial, smaller = widths["medial_minimum"], widths.smaller
    print(f"{len(medial)} knees of {widths.patients} patients")
    for name in ("medial_minimum", "lateral_minimum", "medial_mean", "lateral_mean"):
        print(f"{name}: not measured {np.isnan(widths[name]).mean():.4f}")
    print("\ngrade  knees  medial minimum, of the condylar width   smaller compartment")
    means = [_means(medial, widths, drawn), _means(smaller, widths, drawn)]
    for grade in range(5):
        cells = [f"{mean[grade]:.4f} ({_interval(some[:, grade])})" for mean, some in means]
        print(f"{grade}      {(widths.grade == grade).sum():5}  {cells[0]:<39} {cells[1]}")
    _falls("medial minimum", medial, widths, drawn)
    _falls("smaller compartment", smaller, widths, drawn)
    narrower = np.where(medial <= widths["lateral_minimum"], medial, np.nan)
    _falls("medial minimum where it is the smaller one", narrower, widths, drawn)
    pixels = medial * widths["condyles"]
    _falls("medial minimum in pixels", pixels, widths, drawn)
    _one_patient(widths)
    print()
    for least in (2, 3, 4):
        for name, score in (
            ("smaller compartment", smaller),
            ("smaller compartment in pixels", smaller * widths["condyles"]),
            ("medial", medial),
        ):
            told = np.isfinite(score)
            ranked = RankedKnees.rank(
                widths.grade[told] >= least, -score[told], widths.patient[told]
            )
            once = ranked.areas(np.ones((widths.patients, 1)))[0, 0]
            areas = np.concatenate(
                [ranked.areas(part.T)[:, 0] for part in np.array_split(drawn, len(drawn) // 50 + 1)]
            )
            print(f"AUC for grade {least} or more, {name}: {once:.4f} ({_interval(areas)})")
    for name, score in (("medial", medial), ("smaller compartment", smaller)):
        print(f"Spearman with the grade, {name}: {_spearman(score, widths.grade):+.3f}")
    _symmetry(widths)
    _condyles(widths)
    print(f"processor time: {np.median(widths['milliseconds']):.1f} ms a knee (median)")


def _means(score: Floats, widths: Widths, drawn: Floats) -> tuple[Floats, Floats]:
    """Mean of each grade, of all knees and of every draw of patients."""
    told = np.isfinite(score)
    sums, counts = np.zeros((2, widths.patients, 5))
    np.add.at(sums, (widths.patient[told], widths.grade[told]), score[told])
    np.add.at(counts, (widths.patient[told], widths.grade[told]), 1)
    return sums.sum(axis=0) / counts.sum(axis=0), (drawn @ sums) / (drawn @ counts)


def _falls(name: str, score: Floats, widths: Widths, drawn: Floats) -> None:
    """How much less it is in each next grade."""
    once, some = _means(score, widths, drawn)
    for grade in range(4):
        fall = _interval(some[:, grade] - some[:, grade + 1])
        print(
            f"{name}, grade {grade} less {grade + 1}: {once[grade] - once[grade + 1]:+.4f} ({fall})"
        )


def _condyles(widths: Widths) -> None:
    """How much the condylar widths of a patient's two knees differ, by whether one is in doubt."""
    knees = defaultdict(list)
    for patient, width, doubt in zip(
        widths.patient, widths["condyles"], widths["condylar_uncertainty"], strict=True
    ):
        knees[int(patient)].append((float(width), float(doubt)))
    pairs = np.array([two for two in knees.values() if len(two) == 2])
    off = np.log(pairs[:, 0, 0] / pairs[:, 1, 0])
    doubt = pairs[:, :, 1].max(axis=1)
    for name, some in (("all", doubt > 0), *((f"at most {d:g}", doubt == d) for d in set(doubt))):
        spread = off[some].std() / np.sqrt(2)
        print(
            f"condylar widths of {some.sum()} patients, uncertainty {name}: spread of a knee"
            f" {spread:.4f}, more than 0.05 apart {(np.abs(off[some]) > 0.05).mean():.3f}"
        )


def _one_patient(widths: Widths) -> None:
    """Medial minima of the two knees of patients of whom one has grade 1 and the other grade 2."""
    knees: dict[int, dict[int, float]] = defaultdict(dict)
    for patient, grade, value in zip(
        widths.patient, widths.grade, widths["medial_minimum"], strict=True
    ):
        if np.isfinite(value):
            knees[int(patient)][int(grade)] = value
    off = np.array([one[1] - one[2] for one in knees.values() if one.keys() == {1, 2}])
    if len(off) > 2:
        error = 1.96 * off.std(ddof=1) / np.sqrt(len(off))
        print(
            f"medial minimum, grade 1 less 2 in the knees of {len(off)} patients: "
            f"{off.mean():+.4f} ({off.mean() - error:+.4f} to {off.mean() + error:+.4f})"
        )


def _interval(values: Floats) -> str:
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return f"{low:.4f} to {high:.4f}"


def _spearman(score: Floats, grade: npt.NDArray[np.int64]) -> float:
    told = np.isfinite(score)
    ranks = [_ranks(values[told]) for values in (score, grade.astype(float))]
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: Floats) -> Floats:
    _, at, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[at], dtype=np.float64)


def _symmetry(widths: Widths) -> None:
    """Left against right knees of patients whose knees both have grade 0."""
    for name in ("medial_minimum", "lateral_minimum"):
        sides: dict[int, dict[str, float]] = defaultdict(dict)
        for at, (row, value) in enumerate(zip(widths.rows, widths[name], strict=True)):
            if widths.grade[at] == 0 and np.isfinite(value):
                sides[int(widths.patient[at])][row["side"]] = value
        pairs = np.array([(one["L"], one["R"]) for one in sides.values() if len(one) == 2])
        if len(pairs) < 3:
            continue
        off = pairs[:, 0] - pairs[:, 1]
        print(
            f"{name}, {len(pairs)} pairs of grade 0: left less right {off.mean():+.4f}, limits of"
            f" agreement +-{1.96 * off.std(ddof=1):.4f}, mean {pairs.mean():.4f},"
            f" correlation {np.corrcoef(pairs.T)[0, 1]:.3f}"
        )


def stacked(widths: Widths, path: Path, resamples: int) -> None:
    """What the joint space adds to a stored table, each patient judged by models of the others."""
    with gzip.open(path, "rt", newline="") as table:
        stored = {row["image"]: row for row in csv.DictReader(table)}
    known = np.array([row["image"] in stored for row in widths.rows])
    rows = [stored[row["image"]] for row in widths.rows if row["image"] in stored]
    votes = np.array([[float(row[f"p{grade}"]) for grade in range(5)] for row in rows])
    votes = np.log(np.maximum(votes, 1e-6))
    grade, patient = widths.grade[known], widths.patient[known]
    found = _features(widths)[known]
    order = np.random.default_rng(0).permutation(widths.patients)
    fold = order[patient] % FOLDS
    alone, both = np.empty((2, len(grade), 5))
    for at in range(FOLDS):
        train, test = fold != at, fold == at
        for result, features in ((alone, votes), (both, np.column_stack((votes, found)))):
            scale = features[train].std(axis=0) + 1e-9
            design = _design(votes, (features - features[train].mean(axis=0)) / scale)
            prior = np.zeros(design.shape[2])
            prior[0] = 1.0  # the stored log-probabilities as they are
            penalty = np.full(len(prior), PENALTY)
            fitted = fit_multinomial(design[train], grade[train], prior, penalty)
            result[test] = shares(design[test] @ fitted)
    print(f"\n{path.name}: {len(grade)} knees")
    for name in MEASURES:
        score = _scores(name, grade, patient, widths.patients)
        everyone = np.ones((1, widths.patients))
        drawn = np.concatenate(list(resample_counts(widths.patients, resamples, 1, 500)))
        gains = score(both, drawn) - score(alone, drawn)
        once = score(alone, everyone)[0], score(both, everyone)[0]
        gain = _interval(gains)
        print(
            f"{name:<14} alone {once[0]:.4f}  with {once[1]:.4f}  {once[1] - once[0]:+.4f} ({gain})"
        )


def _features(widths: Widths) -> Floats:
    """Both minima and means, the smaller minimum, the angle; medians where nothing was measured."""
    names = ("medial_minimum", "lateral_minimum", "medial_mean", "lateral_mean")
    columns = [widths[name] for name in names]
    columns += [widths.smaller, np.abs(columns[0] - columns[1]), np.abs(widths["angle"])]
    filled = [np.where(np.isfinite(c), c, np.nanmedian(c)) for c in columns]
    return np.column_stack([*filled, np.minimum(filled[4], 0.02)])


def _design(votes: Floats, features: Floats) -> Floats:
    """``(N, 5, K)``: the stored log-probability, intercept and features of each grade but 0."""
    ones = np.column_stack((np.ones(len(features)), features))
    design = np.zeros((len(votes), 5, 1 + 4 * ones.shape[1]))
    design[:, :, 0] = votes
    for grade in range(1, 5):
        at = 1 + (grade - 1) * ones.shape[1]
        design[:, grade, at : at + ones.shape[1]] = ones
    return design


def _scores(
    name: str, grade: npt.NDArray[np.int64], patient: npt.NDArray[np.int64], patients: int
) -> Callable[[Floats, Floats], Floats]:
    """A measure of probabilities over draws of patients, ``(R, P)`` counts; larger is better."""

    def per_patient(values: Floats) -> Floats:
        sums = np.zeros((patients, *values.shape[1:]))
        np.add.at(sums, patient, values)
        return sums

    def score(probabilities: Floats, drawn: Floats) -> Floats:
        knees = drawn @ per_patient(np.ones(len(grade)))
        given = probabilities.argmax(axis=1)
        if name == "accuracy":
            return np.asarray(drawn @ per_patient((given == grade).astype(float)) / knees)
        if name == "log likelihood":
            own = np.log(np.maximum(probabilities[np.arange(len(grade)), grade], 1e-12))
            return np.asarray(drawn @ per_patient(own) / knees)
        cells = drawn @ per_patient(np.eye(25)[grade * 5 + given])
        counts = cells.reshape(-1, 5, 5)
        away = (np.arange(5)[:, None] - np.arange(5)) ** 2
        expected = counts.sum(axis=2)[:, :, None] * counts.sum(axis=1)[:, None]
        expected /= counts.sum(axis=(1, 2))[:, None, None]
        return np.asarray(1 - (away * counts).sum(axis=(1, 2)) / (away * expected).sum(axis=(1, 2)))

    return score


if __name__ == "__main__":
    main()
