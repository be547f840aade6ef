"""From a finished run to a bundle: temperature, scores with intervals, card, files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.bundle import FORMAT, Bundle, Card, MemberCard, TrainingData, write_bundle
from kellgren.calibration import CERTAINTY_WORDS, certainty, fit_calibration, likely_grades
from kellgren.errors import TrainingError
from kellgren.evaluation import Label, match, read_predictions, score
from kellgren.evaluation.matching import MatchedKnees
from kellgren.files import written_whole
from kellgren.grades import Grade
from kellgren.manifest import Knee
from kellgren.naming import patient_and_side
from kellgren.preprocess import Preprocess
from kellgren.training.outcome import FACTS, HEAD, MODEL, OUT_OF_FOLD
from kellgren.voting import softmax

Floats = npt.NDArray[np.floating]
Grades = npt.NDArray[np.integer]
PREDICTIONS = "out_of_fold.csv"
_GROUPS = 5
_SCALE = "Kellgren-Lawrence as read in the Osteoarthritis Initiative, grades 0 to 4"
_USE = (
    "Research on posterior-anterior knee radiographs, one knee a picture. Not a medical device: "
    "not for diagnosis or treatment. Known limits: trained on one cohort (Osteoarthritis "
    "Initiative, ages 45 to 79, USA); no implants, no children, no lateral or skyline views."
)
_CHEN = {
    "name": "Knee Osteoarthritis Severity Grading Dataset, train and val splits",
    "licence": "CC BY 4.0",
    "credit": "Chen P., Mendeley Data V1 2018, doi 10.17632/56rmx5bjcr.1",
}


def build_bundle(run: Path, knees: list[Knee], folder: Path, name: str) -> Bundle:
    """Make a bundle of one finished run.

    Args:
        run: its folder, with member, facts and out-of-fold predictions.
        knees: graded, among them all that the run held out.
        folder: new or empty.
        name: of the bundle.

    Raises:
        TrainingError: the run is not finished, or held nothing out.
        BundleError: the folder holds something already.
    """
    try:
        facts = json.loads((run / FACTS).read_text("utf-8"))
    except FileNotFoundError:
        raise TrainingError(
            run, f"has no {FACTS}: the run is not finished", "Go on with train member --resume"
        ) from None
    if facts["held_out_fold"] is None:
        raise TrainingError(
            run, "held no knees out to calibrate and score it on", "Train with --fold 0 or another"
        )
    matched = _held_out(run, knees)
    fitted = fit_calibration(_logits(matched), matched.truth)
    probabilities = cross_calibrated(matched)
    _write_predictions(matched, probabilities, run / PREDICTIONS)
    member = MemberCard(
        name=facts["recipe"]["name"],
        architecture=facts["architecture"],
        model=MODEL,
        head=HEAD,
        preprocess=Preprocess.model_validate(facts["preprocess"]),
        recipe=facts["recipe"],
        recipe_hash=facts["recipe_hash"],
        started_from=facts["started_from"],
        trained_folds=tuple(f for f in range(facts["folds"]) if f != facts["held_out_fold"]),
    )
    card = Card(
        format=FORMAT,
        name=name,
        version=facts["versions"]["kellgren"],
        grades=tuple(grade.label for grade in Grade),
        scale=_SCALE,
        temperature=round(fitted.temperature, 4),
        bias=tuple(round(bias, 4) for bias in fitted.bias),
        members=(member,),
        data=_training_data(facts),
        out_of_fold={
            "held_out_folds": [facts["held_out_fold"]],
            **_scores(matched, probabilities),
        },
        versions=facts["versions"],
        files={},
        intended_use=_USE,
    )
    files = {name: run / name for name in (MODEL, HEAD, PREDICTIONS)}
    return write_bundle(card, files, folder)


def _training_data(facts: dict[str, Any]) -> TrainingData:
    published = all(source.startswith("chen2018") for source in facts["sources"])
    unknown = {"name": ", ".join(facts["sources"]), "licence": "not stated", "credit": "not stated"}
    return TrainingData(
        **(_CHEN if published else unknown),
        knees=facts["knees"],
        patients=facts["patients"],
        folds_hash=facts["folds_hash"],
        folds=facts["folds"],
    )


def _held_out(run: Path, knees: list[Knee]) -> MatchedKnees:
    """The run's out-of-fold predictions beside their labels."""
    labels = [
        Label(str(knee.image), knee.patient, int(knee.grade), knee.side)
        for knee in knees
        if knee.grade is not None
    ]
    return match(read_predictions(run / OUT_OF_FOLD), labels)


def _logits(matched: MatchedKnees) -> Floats:
    assert matched.probabilities is not None
    return np.asarray(np.log(np.clip(matched.probabilities, 1e-7, 1.0)))


def cross_calibrated(matched: MatchedKnees) -> Floats:
    """Calibrated probabilities ``(N, 5)``, each knee by a calibration that never saw its patient.

    The patients are dealt into five groups in alphabetical order; each group is calibrated by the
    other four. Scores of these are not flattered by the calibration's own fit.
    """
    logits = _logits(matched)
    number = {patient: n for n, patient in enumerate(sorted(set(matched.patients)))}
    group = np.array([number[patient] % _GROUPS for patient in matched.patients])
    found = np.empty_like(logits)
    for held in range(min(_GROUPS, len(number))):
        mine = group == held
        others = ~mine if len(number) > 1 else mine
        fitted = fit_calibration(logits[others], matched.truth[others])
        found[mine] = softmax(logits[mine], fitted.temperature, fitted.bias)
    return found


def _scores(matched: MatchedKnees, probabilities: Floats) -> dict[str, Any]:
    graded = probabilities.argmax(axis=1)
    scores = score(matched.truth, graded, probabilities, matched.patients)
    return {**scores.to_dict(), **_honesty(matched.truth, graded, probabilities)}


def _write_predictions(matched: MatchedKnees, probabilities: Floats, path: Path) -> None:
    with written_whole(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image", "side", "grade", "p0", "p1", "p2", "p3", "p4"))
        for image, row in zip(matched.images, probabilities, strict=True):
            side = patient_and_side(image)[1].value
            numbers = [f"{share:.6f}" for share in row]
            writer.writerow((Path(image).name, side, int(row.argmax()), *numbers))


def _honesty(truth: Grades, graded: Grades, calibrated: Floats) -> dict[str, Any]:
    """How often the certainty words and the likely ranges keep their promise."""
    right = graded == truth
    words = np.array([certainty(row) for row in calibrated])
    ranges = np.array([likely_grades(row) for row in calibrated])
    inside = (ranges[:, 0] <= truth) & (truth <= ranges[:, 1])
    return {
        "certainty": {
            word: {
                "knees": int((words == word).sum()),
                "accuracy": round(float(right[words == word].mean()), 4)
                if (words == word).any()
                else None,
            }
            for word, _ in CERTAINTY_WORDS
        },
        "likely_coverage": round(float(inside.mean()), 4),
        "likely_mean_length": round(float((ranges[:, 1] - ranges[:, 0] + 1).mean()), 4),
    }
