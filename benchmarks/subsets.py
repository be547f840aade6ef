"""How long it takes to go through all subsets of members under the paper's three rules.

    python benchmarks/subsets.py [MOST_MEMBERS]

Members are simulated. ``test``: 1 656 knees, chosen on once; ``nested``: 6 604 knees in five
groups, as out-of-fold predictions are compared. Seconds of one core with what follows the count:
the candidates, their scores by the paper's measure, and the best of them, with and without each
group.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from kellgren.training.selection.protocols import paper_candidates
from kellgren.training.selection.subsets import deal


def simulated(
    members: int, knees: int
) -> tuple[
    np.ndarray[tuple[int, ...], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.int64]]
]:
    rng = np.random.default_rng(0)
    truth = rng.choice(5, knees, p=[0.4, 0.18, 0.26, 0.13, 0.03])
    blurred = 2.0 * np.eye(5)[truth] + rng.normal(0, 1, (members, knees, 5))
    shares = np.exp(blurred)
    return shares / shares.sum(axis=-1, keepdims=True), truth


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    print("members  subsets  candidates  test, s  nested, s")
    for members in (it for it in (4, 8, 12, 16, 18) if it <= most):
        seconds = []
        for knees, groups in ((1656, 1), (6604, 5)):
            shares, truth = simulated(members, knees)
            group = deal([f"{number // 2:05}" for number in range(knees)], groups)
            began = time.perf_counter()
            look = paper_candidates(shares, truth, group)
            look.best("paper")
            if groups > 1:
                look.nested(group, "paper")
            seconds.append(time.perf_counter() - began)
        print(
            f"{members:7}  {2**members - 1 - members:7}  {len(look.candidates):10}  "
            f"{seconds[0]:7.2f}  {seconds[1]:9.2f}"
        )


if __name__ == "__main__":
    main()
