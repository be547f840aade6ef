"""Predictions of an exported member on the processor, as `kellgren grade` makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kellgren.data.manifest import Knee
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee


def exported_probabilities(
    model: Path, head: Path, preprocess: Preprocess, knees: Sequence[Knee]
) -> Iterator[npt.NDArray[np.float64]]:
    """The uncalibrated probabilities ``(5,)`` of each knee, in their order.

    Args:
        model: ONNX file.
        head: its head's weights.
        preprocess: of the member.
        knees: whose image files are read.

    Raises:
        UnreadableRadiograph: a knee that does not decode.
    """
    member = MemberRuntime(model, head, preprocess, threads=1)

    def grade(knee: Knee) -> npt.NDArray[np.float64]:
        crop = whole_knee(read_radiograph(knee.image), knee.side)
        return softmax(member.examine(crop).logits)

    with ThreadPoolExecutor() as pool:
        yield from pool.map(grade, knees)
