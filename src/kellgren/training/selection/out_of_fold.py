"""Finished runs, and their predictions of the knees they held out, side by side."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.data.manifest import Knee
from kellgren.data.matching import Label, Labels, match
from kellgren.data.predictions import read_predictions
from kellgren.data.splits import load_folds
from kellgren.errors import InvalidManifest, TrainingError
from kellgren.evaluation import Coverage, MatchedKnees
from kellgren.grading.contralateral import other_knees
from kellgren.training.run_folder import FACTS, FOLDS, HEAD, LABEL, MODEL, OUT_OF_FOLD

JOBS = "jobs"


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    Attributes:
        folder: where it lies.
        facts: its facts file, `member.json`.
        backbone: member and size; runs of one backbone differ in the fold alone.
        fold: which it held out; ``None``: it learnt from all knees, and is a final.
    """

    folder: Path
    facts: dict[str, Any]
    backbone: str
    fold: int | None


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Every backbone's predictions of N knees that it did not learn from.

    Attributes:
        backbones: names, in alphabetical order.
        members: ``(B, N, 5)`` uncalibrated distributions.
        knees: graded, in the order of the labels.
        left_out: knees that some backbones held out and others did not.
        folds: ``(N,)`` which fold held each knee out.
    """

    backbones: tuple[str, ...]
    members: npt.NDArray[np.float64]
    knees: tuple[Knee, ...]
    left_out: int
    folds: npt.NDArray[np.int64]

    @property
    def truth(self) -> npt.NDArray[np.int64]:
        """``(N,)`` grades."""
        return np.array([int(knee.grade or 0) for knee in self.knees], dtype=np.int64)

    @property
    def patients(self) -> list[str]:
        """Whose knees they are."""
        return [knee.patient for knee in self.knees]

    @property
    def other(self) -> npt.NDArray[np.int64]:
        """``(N,)`` position of each knee's contralateral knee, -1 where there is none."""
        return other_knees(self.patients, [knee.side for knee in self.knees])


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """The finished runs that held a fold out, by backbone and fold; finals are passed over.

    Args:
        paths: of runs, or of campaigns, whose unfinished jobs are passed over.

    Raises:
        TrainingError: a run is not finished or does not fit the others, or none held a fold out.
    """
    finished = _finished(paths)
    held_out = [run for run in finished if run.fold is not None]
    if not held_out and finished:
        raise TrainingError(
            finished[0].folder,
            "held no knees out to calibrate and score it on",
            "Train the folds too, and name them or their campaign beside it",
        )
    return held_out


def find_finals(paths: Sequence[Path]) -> dict[str, Run]:
    """The finished runs that learnt from all knees, by backbone.

    Args:
        paths: as of `find_runs`.

    Raises:
        TrainingError: a run is not finished, or does not fit the others.
    """
    return {run.backbone: run for run in _finished(paths) if run.fold is None}


def read_out_of_fold(runs: Sequence[Run], knees: Sequence[Knee]) -> OutOfFold:
    """The runs' predictions of the knees that every backbone held out once.

    Args:
        runs: from `find_runs`.
        knees: graded, among them all that the runs held out.

    Raises:
        InvalidPredictions: a table cannot be read or fits no label.
        TrainingError: two folds of a backbone held the same knee out, no knee has all of them, or
            the patients or grades are not those of the runs.
    """
    graded = {str(knee.image): knee for knee in knees if knee.grade is not None}
    backbones = sorted({run.backbone for run in runs})
    predictions: dict[str, dict[str, npt.NDArray[np.float64]]] = {name: {} for name in backbones}
    fold_of: dict[str, int] = {}
    labels, without = labels_of(graded.values()), Counter[str]()
    for run in runs:
        matched = _matched(run.folder / OUT_OF_FOLD, labels)
        _check_held_out(run, [graded[image] for image in matched.images])
        _check_grades(run, matched)
        without[run.backbone] += matched.coverage.unlabelled
        for image, row in _distributions(matched).items():
            fold_of[image] = run.fold or 0
            if image in predictions[run.backbone]:
                raise TrainingError(
                    run.folder,
                    f"held out {Path(image).name}, and so did another fold of {run.backbone}",
                    "Name runs of the same folds only",
                )
            predictions[run.backbone][image] = row
    if most := max(without.values()):
        warnings.warn(
            f"{most} of the knees that the runs held out have no label there, and do not count: "
            "name all that they were trained on",
            RuntimeWarning,
            stacklevel=2,
        )
    known_images = [
        image for image in graded if any(image in of_it for of_it in predictions.values())
    ]
    shared = [
        image for image in known_images if all(image in of_it for of_it in predictions.values())
    ]
    if not shared:
        raise TrainingError(
            runs[0].folder,
            "shares no held-out knee with the other backbones",
            "Train the same folds",
        )
    members = np.array([[predictions[name][image] for image in shared] for name in backbones])
    kept = tuple(graded[image] for image in shared)
    folds = np.array([fold_of[image] for image in shared], dtype=np.int64)
    return OutOfFold(tuple(backbones), members, kept, len(known_images) - len(shared), folds)


def _check_held_out(run: Run, knees: Sequence[Knee]) -> None:
    """A patient of another name than in training could be on both sides of a nested estimate."""
    path = run.folder / FOLDS
    if not path.exists():  # the run was copied without it
        return
    try:
        fit = bool(load_folds(path).held_out(knees, run.fold or 0).all())
    except InvalidManifest:  # a patient has no fold
        fit = False
    if not fit:
        raise TrainingError(
            run.folder,
            "did not hold out the patients that the labels give its knees",
            "Name the data that it was trained on",
        )


