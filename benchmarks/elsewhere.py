"""The grades of another hospital: as delivered, after local calibration, and by order alone.

    python benchmarks/elsewhere.py --frames FRAMES [--table elsewhere.csv.gz] [--model BUNDLE]
    python benchmarks/elsewhere.py --table elsewhere.csv.gz --oof results/oof --data kneeKL299
    python benchmarks/elsewhere.py --table elsewhere.csv.gz --bundle BUNDLE --output STATED

The frames are those of Gornale and Patravali (Mendeley Data V1 2020, doi 10.17632/t9ndx37v5h.1,
CC BY 4.0): one site, two readers. A frame has one grade; of a frame of both knees, each knee is
compared with it. Calibrations are judged on frames that they were not fitted to; intervals are
95 %, over frames. With ``--frames`` they are graded, which takes minutes, and ``--table`` keeps
what each network and the vote said of each joint. With ``--oof`` and ``--data``, knees of the
published set are relabelled by made readers, to see how much of the loss a calibration recovers.
With ``--bundle`` and ``--output``, a copy of a bundle is written whose card has the figures; its
networks are the same to the byte.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kellgren import Ensemble, Side
from kellgren.arrays import Distributions, GradeArray
from kellgren.data.manifest import index
from kellgren.data.matching import Label, match
from kellgren.data.predictions import read_predictions
from kellgren.evaluation.bootstrap import resample_counts
from kellgren.grading.bundle import default_bundle, open_bundle, write_bundle
from kellgren.grading.calibration import cumulative_log_odds
from kellgren.grading.elsewhere import SCORES, Elsewhere, Score
from kellgren.imaging.radiograph import read_radiograph
from kellgren.local_calibration.estimate import LocalEstimate, estimate
from kellgren.local_calibration.learning_curve import learning_curve
from kellgren.local_calibration.local_fit import fit_local, fit_shift
from kellgren.local_calibration.order import expected_grade, order_of, rank_correlation
from kellgren.localisation.film import find_joints
from kellgren.localisation.laterality import side_statements

SHOWN = ("accuracy", "one_off", "qwk", "mae", "log_loss", "ece", "auc_grade2")
REPEATS = 200
HIGH = 0.75
SOURCE = {
    "licence": "CC BY 4.0",
    "credit": "Gornale S. & Patravali P., Digital Knee X-ray Images, Mendeley Data V1 2020, "
    "doi 10.17632/t9ndx37v5h.1",
    "limits": "one site, two readers; each knee is compared with the one grade of its frame",
}
ALL, ONE = "Digital Knee X-ray Images, all frames", "Digital Knee X-ray Images, frames of one knee"


@dataclass(frozen=True)
class Frames:
    """Joints of frames with the frame's grade."""

    probabilities: Distributions  # (N, 5) the vote
    grades: GradeArray  # (N,)
    frames: tuple[str, ...]  # whose joints they are

    def among(self, kept: Sequence[bool]) -> Frames:
        mask = np.array(kept)
        names = tuple(name for name, k in zip(self.frames, kept, strict=True) if k)
        return Frames(self.probabilities[mask], self.grades[mask], names)


def grade_frames(folder: Path, model: Path) -> list[dict[str, object]]:
    """What each network and the vote say of each joint, and why one would be refused."""
    ensemble = Ensemble.open(model, threads=1, pair=False)
    members = ensemble.bundle.card.combiner.members
    rows = []
    with (folder / "frames.csv").open(newline="") as stream:
        listed = list(csv.DictReader(stream))
    for frame in listed:
        radiograph = read_radiograph(folder / frame["file"])
        statements = side_statements(radiograph.header.sides, Side.UNKNOWN, Side.UNKNOWN)
        for number, joint in enumerate(find_joints(radiograph, statements, ensemble.localiser)):
            told = ensemble.panel.examine(joint.crop)
            row: dict[str, object] = {
                "image": frame["file"],
                "view": frame["view"],
                "joint": number + 1,
                "side": joint.crop.side.value,
                "expert1": frame["expert1_grade"],
                "expert2": frame["expert2_grade"],
                "note": joint.refusal or "",
            }
            for name, shares in zip(
                (*members, "vote"), (*told.votes, told.probabilities), strict=True
            ):
                prefix = "" if name == "vote" else f"{name} "
                row |= {f"{prefix}p{grade}": f"{share:.6f}" for grade, share in enumerate(shares)}
            rows.append(row)
    return rows


