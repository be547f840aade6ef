"""Which grade to name: the most probable one, or one that is wrong by less where it is wrong.

    python benchmarks/decisions.py PREDICTIONS --labels DATA

PREDICTIONS is a table with image and p0 to p4 of knees that the model never learnt from, such as a
bundle's out_of_fold.csv. Each line names the grade g with the least expected cost, the cost of g
for a knee of grade j being abs(g - j) to a power: 0 is the most probable grade, 1 the median, 2 the
rounded mean. Differences are from the most probable grade, paired, 95 % intervals over patients.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from stored import asked_for

from kellgren.evaluation.comparison import Grades, compare

POWERS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0)
MEASURES = ("accuracy", "qwk", "macro_f1", "mae")


def least_cost(probabilities: npt.NDArray[np.float64], power: float) -> npt.NDArray[np.intp]:
    """Grades ``(N,)`` with the least expected cost under distributions ``(N, 5)``."""
    grades = np.arange(probabilities.shape[1])
    apart = np.abs(grades[:, None] - grades).astype(float)
    cost = np.where(apart == 0, 0.0, apart**power)
    cheapest: npt.NDArray[np.intp] = (probabilities @ cost).argmin(axis=1)
    return cheapest


def main() -> None:
    kept, probabilities = asked_for(__doc__)
    truth = np.array([int(knee.grade or 0) for knee in kept])
    patients = [knee.patient for knee in kept]
    likeliest = least_cost(probabilities, 0.0)

    print(f"{len(kept)} knees\npower  grade 1  " + "".join(f"{m:<30}" for m in MEASURES))
    for power in POWERS:
        named = least_cost(probabilities, power)
        comparison = compare(truth, Grades(named), Grades(likeliest), patients, permutations=1)
        cells = [f"{power:<7}{(named == 1).sum():<9}"]
        for measure in MEASURES:
            result = comparison.metrics[measure]
            low, high = result.difference.low, result.difference.high
            cells.append(f"{result.this:.3f} ({low:+.4f} to {high:+.4f})".ljust(30))
        print("".join(cells).rstrip())


if __name__ == "__main__":
    main()
