"""From a finished run to a bundle: temperature, scores with intervals, card, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from kellgren.bundle import FORMAT, Bundle, Card, MemberCard, TrainingData, write_bundle
from kellgren.calibration import CERTAINTY_WORDS, certainty, fit_temperature, likely_grades
from kellgren.errors import TrainingError
from kellgren.evaluation import Label, match, read_predictions, score
from kellgren.evaluation.matching import MatchedKnees
from kellgren.grades import Grade
from kellgren.manifest import Knee
from kellgren.preprocess import Preprocess
from kellgren.training.outcome import FACTS, HEAD, MODEL, OUT_OF_FOLD
from kellgren.voting import softmax

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
    held_out, temperature, scores = _judged(run, knees)
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
        temperature=temperature,
        members=(member,),
        data=_training_data(facts),
        out_of_fold={"held_out_folds": [facts["held_out_fold"]], **scores, **held_out},
        versions=facts["versions"],
        files={},
        intended_use=_USE,
    )
    return write_bundle(card, {MODEL: run / MODEL, HEAD: run / HEAD}, folder)


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


def _judged(run: Path, knees: list[Knee]) -> tuple[dict[str, Any], float, dict[str, Any]]:
    """Calibration figures, the temperature, and the scores of the out-of-fold predictions."""
    labels = [
        Label(str(knee.image), knee.patient, int(knee.grade), knee.side)
        for knee in knees
        if knee.grade is not None
    ]
    matched = match(read_predictions(run / OUT_OF_FOLD), labels)
    assert matched.probabilities is not None
    logits = np.log(np.clip(matched.probabilities, 1e-7, 1.0))
    temperature = round(fit_temperature(logits, matched.truth), 4)
    scores = score(matched.truth, matched.predicted, matched.probabilities, matched.patients)
    return _honesty(matched, softmax(logits, temperature)), temperature, dict(scores.to_dict())


def _honesty(matched: MatchedKnees, calibrated: np.ndarray) -> dict[str, Any]:
    """How often the certainty words and the likely ranges keep their promise.

    Measured on the knees that the temperature was fitted on: one number fitted to all of them.
    """
    right = matched.predicted == matched.truth
    words = np.array([certainty(row) for row in calibrated])
    ranges = np.array([likely_grades(row) for row in calibrated])
    inside = (ranges[:, 0] <= matched.truth) & (matched.truth <= ranges[:, 1])
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
