"""Predictions that are stored, and the knees they are of: what benchmarks of votes begin with."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kellgren.data.manifest import Knee, index
from kellgren.training.selection.out_of_fold import predicted


def asked_for(description: str | None) -> tuple[list[Knee], npt.NDArray[np.float64]]:
    """Read what the command line names: graded knees, and distributions ``(N, 5)`` of them."""
    words = argparse.ArgumentParser(description=description)
    words.add_argument("predictions", type=Path)
    words.add_argument("--labels", type=Path, required=True)
    given = words.parse_args()
    knees = {str(knee.image): knee for knee in index(given.labels) if knee.grade is not None}
    predictions = predicted(given.predictions, knees.values())
    return [knees[image] for image in predictions], np.array(
        list(predictions.values()), dtype=np.float64
    )