def write_table(rows: Sequence[dict[str, object]], path: Path) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def read_table(path: Path) -> tuple[Frames, list[bool]]:
    """Joints that no check refuses, and which of them are of frames of one knee."""
    with gzip.open(path, "rt", newline="") as stream:
        every = list(csv.DictReader(stream))
    rows = [row for row in every if not row["note"]]
    print(
        f"{len({row['image'] for row in every})} frames with a joint, {len(every)} joints, "
        f"{len(every) - len(rows)} refused"
    )
    frames = Frames(
        np.array([[float(row[f"p{grade}"]) for grade in range(5)] for row in rows]),
        np.array([int(row["expert1"]) for row in rows]),
        tuple(row["image"] for row in rows),
    )
    return frames, [row["view"] == "one_knee" for row in rows]


def report(title: str, of: Frames) -> Elsewhere:
    """Before and after, the order alone, and 30 frames against none; what a card says of it."""
    made = estimate(of.probabilities, of.grades, of.frames)
    print(f"\n## {title}: {len(of.grades)} knees of {len(set(of.frames))} frames\n")
    print("| | as delivered | calibrated, nested | difference |\n|---|---|---|---|")
    for key in SHOWN:
        before, after = (it.metrics[key] for it in (made.scores_before, made.scores_after))
        print(f"| {key} | {before} | {after} | {made.comparison.metrics[key].difference} |")
    for name, scores in (("delivered", made.scores_before), ("calibrated", made.scores_after)):
        print(f"confusion, {name}: {scores.confusion}")
    told = order_of(of.probabilities, of.grades)
    low, high = _spearman_interval(of)
    print(f"Spearman of labels and expected grade {told:.3f} ({low:.3f} to {high:.3f})")
    print(f"fit on all: {made.fit}")
    high_share(made, of)
    curve = learning_curve(of.probabilities, of.grades, of.frames)
    for point in curve.points:
        print(
            f"{point.knees:.0f} knees: {point.accuracy:.3f} ({point.low:.3f} to {point.high:.3f})"
        )
    print(f"50 more by the curve: {curve.gain_of_more}")
    few(of, 30)
    return of_card(title, made, of)


def of_card(name: str, made: LocalEstimate, of: Frames) -> Elsewhere:
    """The figures as a bundle's card holds them, rounded to four digits."""
    sure = of.probabilities.max(axis=1) >= HIGH
    scores = [
        {
            key: Score(
                value=round(told.metrics[key].value, 4),
                low=round(told.metrics[key].low, 4),
                high=round(told.metrics[key].high, 4),
            )
            for key in SCORES
        }
        for told in (made.scores_before, made.scores_after)
    ]
    return Elsewhere(
        name=name,
        **SOURCE,
        knees=len(of.grades),
        pictures=len(set(of.frames)),
        order=round(order_of(of.probabilities, of.grades), 4),
        delivered=scores[0],
        calibrated=scores[1],
        high=int(sure.sum()),
        high_right=int((of.probabilities.argmax(axis=1) == of.grades)[sure].sum()),
    )


def summary(told: Sequence[Elsewhere]) -> None:
    """All frames beside those of one knee; 95 % intervals over frames."""
    print("\n| | | as delivered | calibrated, nested by frame |\n|---|---|---|---|")
    for one in told:
        for name, delivered, calibrated in one.rows:
            print(f"| {one.words} | {name} | {delivered} | {calibrated} |")


def state(told: Sequence[Elsewhere], bundle: Path, output: Path) -> None:
    """Write a bundle anew whose card has these figures; every other file is the same."""
    given = open_bundle(bundle)
    files = {name: given.path(name) for name in given.card.files}
    write_bundle(given.card.model_copy(update={"elsewhere": tuple(told)}), files, output)


def high_share(made: LocalEstimate, of: Frames) -> None:
    """How often grades of high certainty (0.75 or more) are right."""
    for name, told in (("delivered", of.probabilities), ("calibrated", made.after)):
        sure = told.max(axis=1) >= HIGH
        right = (told.argmax(axis=1) == of.grades)[sure]
        print(f"high certainty, {name}: {sure.sum()} knees, {right.sum()} right")


def few(of: Frames, count: int) -> None:
    """Calibrations by some frames, against none, on the others; repeated."""
    names = np.unique(of.frames)
    gains = []
    for seed in range(REPEATS):
        chosen = np.random.default_rng(seed).permutation(names)[:count]
        mine = np.isin(of.frames, chosen)
        shift = fit_local(of.probabilities[mine], of.grades[mine]).shift
        gains.append(_accuracy_gain(shift.apply, of.probabilities[~mine], of.grades[~mine]))
    low, high = np.quantile(gains, (0.025, 0.975))
    print(
        f"{count} frames against none, {REPEATS} repeats: accuracy {np.mean(gains):+.3f} "
        f"({low:+.3f} to {high:+.3f}), worse in {np.mean(np.array(gains) < 0):.1%}"
    )


