"""Whether a member's file grades as the network whose predictions stand beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Float64Array
from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.evaluation import Scores, score
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.training.member.exported import exported_probabilities
from kellgren.training.run_folder import FACTS, HEAD, MODEL, OUT_OF_FOLD, SCORES_ONNX

TOLERANCE = 1e-3
_TIE = 1e-4
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Agreement:
    """How two tables of probabilities of the same knees differ.

    Attributes:
        knees: how many.
        difference: the largest of a probability, 0..1.
        other_grades: knees graded otherwise, but for those whose two likeliest grades are within
            1e-4 of each other: which comes first there, the order of a sum decides.
    """

    knees: int
    difference: float
    other_grades: int

    @property
    def holds(self) -> bool:
        """Probabilities within 1e-3, and the same grades; not-a-number never is."""
        return self.difference <= TOLERANCE and not self.other_grades


@dataclass(frozen=True)
class Verified:
    """A run whose file graded all of its held-out knees.

    Attributes:
        run: its folder.
        agreement: with the predictions that torch left.
        scores: of the file.
        stored: of the predictions that torch left.
    """

    run: Path
    agreement: Agreement
    scores: Scores
    stored: Scores


def agreement(probabilities: Float64Array, expected: Float64Array) -> Agreement:
    """Compare probabilities ``(N, 5)``."""
    graded, expected_grades = probabilities.argmax(axis=1), expected.argmax(axis=1)
    rows = np.arange(len(probabilities))
    apart = expected[rows, expected_grades] - expected[rows, graded] > _TIE
    largest = float(np.abs(probabilities - expected).max(initial=0.0))
    return Agreement(len(probabilities), largest, int(np.count_nonzero(apart)))


def check_file(
    folder: Path, preprocess: Preprocess, planes: npt.NDArray[np.float32], expected: Float64Array
) -> dict[str, Any]:
    """Let a member's file grade a few knees, one view each, on the processor.

    Args:
        folder: of the run.
        preprocess: of the member.
        planes: ``(n, S, S)`` float32 in 0..1.
        expected: ``(n, 5)`` logits of the network.

    Returns:
        For the run's facts: how many knees, and the largest difference of a probability.

    Raises:
        TrainingError: a probability differs by more than 1e-3, or a grade does.
    """
    # no trial: what the file says is compared below, with what the network says
    member = MemberRuntime(folder / MODEL, folder / HEAD, preprocess, trial=False)
    logits = np.concatenate([member.logits(plane[None]) for plane in planes])
    result = agreement(softmax(logits.astype(np.float64)), softmax(expected))
    if not result.holds:
        raise TrainingError(
            folder / MODEL,
            f"grades {result.other_grades} of {result.knees} knees otherwise than the trained "
            f"network, its probabilities differ by up to {result.difference:.2g}",
            "Keep the checkpoint and report this with the versions of torch and onnxruntime",
        )
    return asdict(result)


def verify(
    folder: Path, knees: Sequence[Knee], advance: Advance = lambda done, of: None
) -> Verified:
    """Grade all held-out knees of a finished run with its file, as `kellgren grade` would.

    The file's own scores are written beside, as ``scores_onnx.json``.

    Args:
        folder: of the run.
        knees: of the data that it was trained with, graded, wherever the images lie now.
        advance: called with how many of how many are graded.

    Raises:
        TrainingError: the run is not finished, or a knee that it held out is not in the data.
    """
    preprocess, rows = _predictions(folder)
    by_name = {(knee.image.name, knee.side.value): knee for knee in knees}
    names = [(Path(row["image"]).name, row["side"]) for row in rows]
    missing = [name for name, _ in names if (name, _) not in by_name]
    if missing:
        raise TrainingError(
            folder / OUT_OF_FOLD,
            f"{len(missing)} of its knees are not in the data, such as {missing[0]}",
            "Name the data that the run was trained with",
        )
    chosen = [by_name[name] for name in names]
    computed = np.empty((len(chosen), 5))
    graded = exported_probabilities(folder / MODEL, folder / HEAD, preprocess, chosen)
    for done, probabilities in enumerate(graded):
        computed[done] = probabilities
        advance(done + 1, len(chosen))
    stored = np.array([[float(row[f"p{grade}"]) for grade in range(5)] for row in rows])
    verified = Verified(
        folder, agreement(computed, stored), _scores(chosen, computed), _scores(chosen, stored)
    )
    with written_whole(folder / SCORES_ONNX) as stream:
        content = {"agreement": asdict(verified.agreement), **verified.scores.to_dict()}
        json.dump(content, stream, indent=2)
    return verified


def finished_runs(folder: Path) -> list[Path]:
    """The folder itself where it is of a finished run, else the finished runs of a campaign."""
    paths = sorted([*folder.glob(OUT_OF_FOLD), *folder.glob(f"jobs/*/{OUT_OF_FOLD}")])
    if not paths:
        raise TrainingError(
            folder, "holds no finished run", "Name the folder of a run, or of a campaign"
        )
    return [path.parent for path in paths]


def _predictions(folder: Path) -> tuple[Preprocess, list[dict[str, str]]]:
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        preprocess = Preprocess.model_validate(facts["preprocess"])
        with (folder / OUT_OF_FOLD).open(newline="", encoding="utf-8") as stream:
            return preprocess, list(csv.DictReader(stream))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            folder, f"is not a finished run ({type(error).__name__})", "Finish it first"
        ) from None


def _scores(knees: Sequence[Knee], probabilities: Float64Array) -> Scores:
    truth = [int(knee.grade or 0) for knee in knees]
    return score(
        truth, probabilities.argmax(axis=1), probabilities, [knee.patient for knee in knees]
    )
