"""Whether the maps matter to the grades: deletion and insertion on some knees of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Float64Array, IntArray
from kellgren.data.matching import Label
from kellgren.ensemble import Ensemble
from kellgren.evaluation import Estimate, MatchedKnees
from kellgren.evaluation.bootstrap import PatientBootstrap, patient_indices
from kellgren.evaluation.draws import around, too_few
from kellgren.evaluation_report.worst import read_label
from kellgren.explanation.faithfulness import Curves, faithfulness

STEPS = 4
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, eq=False)
class MapTest:
    """The probabilities of the grades while pixels are removed and brought back.

    Attributes:
        knees: curves, a knee each.
        gain: over a random map, mean of the knees, with its interval over their patients from 20
            knees on.
    """

    knees: tuple[Curves, ...]
    gain: Estimate

    @property
    def better(self) -> int:
        """Knees whose map is better than the random one."""
        return sum(knee.gain > 0 for knee in self.knees)

    def mean(self, curve: str) -> Float64Array:
        """``(S + 1,)`` the mean of one of the curves, by its name in `Curves`."""
        mean: Float64Array = np.mean([getattr(knee, curve) for knee in self.knees], axis=0)
        return mean

    def area(self, curve: str) -> float:
        """Under one of the curves, mean of the knees."""
        return float(np.mean([knee.area(getattr(knee, curve)) for knee in self.knees]))


def map_test(
    matched: MatchedKnees,
    labels: Sequence[Label],
    ensemble: Ensemble,
    *,
    most: int,
    seed: int = 42,
    one_done: Callable[[], None] = lambda: None,
) -> MapTest | None:
    """Deletion and insertion tests of the maps of some knees.

    Args:
        matched: knees with label and grade.
        labels: those that they were matched to; pictures lie at the labels' paths.
        ensemble: reads the knees and draws the maps.
        most: how many knees; every predicted grade has its turn, chance picks among its knees.
        seed: of that choice, the random maps and the interval.
        one_done: is called after each knee.

    Returns:
        None where no knee's picture can be read.
    """
    tested: list[Curves] = []
    patients: list[str] = []
    for knee in in_turns(matched.predicted, np.random.default_rng(seed)):
        if len(tested) == most:
            break
        reading = read_label(labels[int(matched.labels[knee])], ensemble)
        if isinstance(reading, str):
            continue
        tested.append(
            faithfulness(
                lambda crop: ensemble.panel.examine(crop).probabilities,
                reading.crop,
                reading.maps[int(np.argmax(reading.alone))],
                steps=STEPS,
                seed=seed + len(tested),
            )
        )
        patients.append(matched.patients[knee])
        one_done()
    if not tested:
        return None
    return MapTest(tuple(tested), _mean_gain(np.array([it.gain for it in tested]), patients, seed))


def in_turns(predicted: IntArray, rng: np.random.Generator) -> Iterator[int]:
    """All knees, each predicted grade in its turn, in an order of chance within a grade."""
    shuffled = rng.permutation(len(predicted))
    grades = predicted[shuffled]
    turn = np.empty(len(grades), dtype=np.int64)
    for grade in np.unique(grades):
        turn[grades == grade] = np.arange(np.count_nonzero(grades == grade))
    yield from (int(knee) for knee in shuffled[np.lexsort((grades, turn))])


def _mean_gain(gains: Float64Array, patients: Sequence[str], seed: int) -> Estimate:
    if reason := too_few(len(gains)):
        return Estimate.without_interval(float(gains.mean()), reason)
    indices, count = patient_indices(patients)
    total = np.bincount(indices, weights=gains, minlength=count)
    knees = np.bincount(indices, minlength=count)
    bootstrap = PatientBootstrap(count, len(gains), _RESAMPLES, seed)
    return around(bootstrap(lambda drawn: (drawn @ total) / (drawn @ knees)), count)
