"""Types of arrays that several packages pass to each other; those of pictures are in `knee`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
"""Numbers of any floating type and shape."""

Float32Array = npt.NDArray[np.float32]
"""Inputs, outputs and weights of networks."""

Float64Array = npt.NDArray[np.float64]
"""Sums, shares and fitted numbers."""

IntArray = npt.NDArray[np.int64]
"""Counts, positions and indices."""

Mask = npt.NDArray[np.bool_]
"""Which of the knees, or of the pixels."""

GradeArray = npt.NDArray[np.integer]
"""Grades of knees: ``(N,)``, 0..4."""

Distributions = npt.NDArray[np.float64]
"""Probabilities of the five grades along the last axis: ``(..., 5)``, each row summing to 1."""