def _accuracy_gain(
    change: Callable[[Distributions], Distributions], told: Distributions, truth: GradeArray
) -> float:
    after, before = ((it.argmax(axis=1) == truth).mean() for it in (change(told), told))
    return float(after - before)


def _spearman_interval(of: Frames) -> tuple[float, float]:
    names, position = np.unique(of.frames, return_inverse=True)
    expected = expected_grade(of.probabilities)
    drawn = []
    for counts in resample_counts(len(names), 1000, 42, 1000):
        for row in counts:
            take = np.repeat(np.arange(len(position)), row[position].astype(int))
            drawn.append(rank_correlation(expected[take], of.grades[take].astype(float)))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


@dataclass(frozen=True)
class Published:
    """Held-out knees of the published set."""

    vote: Distributions  # (N, 5)
    other: Distributions  # (N, 5) another network, which has no say in the vote
    labels: GradeArray  # (N,)
    patients: Sequence[str]


def published(oof: Path, data: Path) -> Published:
    known = [
        Label(str(knee.image), knee.patient, int(knee.grade), knee.side)
        for knee in index(data)
        if knee.grade is not None
    ]
    vote = match(read_predictions(oof / "ensemble.csv.gz"), known)
    other = match(read_predictions(oof / "dinov2-308.csv.gz"), known)
    assert vote.probabilities is not None
    assert other.probabilities is not None
    place = {name: at for at, name in enumerate(other.images)}
    among = [place[name] for name in vote.images]
    return Published(vote.probabilities, other.probabilities[among], vote.truth, vote.patients)


def by_rank(knees: Published, move: float) -> GradeArray:
    """Labels of a reader whose thresholds lie elsewhere by ``move`` of a grade.

    A knee's place within its grade is its rank there by another network's expected grade: with half
    a grade, half the knees of each grade change it. Ranks are even however the knees lie, so new
    thresholds run through the middle of each grade.
    """
    severity = expected_grade(knees.other)
    within = np.zeros(len(severity))
    for grade in range(5):
        mine = np.flatnonzero(knees.labels == grade)
        within[mine] = (severity[mine].argsort().argsort() + 0.5) / len(mine) - 0.5
    return np.clip(np.rint(knees.labels + within + move), 0, 4).astype(np.int64)


def by_severity(knees: Published, move: float, seed: int = 0) -> GradeArray:
    """The same of a reader who sees a severity, with the scatter that the published readers show.

    The severity is another network's mean cumulative log-odds, times a slope, and a logistic
    scatter; slope and thresholds make the published labels most likely, and the scatter is drawn
    within the limits that a knee's label leaves. So thresholds that are not moved give the
    published labels, each of them; moved ones lie ``move`` of the way to their neighbours.
    """
    place = cumulative_log_odds(knees.other).mean(axis=1)
    spaced = np.array([-2.0, -0.7, 0.7, 2.0])  # only where the fit starts
    above = _chance(place[:, None] - spaced)
    edge = np.ones((len(above), 1))
    start = np.hstack([edge, above]) - np.hstack([above, 0 * edge])
    shift = fit_shift(start, knees.labels)[0]
    middle = place * (1 / shift.temperature + shift.pull)  # the mean of `spaced` is 0
    thresholds = spaced / shift.temperature + shift.shifts
    ends = np.array([-np.inf, *thresholds, np.inf])
    low, high = _chance(ends[knees.labels] - middle), _chance(ends[knees.labels + 1] - middle)
    drawn = low + (high - low) * np.random.default_rng(seed).random(len(low))
    drawn = np.clip(drawn, 1e-9, 1 - 1e-9)
    severity = middle + np.log(drawn / (1 - drawn))
    widths = np.diff(thresholds)
    steps = [*widths, widths[-1]] if move < 0 else [widths[0], *widths]
    moved = thresholds - move * np.array(steps)
    return np.asarray((severity[:, None] > moved).sum(axis=1), dtype=np.int64)


def _chance(log_odds: Distributions) -> Distributions:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def made_readers(oof: Path, data: Path) -> None:
    """Readers whose thresholds lie half a grade higher or lower, one like ours, one who guesses."""
    knees = published(oof, data)
    for name, move in (("stricter", -0.5), ("laxer", 0.5)):
        for how, made in (("by rank", by_rank), ("by severity", by_severity)):
            recovered(f"{name} by half a grade, made {how}", knees, made(knees, move))
    recovered("the same", knees, knees.labels)
    recovered("guesses", knees, np.random.default_rng(0).permutation(knees.labels))


