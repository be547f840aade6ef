"""Medians and quantiles are NumPy's, to the last digit, of a knee and of unusual values."""

from __future__ import annotations

import numpy as np
import pytest

from command_line import EXAMPLES
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import median, quantiles

SHARES = (0.0, 0.005, 0.01, 0.37, 0.5, 0.99, 0.995, 1.0)
KNEE = read_radiograph(EXAMPLES / "9103968L.png").pixels
ODD = {
    "of few greys": np.rint(KNEE * 6) / 6,
    "nearly all black": np.where(KNEE > 0.95, KNEE, 0),
    "differences, of both signs": np.diff(KNEE, axis=0),
    "of the least numbers": KNEE * np.float32(1e-44),
    "far apart": np.array([0, 1e-30, 1, 1e30], np.float32),
    "one value": np.full((3, 5), 0.25, np.float32),
    "one pixel": np.array([[0.5]], np.float32),
    "two pixels": np.array([0.1, 0.7], np.float32),
    "a view": KNEE.T[::2, 1:],
}


@pytest.mark.parametrize("values", [KNEE, *ODD.values()], ids=["a knee", *ODD])
def test_they_are_numpys(values: np.ndarray) -> None:
    values = values.astype(np.float32, copy=False)
    assert median(values) == np.median(values)
    assert np.array_equal(quantiles(values, SHARES), np.quantile(values, SHARES))
