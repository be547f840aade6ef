"""Graders that may leave a grade unnamed: how right the named ones are, what doubt is worth.

The risk-coverage curve orders knees from the surest to the least sure and gives, for each share of
them that is kept, the share of wrong grades among the kept (El-Yaniv and Wiener, JMLR 2010). The
area under it is their mean over all shares: small where doubt and error go together. Knees that
are equally sure have no order: each counts as wrong as they are on average.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array, IntArray, Mask
from kellgren.errors import InvalidPredictions
from kellgren.evaluation.bootstrap import Estimate, PatientBootstrap
from kellgren.evaluation.draws import around, too_few
from kellgren.evaluation.intervals import share
from kellgren.evaluation.knees import GradedKnees


@dataclass(frozen=True, slots=True, eq=False)
class Selective:
    """What naming some of the grades only is worth.

    Attributes:
        unnamed: knees without a named grade.
        knees: all of them.
        named_share: of the knees, with its interval.
        right: share of right grades of all knees, the most probable one where none is named.
        right_named: the same of those with a named grade.
        right_unnamed: the same of the others; nan without any.
        gain: of the named over all.
        area: under the risk-coverage curve by the largest probability; ``None`` without
            probabilities.
        kept: ``(N,)`` shares of knees kept, rising; empty without probabilities.
        wrong: ``(N,)`` share of wrong grades among the kept.
    """

    unnamed: int
    knees: int
    named_share: Estimate
    right: Estimate
    right_named: Estimate
    right_unnamed: Estimate
    gain: Estimate
    area: Estimate | None
    kept: Float64Array
    wrong: Float64Array

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, without the curve's points."""
        estimates = ("named_share", "right", "right_named", "right_unnamed", "gain")
        return {
            "unnamed": self.unnamed,
            "knees": self.knees,
            **{name: getattr(self, name).to_dict() for name in estimates},
            "risk_coverage_area": None if self.area is None else self.area.to_dict(),
        }


def selective(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    probabilities: npt.ArrayLike | None,
    named: Mask,
    patients: Iterable[object],
    *,
    resamples: int = 2000,
    seed: int = 42,
) -> Selective:
    """Score what a grader names and what it leaves open; arguments as in `score`.

    Args:
        truth: (N,) integers 0..4.
        predicted: (N,) integers 0..4, the most probable grade where none is named.
        probabilities: (N, 5), or None.
        named: (N,) whether the grade is named.
        patients: N identifiers.
        resamples: of the patients.
        seed: of the draws.

    Raises:
        InvalidPredictions: an argument is empty, out of range or of another length.
    """
    knees = GradedKnees.checked(truth, predicted, probabilities, patients)
    if len(named) != len(knees.truth):
        raise InvalidPredictions(
            "named", f"{len(named)} marks for {len(knees.truth)} knees", "Give one for each knee."
        )
    bootstrap = PatientBootstrap(knees.patient_count, len(knees.truth), resamples, seed)
    right = knees.truth == knees.predicted
    columns = np.stack([np.ones(len(right)), right, named, right & named], axis=1)
    sums = np.zeros((knees.patient_count, columns.shape[1]))
    np.add.at(sums, knees.patients, columns)
    total, correct, kept, kept_right = bootstrap(lambda counts: counts @ sums).T
    count = knees.patient_count
    gain = _ratio(kept_right, kept) - _ratio(correct, total)
    area, curve = None, (np.zeros(0), np.zeros(0))
    if knees.probabilities is not None:
        area, curve = _risk_coverage(knees, knees.probabilities.max(axis=1), bootstrap)
    return Selective(
        unnamed=int((~named).sum()),
        knees=len(right),
        named_share=share(kept, total, count),
        right=share(correct, total, count),
        right_named=share(kept_right, kept, count),
        right_unnamed=share(correct - kept_right, total - kept, count),
        gain=around(
            gain, count, too_few(kept[0], "named") or too_few(total[0] - kept[0], "not named")
        ),
        area=area,
        kept=curve[0],
        wrong=curve[1],
    )