def _check_grades(run: Run, held_out: MatchedKnees) -> None:
    """Networks that learnt from other grades are not scored by these as if they were their own."""
    then_and_now = zip(held_out.images, held_out.kept, held_out.truth.tolist(), strict=True)
    others = [
        f"{Path(image).name}, {then} then and {now} now"
        for image, (then,), now in then_and_now
        if then not in ("", str(now))  # tables of before have no such column
    ]
    if others:
        raise TrainingError(
            run.folder,
            f"was trained on other grades: {len(others)} of the knees it held out, such as "
            f"{others[0]}",
            "Name the labels it was trained on, or train anew on these; `kellgren evaluate` scores "
            f"its {OUT_OF_FOLD} by any labels",
        )


def predicted(table: Path, knees: Iterable[Knee]) -> dict[str, npt.NDArray[np.float64]]:
    """A table's distributions ``(5,)`` by the image of the labelled knee.

    Raises:
        InvalidPredictions: the table cannot be read or fits no label.
        TrainingError: the table has no probabilities.
    """
    return predicted_and_coverage(table, labels_of(knees))[0]


def labels_of(knees: Iterable[Knee]) -> Labels:
    """Graded knees as labels, which several tables are looked up in."""
    return Labels([Label(str(k.image), k.patient, int(k.grade or 0), k.side) for k in knees])


def predicted_and_coverage(
    table: Path, labels: Labels
) -> tuple[dict[str, npt.NDArray[np.float64]], Coverage]:
    """The same, and how many labels and rows found each other."""
    matched = _matched(table, labels)
    return _distributions(matched), matched.coverage


def _matched(table: Path, labels: Labels) -> MatchedKnees:
    """A table's knees with their labels; kept of each is the grade that the run was scored by."""
    matched = match(read_predictions(table, keep=(LABEL,)), labels)
    if matched.probabilities is None:
        raise TrainingError(table, "has no probabilities", "Write it anew with kellgren")
    return matched


def _distributions(matched: MatchedKnees) -> dict[str, npt.NDArray[np.float64]]:
    assert matched.probabilities is not None
    rows = matched.probabilities / matched.probabilities.sum(axis=1, keepdims=True)
    return dict(zip(matched.images, rows, strict=True))


def _finished(paths: Sequence[Path]) -> list[Run]:
    """Runs by backbone and fold, a final after its folds; all on the same folds."""
    runs: dict[tuple[str, int | None], Run] = {}
    for path in paths:
        for folder in _jobs(path) if (path / JOBS).is_dir() else [path]:
            run = _read_run(folder)
            twin = runs.setdefault((run.backbone, run.fold), run)
            if twin is not run:
                held = "no fold" if run.fold is None else f"fold {run.fold}"
                raise TrainingError(
                    folder,
                    f"is {run.backbone} with {held} held out, and so is {twin.folder}",
                    "Name one of them",
                )
    ordered = sorted(runs.values(), key=lambda run: (run.backbone, run.fold is None, run.fold or 0))
    if not ordered:
        raise TrainingError(paths[0], "holds no finished run", "Go on with train ensemble")
    _check_alike(ordered)
    if ordered[0].facts.get("folds_by", "patient") != "patient":
        warnings.warn(
            f"{ordered[0].folder}: the folds were dealt by knee, so that patients were learnt from "
            "whose other knee is held out: scores out of fold come out too good.",
            RuntimeWarning,
            stacklevel=3,
        )
    return ordered


def _jobs(campaign: Path) -> list[Path]:
    """The finished jobs: a fold's table comes last, and a final, which has none, ends in facts."""
    promised = (FACTS, MODEL, HEAD)
    return sorted(
        job
        for job in (campaign / JOBS).iterdir()
        if all((job / name).is_file() for name in promised)
        and ((job / OUT_OF_FOLD).is_file() or _read_run(job).fold is None)
    )


def _read_run(folder: Path) -> Run:
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        fold = facts["held_out_fold"]
        backbone = f"{facts['recipe']['name']}-{facts['preprocess']['size']}"
        return Run(folder, facts, backbone, None if fold is None else int(fold))
    except FileNotFoundError:
        if not folder.exists():
            raise TrainingError(
                folder, "does not exist", "Name the folder of a run or of a campaign"
            ) from None
        raise TrainingError(
            folder, f"has no {FACTS}: the run is not finished", "Go on with train member --resume"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            folder / FACTS,
            f"is damaged ({type(error).__name__})",
            "Restore the original file, or train the member anew",
        ) from None


def _check_alike(runs: Sequence[Run]) -> None:
    """All on the same folds, and each backbone by one recipe."""
    first = runs[0]
    recipes = {run.backbone: run for run in reversed(runs)}
    for run in runs:
        if run.facts["folds_hash"] != first.facts["folds_hash"]:
            raise TrainingError(
                run.folder, f"has other folds than {first.folder}", "Name runs of the same folds"
            )
        twin = recipes[run.backbone]
        if run.facts["recipe_hash"] != twin.facts["recipe_hash"]:
            raise TrainingError(
                run.folder,
                f"has another recipe than {twin.folder}, under the same name",
                "Give one of the recipes another name",
            )
