"""Predictions of an exported member on the processor, as `kellgren grade` makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kellgren.artefacts import MOST_FILE_BYTES
from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.model_files.regular import read_regular
from kellgren.parallel.interrupts import mapped


def exported_probabilities(
    model: Path, head: Path, preprocess: Preprocess, knees: Sequence[Knee], sha256: str = ""
) -> Iterator[npt.NDArray[np.float64]]:
    """The uncalibrated probabilities ``(5,)`` of each knee, in their order.

    Args:
        model: ONNX file.
        head: its head's weights.
        preprocess: of the member.
        knees: whose image files are read.
        sha256: that the ONNX file must have, the very bytes that are loaded; empty: any.

    Raises:
        TrainingError: it has another.
        UnreadableRadiograph: a knee that does not decode.
    """

    def read(path: Path) -> bytes:
        content = read_regular(path, MOST_FILE_BYTES)
        if path == model and sha256 not in ("", hashlib.sha256(content).hexdigest()):
            raise TrainingError(
                path, "changed since the run looked at it", "Start the same command again"
            )
        return content

    member = MemberRuntime(model, head, preprocess, EngineSettings(threads=1), read=read)

    def grade(knee: Knee) -> npt.NDArray[np.float64]:
        crop = whole_knee(read_radiograph(knee.image), knee.side)
        return softmax(member.examine(crop).logits)

    with ThreadPoolExecutor() as pool:
        yield from mapped(pool, grade, knees)
