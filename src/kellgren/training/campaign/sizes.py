"""Which input size suits a member: the smallest that is as good as the best, within its error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kellgren.training.campaign.plan import finished_jobs
from kellgren.training.campaign.survey import history_of, scores_of

# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom; the last one serves for more.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class SizeScore:
    """How good a member is at one size.

    Attributes:
        size: pixels.
        folds: how many it was measured on.
        mean: of the folds' out-of-fold QWK.
        standard_error: of that mean; nan for a single fold, whose spread nobody knows.
        low: of the mean's 95 % interval (Student's t over the folds); nan likewise.
        high: likewise.
    """

    size: int
    folds: int
    mean: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class SizeChoice:
    """The sizes of a member compared.

    Attributes:
        scores: smallest size first.
        best: size of the highest mean; of equal ones the smallest.
        chosen: the smallest size whose mean is within one standard error of the best's mean.
    """

    scores: tuple[SizeScore, ...]
    best: int
    chosen: int


def choose_size(scores: Mapping[int, Sequence[float]]) -> SizeChoice:
    """Compare sizes by their scores on the same folds; higher is better.

    The standard error is the best size's: standard deviation over the folds, by the root of their
    number. A single fold has none, so that the best size itself is chosen. A size with a score
    that is not a number (a run that gave every knee one grade) is neither best nor chosen.

    Args:
        scores: of each fold, for each size; every size with as many.

    Raises:
        ValueError: no size has scores that are numbers, or the sizes have different numbers of
            folds.
    """
    if len({len(folds) for folds in scores.values()}) > 1:
        raise ValueError("every size needs scores on the same folds")
    measured = tuple(_size_score(size, scores[size]) for size in sorted(scores))
    numbers = [score for score in measured if not math.isnan(score.mean)]
    if not numbers:
        raise ValueError("no size has scores that are numbers")
    best = max(numbers, key=lambda score: (score.mean, -score.size))
    slack = 0.0 if math.isnan(best.standard_error) else best.standard_error
    chosen = min(score.size for score in numbers if score.mean >= best.mean - slack)
    return SizeChoice(measured, best.size, chosen)


def _size_score(size: int, folds: Sequence[float]) -> SizeScore:
    mean = statistics.fmean(folds) if folds else math.nan
    if len(folds) < 2 or math.isnan(mean):
        return SizeScore(size, len(folds), mean, math.nan, math.nan, math.nan)
    error = statistics.stdev(folds) / math.sqrt(len(folds))
    reach = _T[min(len(folds) - 1, len(_T)) - 1] * error
    return SizeScore(size, len(folds), mean, error, mean - reach, mean + reach)


@dataclass(frozen=True)
class MemberSizes:
    """A member's sizes, and what they cost.

    Attributes:
        member: its name.
        folds: those that every one of the sizes has finished; the scores are of these alone.
        choice: ``None`` where the sizes have no finished fold in common.
        minutes: of an epoch at each size, mean; what a size costs.
    """

    member: str
    folds: tuple[int, ...]
    choice: SizeChoice | None
    minutes: dict[int, float]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; what is undefined is null."""
        rows = self.choice.scores if self.choice else ()
        return {
            "member": self.member,
            "folds": list(self.folds),
            "best": self.choice.best if self.choice else None,
            "chosen": self.choice.chosen if self.choice else None,
            "sizes": [
                {
                    "size": row.size,
                    "qwk": {k: _number(v) for k, v in _interval(row).items()},
                    "standard_error": _number(row.standard_error),
                    "minutes_an_epoch": _number(self.minutes.get(row.size, math.nan)),
                }
                for row in rows
            ],
        }


def _interval(row: SizeScore) -> dict[str, float]:
    return {"value": row.mean, "low": row.low, "high": row.high}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def compare_sizes(folder: Path) -> list[MemberSizes]:
    """Compare the sizes of each member by their finished jobs, in the plan's order.

    Raises:
        TrainingError: the folder holds no readable plan.
    """
    scores: dict[str, dict[int, dict[int, float]]] = {}
    minutes: dict[str, dict[int, list[float]]] = {}
    for job in finished_jobs(folder):
        if job.fold is None:  # a final has nothing that it was scored on
            continue
        history = history_of(job)
        qwk = scores_of(job, history)["qwk"]
        by_size = scores.setdefault(job.member, {}).setdefault(job.size, {})
        by_size[job.fold] = math.nan if qwk is None else qwk
        spent = minutes.setdefault(job.member, {}).setdefault(job.size, [])
        spent += [record["minutes"] for record in history if record.get("size") == job.size]
    return [_compared(member, sizes, minutes[member]) for member, sizes in scores.items()]


def _compared(
    member: str, sizes: Mapping[int, Mapping[int, float]], minutes: Mapping[int, Sequence[float]]
) -> MemberSizes:
    common = sorted(set.intersection(*(set(folds) for folds in sizes.values())))
    choice = None
    numbers = {size: [folds[fold] for fold in common] for size, folds in sizes.items()}
    if any(not math.isnan(sum(folds)) for folds in numbers.values()) and common:
        choice = choose_size(numbers)
    means = {size: statistics.fmean(spent) for size, spent in minutes.items() if spent}
    return MemberSizes(member, tuple(common), choice, means)