def recovered(name: str, knees: Published, labels: GradeArray) -> None:
    """What a fit to some knees gains on others: of the loss, and of what a fit to all gains.

    The loss is against the published labels; in both, accuracy first, then log loss. A threshold
    that runs where knees are many costs accuracy that no shift brings back; what a fit to all knees
    gains is what one can.
    """
    told, patients = knees.vote, knees.patients
    everyone = fit_local(told, labels)
    most = _gains(everyone.shift.apply(told), told, labels)
    right, ours = (_scores(told, it) for it in (labels, knees.labels))
    lost = (ours[0] - right[0], right[1] - ours[1])
    print(f"\n## a reader who is {name}: {(labels != knees.labels).mean():.0%} of labels changed")
    print(f"as delivered accuracy {right[0]:.3f}, log loss {right[1]:.3f}; ", end="")
    print(f"with the published labels {ours[0]:.3f}, {ours[1]:.3f}")
    print(f"a fit to all gains accuracy {most[0]:+.3f}, log loss {most[1]:+.3f}: {everyone}")
    free = _gains(free_map(told, labels, patients), told, labels)
    print(f"a free map of all knees, cross-validated: accuracy {free[0]:+.3f}, {free[1]:+.3f}")
    names = np.unique(patients)
    for count in (20, 30, 50, 100, 200):
        gains, used = [], 0
        for seed in range(REPEATS):
            chosen = np.random.default_rng(seed).permutation(names)[: count // 2]
            mine = np.isin(patients, chosen)
            fit = fit_local(told[mine], labels[mine])
            used += fit.verdict == "calibrated"
            gains.append(_gains(fit.shift.apply(told[~mine]), told[~mine], labels[~mine]))
        mean = np.mean(gains, axis=0)
        low, high = np.quantile(np.array(gains)[:, 0], (0.025, 0.975))
        share = ""
        if most[0] > 0:
            share = f", {mean[0] / most[0]:.0%} and {mean[1] / most[1]:.0%} of it"
        if most[0] > 0 and min(lost) > 0.05:
            parts = [f"{gain / loss:.0%}" for gain, loss in zip(mean, lost, strict=True)]
            share += f", {parts[0]} and {parts[1]} of the loss"
        print(
            f"{count} knees: accuracy {mean[0]:+.3f} ({low:+.3f} to {high:+.3f}), log loss "
            f"{mean[1]:+.3f}{share}; changed anything in {used / REPEATS:.0%}"
        )


def free_map(told: Distributions, labels: GradeArray, patients: Sequence[str]) -> Distributions:
    """Multinomial regression of labels on all five log probabilities, in ten parts of patients.

    With 30 numbers and 1 190 knees, what a map that knows of no order and no thresholds reaches.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    logs = np.log(np.maximum(told, 1e-6))
    folds = GroupKFold(10).split(logs, labels, patients)
    made = LogisticRegression(C=1.0, max_iter=2000)
    return np.asarray(cross_val_predict(made, logs, labels, cv=folds, method="predict_proba"))


def _scores(told: Distributions, labels: GradeArray) -> tuple[float, float]:
    """Accuracy, and log loss."""
    chances = np.maximum(told[np.arange(len(labels)), labels], 1e-9)
    return float((told.argmax(axis=1) == labels).mean()), float(-np.log(chances).mean())


def _gains(after: Distributions, before: Distributions, labels: GradeArray) -> tuple[float, float]:
    then, now = _scores(after, labels), _scores(before, labels)
    return then[0] - now[0], now[1] - then[1]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--frames", type=Path)
    words.add_argument("--table", type=Path, default=Path("elsewhere.csv.gz"))
    words.add_argument("--model", type=Path, default=default_bundle(), help="bundle that grades")
    words.add_argument("--oof", type=Path)
    words.add_argument("--data", type=Path)
    words.add_argument("--bundle", type=Path, help="whose card is to have the figures")
    words.add_argument("--output", type=Path, help="new folder for the bundle that has them")
    given = words.parse_args()
    if given.frames is not None:
        write_table(grade_frames(given.frames, given.model), given.table)
    if given.table.is_file():
        frames, one_knee = read_table(given.table)
        told = (report(ALL, frames), report(ONE, frames.among(one_knee)))
        summary(told)
        if given.bundle is not None and given.output is not None:
            state(told, given.bundle, given.output)
    if given.oof is not None and given.data is not None:
        made_readers(given.oof, given.data)


if __name__ == "__main__":
    main()
