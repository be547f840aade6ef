"""What the patient's other knee adds, nested by patient, to predictions that are stored.

    python benchmarks/other_knee.py PREDICTIONS --labels DATA

PREDICTIONS is a table with image and p0 to p4, such as a bundle's out_of_fold.csv.
"""

from __future__ import annotations

import numpy as np
from stored import asked_for

from kellgren.grading.contralateral import other_knees
from kellgren.training.selection.nested import estimate
from kellgren.training.selection.subsets import MEASURES


def main() -> None:
    kept, probabilities = asked_for(__doc__)
    truth = np.array([int(knee.grade or 0) for knee in kept])
    patients = [knee.patient for knee in kept]
    other = other_knees(patients, [knee.side for knee in kept])
    members = probabilities[None]
    estimated = estimate(["stored"], members, truth, patients, other, rules=("soft",))

    print(
        f"{len(kept)} knees, {(other >= 0).sum()} with a contralateral knee; {estimated.both_knees}"
    )
    for name, measure in MEASURES.items():
        alone, paired = (
            float(measure(_confusion(truth, p.argmax(axis=1))))
            for p in (estimated.single, estimated.paired)
        )
        print(f"{name:<9} alone {alone:.4f}  paired {paired:.4f}  gain {estimated.gain[name]}")
    rows = np.arange(len(truth))
    losses = [-np.log(p[rows, truth]).mean() for p in (estimated.single, estimated.paired)]
    print(f"log loss  alone {losses[0]:.4f}  paired {losses[1]:.4f}")


def _confusion(truth: np.ndarray, given: np.ndarray) -> np.ndarray:
    return np.bincount(truth * 5 + given, minlength=25).reshape(5, 5).astype(float)


if __name__ == "__main__":
    main()