def _risk_coverage(
    knees: GradedKnees, sureness: Float64Array, bootstrap: PatientBootstrap
) -> tuple[Estimate, tuple[Float64Array, Float64Array]]:
    """The area under the curve, and the curve: shares of knees kept, and of these graded wrong."""
    # Ties lie in the order of their patients, so that sums do not depend on that of the knees.
    order = np.lexsort((knees.patients, -sureness))
    wrong = (knees.truth != knees.predicted)[order].astype(np.float64)
    whose = knees.patients[order]
    _, ties = np.unique(-sureness[order], return_inverse=True)
    found = around(
        bootstrap(lambda counts: _area(counts[:, whose], wrong, ties)),
        knees.patient_count,
        too_few(len(wrong)),
    )
    low, high = np.clip([found.low, found.high], 0.0, 1.0)  # nan stays
    area = Estimate(found.value, float(low), float(high), found.reason)
    kept, risk = _risks(np.ones((1, len(wrong))), wrong, ties)
    return area, (kept[0] / len(wrong), risk[0])


@dataclass(frozen=True, slots=True)
class BandScore:
    """How often the grade is right among the knees that bear one word for their certainty."""

    word: str
    knees: int
    accuracy: Estimate  # nan without such knees

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {"word": self.word, "knees": self.knees, "accuracy": self.accuracy.to_dict()}


def score_words(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    words: Sequence[str],
    patients: Iterable[object],
    *,
    resamples: int = 2000,
    seed: int = 42,
) -> tuple[BandScore, ...]:
    """Accuracy among the knees of each word, in the words' first order; arguments as in `score`.

    Args:
        truth: (N,) integers 0..4.
        predicted: (N,) integers 0..4.
        words: N words, one a knee.
        patients: N identifiers.
        resamples: of the patients.
        seed: of the draws.

    Raises:
        InvalidPredictions: an argument is empty, out of range or of another length.
    """
    knees = GradedKnees.checked(truth, predicted, None, patients)
    if len(words) != len(knees.truth):
        raise InvalidPredictions(
            "words", f"{len(words)} words for {len(knees.truth)} knees", "Give one for each knee."
        )
    bootstrap = PatientBootstrap(knees.patient_count, len(knees.truth), resamples, seed)
    kinds = list(dict.fromkeys(words))
    word_index = np.array([kinds.index(word) for word in words])
    correct = knees.truth == knees.predicted
    sums = np.zeros((knees.patient_count, len(kinds), 2))
    np.add.at(
        sums, (knees.patients, word_index), np.stack([np.ones(len(word_index)), correct], axis=1)
    )
    drawn = bootstrap(lambda counts: np.einsum("rp,pkc->rkc", counts, sums, optimize=True))
    return tuple(
        BandScore(word, int(in_it[0]), share(right, in_it, knees.patient_count))
        for word, (in_it, right) in zip(kinds, np.moveaxis(drawn, 0, 2), strict=True)
    )


def _ratio(part: Float64Array, whole: Float64Array) -> Float64Array:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def _area(weights: Float64Array, wrong: Float64Array, ties: IntArray) -> Float64Array:
    """``(r,)`` areas of resamples whose knees, the surest first, occur ``(r, N)`` times."""
    kept, risk = _risks(weights, wrong, ties)
    return np.asarray((risk * weights).sum(axis=1) / kept[:, -1])


def _risks(
    weights: Float64Array, wrong: Float64Array, ties: IntArray
) -> tuple[Float64Array, Float64Array]:
    """``(r, N)`` knees kept down to each, and the share of wrong grades among them.

    Args:
        weights: ``(r, N)`` how often each knee occurs, the surest first.
        wrong: ``(N,)`` 1 where the grade is wrong.
        ties: ``(N,)`` which knees are equally sure: 0, 1, ... from the surest on.
    """
    first = np.searchsorted(ties, np.arange(ties[-1] + 1))
    among = np.add.reduceat(weights, first, axis=1)
    errors = _ratio(np.add.reduceat(weights * wrong, first, axis=1), among)[:, ties]
    kept = np.cumsum(weights, axis=1)
    return kept, _ratio(np.cumsum(weights * errors, axis=1), kept)
